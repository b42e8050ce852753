"""How images are built from packages: the commands, what they show, and what ends them early."""

import docker
import pytest
from docker.errors import DockerException, ImageNotFound

from stack.errors import HostError, ImageError
from stack.images.build import (
    build_base_command,
    build_command,
    ensure_base_image,
    is_image_here,
    parse_build_line,
)
from stack.images.build_context import BuildSettings
from stack.images.recipe import build_base_recipe, build_engine_recipe

BASE = build_base_recipe("bookworm", "http://deb.debian.org/debian")


class FakeImages:
    def __init__(self, answer):
        self.answer = answer

    def get(self, name):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class FakeClient:
    def __init__(self, answer):
        self.images = FakeImages(answer)


def test_the_build_is_told_its_arguments_and_secrets_and_no_password(tmp_path):
    environ = {"PATH": "/bin", "https_proxy": "http://me:secret@proxy:3128", "HOME": "/root"}
    settings = BuildSettings(environ, index_urls=("https://me:secret@index.example/simple",))
    recipe = build_engine_recipe("cpu", BASE)
    secrets = {"ca_bundle": tmp_path / "ca_bundle", "pip_conf": tmp_path / "pip_conf"}
    argv, given = build_command(recipe, settings, tmp_path, secrets)
    assert argv[:5] == ["docker", "buildx", "build", "--progress", "plain"] and argv[-1] == str(tmp_path)
    assert f"BASE={BASE.tag}" in argv and "https_proxy" in argv
    assert f"id=pip_conf,src={tmp_path}/pip_conf" in argv
    # It gets its name only with its record.
    assert "--tag" not in argv and argv[argv.index("--iidfile") + 1] == f"{tmp_path}/image-id"
    assert "secret@" not in " ".join(argv)
    assert given == {**environ, "DOCKER_BUILDKIT": "1"}


def test_a_base_from_a_plain_mirror_needs_no_certificates(tmp_path):
    argv = build_base_command(BASE, tmp_path / "base.tar", tmp_path / "ca.pem")
    assert argv == [
        "mmdebstrap", "--variant=minbase", "--include=ca-certificates",
        "bookworm", f"{tmp_path}/base.tar", "http://deb.debian.org/debian",
    ]  # fmt: skip


def test_a_base_from_an_https_mirror_trusts_the_bundle_while_it_is_made_and_not_after(tmp_path):
    recipe = build_base_recipe("bookworm", "https://mirror.example/debian")
    setup, clean = build_base_command(recipe, tmp_path / "base.tar", tmp_path / "it's ca.pem")[3:5]
    assert setup.startswith("--setup-hook=echo ") and "CAInfo" in setup
    assert setup.endswith('> "$1/etc/apt/apt.conf.d/98stack"')
    assert clean == '--customize-hook=rm "$1/etc/apt/apt.conf.d/98stack"'


def test_the_same_base_has_the_same_tag_from_every_mirror():
    assert build_base_recipe("bookworm", "https://mirror.example/debian").tag == BASE.tag
    assert build_base_recipe("trixie", "http://deb.debian.org/debian").tag != BASE.tag


def test_a_base_that_is_here_is_not_made_again():
    events = []
    assert ensure_base_image(FakeClient("here"), BASE, {}, events.append) == BASE.tag
    assert events == []


def test_without_mmdebstrap_the_package_to_install_is_named(tmp_path):
    with pytest.raises(HostError, match="needs `mmdebstrap`") as caught:
        ensure_base_image(FakeClient(ImageNotFound("x")), BASE, {"PATH": str(tmp_path)}, lambda event: None)
    assert "apt-get install mmdebstrap" in caught.value.hint


@pytest.mark.parametrize(("answer", "is_here"), [("an image", True), (ImageNotFound("x"), False)])
def test_the_daemon_tells_whether_an_image_is_here(answer, is_here):
    assert is_image_here(FakeClient(answer), "a/b:1") is is_here


def test_a_daemon_that_does_not_answer_is_an_error():
    with pytest.raises(ImageError, match="cannot be asked for `a/b:1`"):
        is_image_here(FakeClient(DockerException("gone")), "a/b:1")
    assert issubclass(docker.errors.APIError, DockerException)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("#5 [2/7] RUN apt-get update", "step 2/7: RUN apt-get update"),
        ("#7 [stage-0 3/7] COPY a b", "step 3/7: COPY a b"),
        ("#6 12.34 Collecting torch==2.13.0+cpu", "Collecting torch==2.13.0+cpu"),
        ("#6 1.5 Get:1 http://deb.debian.org bookworm InRelease", "Get:1 http://deb.debian.org bookworm InRelease"),
        ("#6 1.5 some chatter", None),
        ("#6 DONE 3.7s", None),
        ("", None),
    ],
)
def test_of_the_builds_output_only_what_tells_is_kept(line, said):
    assert parse_build_line(line) == said

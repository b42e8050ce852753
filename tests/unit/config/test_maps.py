import pytest

from stack.config.maps import check_mirrors, check_mounts, check_sources


def _mounts(*targets):
    return [str(problem) for problem in check_mounts(dict.fromkeys(targets, "/host"))]


def test_usual_mounts_are_taken():
    assert _mounts("/templates", "/adapters/sql", "/home/vllm/x.json", "/modelsy") == []


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "templates",
            "must be an absolute path in the container; the path on this machine goes to the right of `=`",
        ),
        ("/a/../models", "must not hold `..`"),
        ("/opt", "would cover `/opt/stack`, where the engine has its start script"),
        ("/", "would cover the whole image"),
        ("//", "would cover the whole image"),
        ("/models", "would cover `/models`, where the engine has the model"),
        ("/models/", "would cover `/models`, where the engine has the model"),
        ("//models", "would cover `/models`, where the engine has the model"),
        ("/run", "would cover `/run/secrets`, where the engine has secrets"),
        ("/var/run/secrets", "would cover `/run/secrets`, where the engine has secrets"),
        ("/tmp/x", "is inside `/tmp`, where the engine has temporary files; take a path of your own"),
        (
            "/cache/./vllm",
            "is inside `/cache`, where the engine has the engine's caches; take a path of your own",
        ),
    ],
)
def test_a_mount_over_what_the_tool_uses_is_refused(target, message):
    (problem,) = check_mounts({target: "/host"})
    assert problem.message == message


def test_two_spellings_of_one_place_are_refused():
    assert _mounts("/a", "/a/") == ['engine.mounts."/a/": is the same place as `/a`']


def test_mirrors_are_hosts_with_an_optional_path():
    assert check_mirrors({"docker.io": "mirror.example:5000/hub", "127.0.0.1:5000": "b.example"}) == []


@pytest.mark.parametrize(
    ("host", "mirror", "message"),
    [
        (
            "https://docker.io",
            "m.example",
            "`https://docker.io` must be a registry host, for example `docker.io`",
        ),
        (
            "docker.io",
            "https://m.example/hub/",
            '"https://m.example/hub/" must be a host and a path without `https://`: `m.example/hub`',
        ),
        (
            "docker.io",
            5,
            "5 must be a host and a path without `https://`, for example `mirror.example:5000/hub`",
        ),
    ],
)
def test_a_mirror_of_the_wrong_form_is_refused(host, mirror, message):
    (problem,) = check_mirrors({host: mirror})
    assert problem.message == message


def test_sources_are_references_with_a_commit_or_a_version_to_fill_in():
    assert check_sources({"a": "registry.example:5000/b/vllm:{commit}-{arch}", "b": "x/y:v{version}", "ci": ""}) == []


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("registry.example/vllm:latest", "must be a reference with `{commit}` or `{version}`"),
        ("registry.example/vllm:{sha}-{commit}", "`{sha}` is not filled in"),
        ("https://registry.example/vllm:{commit}", "without `https://`"),
        ("registry.example/vllm:{commit", "must be a reference with"),
        ("Registry Example:{commit}", "is no image reference"),
        (3, "must be a reference with"),
    ],
)
def test_a_source_that_cannot_become_a_reference_is_refused(template, said):
    (problem,) = check_sources({"own": template})
    assert problem.path == "images.sources.own" and said in problem.message


@pytest.mark.parametrize(
    "template",
    ["https://m.example/{commit}/{variant}vllm/metadata.json", "http://127.0.0.1:80/{commit}/metadata.json", ""],
)
def test_the_source_of_wheels_is_a_url(template):
    assert check_sources({"wheel": template}) == []


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("https://m.example/metadata.json", "must be a URL with `{commit}`"),
        ("https://m.example/{commit}/{cuda}", "must be a URL with `{commit}`"),
        ("registry.example/vllm:{commit}", "must begin with `https://`"),
        ("http://m.example/{commit}", "must begin with `https://`"),
        ("https://me:secret@m.example/{commit}", "must not hold a password"),
        (5, "must be a URL with"),
    ],
)
def test_a_source_of_wheels_of_the_wrong_form_is_refused(template, said):
    (problem,) = check_sources({"wheel": template})
    assert problem.path == "images.sources.wheel" and said in problem.message and "secret" not in problem.message

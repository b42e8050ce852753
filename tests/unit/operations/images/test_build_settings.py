"""What the configuration says of package registries reaches a build."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest

from stack.images.packages import Package, PackageSet
from stack.operations.images import build as build_images
from stack.operations.images.build import ImageBuilder

RECIPE = SimpleNamespace(tag="localhost/stack/engine:cpu-01", service="engine", arguments=(), locked=None)
NAME = "vllm-0.32.1.dev7+g012345678.cpu-cp38-abi3-manylinux_2_28_x86_64.whl"
ARGUMENTS = (("VERSION", "0.32.1.dev7+g012345678.cpu"), ("WHEEL", f"https://wheels.example/{NAME}"))


@pytest.fixture
def build(make_session, monkeypatch):
    """A function: the text of a stack.toml and a recipe give the settings of the build."""

    def call(toml, recipe=RECIPE, **environ):
        given = []
        monkeypatch.setattr(
            build_images, "build_image", lambda client, recipe, settings, report, **more: given.append(settings)
        )
        ImageBuilder(make_session(toml, **environ), None).build(recipe, recipe.tag)
        return given[0]

    return call


def test_a_page_of_wheels_is_given_to_pip_and_a_folder_to_the_build(build, tmp_path):
    page = build('images.pip-find-links = "https://wheels.example/page"')
    assert (page.find_links_urls, page.find_links) == (("https://wheels.example/page",), ())
    folder = build('images.pip-find-links = "wheels"')
    assert (folder.find_links_urls, folder.find_links) == ((), (tmp_path / "wheels",))


def test_the_environments_folder_serves_where_the_configuration_names_none(build, tmp_path):
    assert build("", PIP_FIND_LINKS=str(tmp_path)).find_links == (tmp_path,)


def test_downloads_are_tried_again_as_often_as_builds(build):
    assert build("images.retries = 7").retries == 7


@pytest.mark.parametrize(("locked", "sha256"), [(None, None), ("a" * 64, "a" * 64)])
def test_the_wheel_of_a_commit_is_fetched_for_the_build_and_does_not_stay(build, monkeypatch, locked, sha256):
    fetched = []

    class Fetch:
        def __init__(self, client, wheel, report, task, **options):
            self.url = wheel.url

        def run(self, folder, *, sha256):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / NAME
            path.write_bytes(b"wheel")
            fetched.append((self.url, sha256, path))
            return path

    monkeypatch.setattr(build_images, "WheelFetch", Fetch)
    monkeypatch.setattr(build_images, "open_http", lambda config: contextlib.nullcontext())
    packages = PackageSet("x86_64", "3.11", (Package("vllm", "0.32.1", locked),)) if locked else None
    recipe = SimpleNamespace(tag=RECIPE.tag, service="engine", arguments=ARGUMENTS, locked=packages)
    settings = build("", recipe)
    ((url, asked, path),) = fetched
    assert (url, asked, settings.wheel) == (dict(ARGUMENTS)["WHEEL"], sha256, path)
    assert not path.exists()

"""What the configuration says of package registries reaches a build."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stack.operations import fetch_images
from stack.operations.fetch_images import ImageFetcher
from stack.operations.needs import ImageNeed

RECIPE = SimpleNamespace(tag="localhost/stack/engine:cpu-01")
NEED = ImageNeed("engine", "build", RECIPE.tag, "no image of that recipe is here", "packages", recipe=RECIPE)


@pytest.fixture
def read_settings(make_session, monkeypatch):
    """A function: the text of a stack.toml gives the settings of the build."""

    def call(toml, **environ):
        given = []
        monkeypatch.setattr(
            fetch_images, "build_image", lambda recipe, settings, report, **more: given.append(settings)
        )
        client = SimpleNamespace(images=SimpleNamespace(get=lambda name: SimpleNamespace(id="sha256:1")))
        resolved = SimpleNamespace(needs={}, facts=SimpleNamespace(image_ids={}))
        ImageFetcher(make_session(toml, **environ), client, resolved).fetch(NEED)
        return given[0]

    return call


def test_a_page_of_wheels_is_given_to_pip_and_a_folder_to_the_build(read_settings, tmp_path):
    page = read_settings('images.pip-find-links = "https://wheels.example/page"')
    assert (page.find_links_urls, page.find_links) == (("https://wheels.example/page",), ())
    folder = read_settings('images.pip-find-links = "wheels"')
    assert (folder.find_links_urls, folder.find_links) == ((), (tmp_path / "wheels",))


def test_the_environments_folder_serves_where_the_configuration_names_none(read_settings, tmp_path):
    assert read_settings("", PIP_FIND_LINKS=str(tmp_path)).find_links == (tmp_path,)


def test_downloads_are_tried_again_as_often_as_builds(read_settings):
    assert read_settings("images.retries = 7").retries == 7

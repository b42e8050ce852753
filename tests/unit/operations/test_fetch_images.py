"""Builds that fail for a moment are tried again, as often as the configuration says; others are not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stack.errors import CommandError, ImageError
from stack.operations import fetch_images
from stack.operations.fetch_images import ImageFetcher, is_worth_retrying
from stack.operations.needs import ImageNeed

NETWORK = "Temporary failure resolving 'deb.debian.org'"
RECIPE = SimpleNamespace(tag="localhost/stack/engine:cpu-1", service="engine")
NEED = ImageNeed("engine", "build", RECIPE.tag, "no image of that recipe is here", "packages", recipe=RECIPE)


def fail(said):
    return CommandError(["docker", "buildx"], 1, stderr=said, message="build x failed", hint="do something")


@pytest.fixture
def fetch(make_session, monkeypatch):
    """A function: a configuration and what each attempt comes to give the image, attempts and pauses."""

    def call(toml, *outcomes):
        attempts, pauses, left = [], [], list(outcomes)

        def build(recipe, settings, report, *, runs):
            attempts.append(settings)
            outcome = left.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return recipe.tag

        monkeypatch.setattr(fetch_images, "build_image", build)
        client = SimpleNamespace(images=SimpleNamespace(get=lambda name: SimpleNamespace(id="sha256:1")))
        resolved = SimpleNamespace(needs={}, facts=SimpleNamespace(image_ids={}))
        fetcher = ImageFetcher(make_session(toml), client, resolved, sleep=pauses.append)
        try:
            return fetcher.fetch(NEED), attempts, pauses
        except ImageError as err:
            return err, attempts, pauses

    return call


def test_a_build_is_tried_again_with_longer_pauses(fetch):
    name, attempts, pauses = fetch("", fail(NETWORK), fail(NETWORK), "built")
    assert (name, len(attempts), pauses) == (RECIPE.tag, 3, [2.0, 4.0])


@pytest.mark.parametrize("retries", [0, 2])
def test_it_is_tried_as_often_as_the_configuration_says(fetch, retries):
    error, attempts, _ = fetch(f"images.retries = {retries}", *[fail(NETWORK)] * 9)
    assert len(attempts) == retries + 1
    assert (error.message, error.hint, error.detail) == ("build x failed (exit status 1)", "do something", NETWORK)
    assert {settings.retries for settings in attempts} == {retries}


def test_a_build_that_cannot_succeed_is_not_tried_again(fetch):
    error, attempts, pauses = fetch("", fail("No matching distribution found for vllm==99"))
    assert isinstance(error, ImageError) and (len(attempts), pauses) == (1, [])


def test_what_the_configuration_says_of_wheels_reaches_the_build(fetch, tmp_path):
    _, (settings,), _ = fetch('images.pip-find-links = "https://wheels.example/page"', "built")
    assert settings.find_links_urls == ("https://wheels.example/page",) and settings.find_links == ()
    _, (settings,), _ = fetch('images.pip-find-links = "wheels"', "built")
    assert settings.find_links == (tmp_path / "wheels",)


@pytest.mark.parametrize(
    ("said", "is_worth"),
    [
        (NETWORK, True),
        ("ReadTimeoutError: Read timed out.", True),
        ("curl: (56) Recv failure: Connection reset by peer", True),
        ("HTTP error 503 while getting https://pypi.org/", True),
        ("No matching distribution found for torch==9", False),
        ("E: Package 'nothing' has no installation candidate", False),
    ],
)
def test_only_what_the_network_did_is_tried_again(said, is_worth):
    assert is_worth_retrying(fail(said)) is is_worth

"""Builds that fail: what is tried again, how often, and how the failure is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stack.errors import CommandError, ImageError
from stack.operations import fetch_images
from stack.operations.fetch_images import ImageFetcher, is_worth_retrying
from stack.operations.needs import ImageNeed
from stack.operations.project import ProjectFacts

IMAGE_ID = "sha256:" + "1" * 64
NETWORK = "#9 12.3 E: Could not connect to deb.debian.org:80 - Connection timed out"
RECIPE = SimpleNamespace(tag="localhost/stack/engine:cpu-01")
NEED = ImageNeed("engine", "build", RECIPE.tag, "no image of that recipe is here", "packages", recipe=RECIPE)
HERE = ImageNeed("prometheus", "none", "docker.io/p@sha256:" + "2" * 64, "here", "registry", image_id=IMAGE_ID)


class FakeImages:
    def get(self, name):
        return SimpleNamespace(id=IMAGE_ID)


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def make_fetcher(make_session, monkeypatch, pauses):
    """A function: builds fail with these outputs, one after the other, then go well."""

    def make(*outputs, toml="", needs=(NEED, HERE)):
        waiting = list(outputs)

        def build(recipe, settings, report, **options):
            if waiting:
                raise CommandError(["docker"], 1, stderr=waiting.pop(0), message="build failed", hint="look")
            return recipe.tag

        monkeypatch.setattr(fetch_images, "build_image", build)
        resolved = SimpleNamespace(
            needs={need.service: need for need in needs}, facts=ProjectFacts(image_ids={"known": "sha256:0"})
        )
        client = SimpleNamespace(images=FakeImages())
        return ImageFetcher(make_session(toml), client, resolved, sleep=pauses.append)

    return make


def test_a_build_that_goes_well_is_asked_for_once(make_fetcher, pauses):
    fetcher = make_fetcher()
    assert fetcher.fetch(NEED) == RECIPE.tag
    assert (fetcher.fetched("engine").image_id, pauses) == (IMAGE_ID, [])


def test_a_build_that_wanted_the_network_is_tried_again_after_longer_and_longer_pauses(make_fetcher, pauses, events):
    fetcher = make_fetcher(*[NETWORK] * 4)
    assert fetcher.fetch(NEED) == RECIPE.tag
    assert pauses == [2, 4, 8, 16]
    assert events[0].text == "failed, trying again in 2 s (1 of 4)"


def test_a_build_is_given_up_after_as_many_tries_as_the_configuration_says(make_fetcher, pauses):
    fetcher = make_fetcher(*[NETWORK] * 3, toml="[images]\nretries = 2\n")
    with pytest.raises(ImageError) as caught:
        fetcher.fetch(NEED)
    assert pauses == [2, 4]
    assert (caught.value.hint, caught.value.detail) == ("look", NETWORK)
    assert caught.value.exit_code == 9


def test_no_pause_is_longer_than_half_a_minute(make_fetcher, pauses):
    make_fetcher(*[NETWORK] * 8, toml="[images]\nretries = 8\n").fetch(NEED)
    assert max(pauses) == 30


def test_a_build_that_was_told_nonsense_is_not_tried_again(make_fetcher, pauses):
    fetcher = make_fetcher("ERROR: No matching distribution found for vllm==9.9.9")
    with pytest.raises(ImageError):
        fetcher.fetch(NEED)
    assert pauses == []


@pytest.mark.parametrize(
    ("said", "worth"),
    [
        (NETWORK, True),
        ("pip._vendor.urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool: Read timed out.", True),
        ("Temporary failure in name resolution", True),
        ("HTTP error 503 while getting https://pypi.org/x", True),
        ("502 Bad Gateway", True),
        ("error: command 'gcc' failed at line 502", False),
        ("no space left on device", False),
        ("", False),
    ],
)
def test_only_a_failure_of_the_network_is_worth_another_try(said, worth):
    assert is_worth_retrying(CommandError(["docker"], 1, stderr=said)) is worth


def test_what_was_here_already_counts_as_fetched(make_fetcher):
    fetcher = make_fetcher()
    assert fetcher.services() == ["prometheus"]
    fetcher.fetch(NEED)
    assert fetcher.services() == ["prometheus", "engine"]
    assert fetcher.image_ids() == {"known": "sha256:0", HERE.name: IMAGE_ID, RECIPE.tag: IMAGE_ID}

"""Builds that fail for a moment are tried again, as often as the configuration says; others are not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from stack.errors import CommandError, ImageError
from stack.images.archive_layout import ArchivedImage
from stack.images.manifests import MANIFEST_TYPES
from stack.images.pull import PulledImage
from stack.images.reference import parse_reference
from stack.images.references import WantedImage
from stack.operations.images import build as build_images
from stack.operations.images import fetch as fetch_images
from stack.operations.images.build import is_worth_retrying
from stack.operations.images.fetch import ImageFetcher
from stack.operations.images.needs import ImageNeed
from stack.operations.project import ProjectFacts

NETWORK = "Temporary failure resolving 'deb.debian.org'"
RECIPE = SimpleNamespace(tag="localhost/stack/engine:cpu-1", service="engine", arguments=(), locked=None)
NEED = ImageNeed("engine", "build", RECIPE.tag, "no image of that recipe is here", "packages", recipe=RECIPE)


def fail(said):
    return CommandError(["docker", "buildx"], 1, stderr=said, message="build x failed", hint="do something")


@pytest.fixture
def fetch(make_session, monkeypatch):
    """A function: a configuration and what each attempt comes to give the image, attempts and pauses."""

    def call(toml, *outcomes):
        attempts, pauses, left = [], [], list(outcomes)

        def build(client, recipe, settings, report, *, tag, runs):
            attempts.append(settings)
            outcome = left.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return b"{}"

        monkeypatch.setattr(build_images, "build_image", build)
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


DIGEST = "sha256:" + "a" * 64
WANTED = WantedImage("engine", parse_reference(f"docker.io/a/b:c@{DIGEST}"), None)
PULL = ImageNeed("engine", "pull", f"docker.io/a/b@{DIGEST}", "it is not here", "registry", WANTED)
ARCHIVED = ArchivedImage(
    DIGEST, MANIFEST_TYPES[0], 1, "docker.io/a/b:c", f"docker.io/a/b@{DIGEST}", DIGEST, DIGEST, ()
)  # fmt: skip


@pytest.fixture
def bring(make_session, monkeypatch, said):
    """A function: what pull, archive and daemon do with a need gives the fetched image."""

    def call(need, *, archived=(), pulls=None, keeps=None, exact=None):
        def pull(puller, reference, **options):
            if isinstance(pulls, Exception):
                raise pulls
            return PulledImage(reference, DIGEST, "sha256:pulled", "registry")

        def keep(fetcher, reference):
            if isinstance(keeps, Exception):
                raise keeps
            return ARCHIVED

        monkeypatch.setattr(fetch_images.Puller, "pull", pull)
        monkeypatch.setattr(ImageFetcher, "_keep", keep)
        monkeypatch.setattr(fetch_images, "load_image", lambda client, archive, image, report: "sha256:loaded")
        monkeypatch.setattr(fetch_images, "find_local_image", lambda client, reference: exact)
        resolved = SimpleNamespace(
            needs={}, facts=ProjectFacts(image_ids={"x": "y"}), archived=dict.fromkeys(archived, ARCHIVED)
        )
        fetcher = ImageFetcher(make_session(), None, resolved)
        return fetcher.fetch(need), fetcher.image_ids(), list(said)

    return call


def test_what_comes_from_the_archive_is_known_by_digest_and_id(bring):
    need = replace(PULL, action="load", archived=ARCHIVED)
    name, image_ids, _ = bring(need, pulls=ImageError("nobody must be asked"))
    assert name == "sha256:loaded"
    assert image_ids == {"x": "y", "sha256:loaded": "sha256:loaded", f"docker.io/a/b@{DIGEST}": "sha256:loaded"}


def test_a_pull_that_fails_is_made_good_by_the_archive_and_that_is_said(bring):
    name, image_ids, said = bring(PULL, archived=[DIGEST], pulls=ImageError("the pull broke off"))
    assert name == "sha256:loaded" and image_ids[f"docker.io/a/b@{DIGEST}"] == "sha256:loaded"
    assert said == ["warning: the pull broke off; the archive has it"]
    with pytest.raises(ImageError, match="the pull broke off"):
        bring(PULL, pulls=ImageError("the pull broke off"))


def test_a_pull_by_way_of_the_archive_needs_only_the_archive(bring):
    kept = replace(PULL, is_kept=True)
    assert bring(kept, pulls=ImageError("nobody must be asked"))[0] == "sha256:loaded"
    name, _, said = bring(kept, keeps=ImageError("the disk is full"))
    assert name == f"docker.io/a/b@{DIGEST}"
    assert said == ["warning: the archive cannot be used: the disk is full; the image is pulled without it"]


def test_an_image_whose_digest_the_daemons_store_keeps_is_named_by_it_as_the_next_up_will(bring):
    exact = PulledImage(WANTED.reference, DIGEST, "sha256:loaded", "here")
    name, image_ids, _ = bring(replace(PULL, action="load", archived=ARCHIVED), exact=exact)
    assert name == f"docker.io/a/b@{DIGEST}" and image_ids[name] == "sha256:loaded"

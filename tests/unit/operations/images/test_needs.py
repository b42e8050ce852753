"""What each image needs, by what is here, what is locked and what is remembered."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from stack.errors import ImageError
from stack.images.build_record import PACKAGES_LABEL
from stack.images.packages import Package, PackageSet
from stack.images.recipe import build_base_recipe, build_engine_recipe
from stack.images.reference import parse_reference
from stack.images.references import WantedImage
from stack.operations.images.needs import (
    resolve_image_id,
    resolve_packages_need,
    resolve_registry_need,
)
from stack.operations.images.wanted import LockedImage

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
IMAGE_ID = "sha256:" + "1" * 64
NAME = "docker.io/prom/prometheus"
BASE = build_base_recipe("bookworm", "http://deb.debian.org/debian")
LOCKED = PackageSet("x86_64", "3.11", (Package("numpy", "2.4.6"),))


def describe(image_id, packages):
    return {"Id": image_id, "Config": {"Labels": {PACKAGES_LABEL: packages} if packages else None}}


@pytest.mark.parametrize(
    ("first", "second", "action", "place"),
    [
        (None, None, "build", "tag"),
        (LOCKED.hash(), None, "none", "tag"),
        ("other", None, "build", "locked_tag"),
        (None, LOCKED.hash(), "none", "locked_tag"),
        ("other", LOCKED.hash(), "none", "locked_tag"),
        ("other", "another", "build", "locked_tag"),
    ],
)
def test_only_an_image_with_the_locked_packages_is_the_image_of_a_locked_build(first, second, action, place):
    recipe = replace(build_engine_recipe("cpu", BASE), locked=LOCKED)
    named = {recipe.tag: first, recipe.locked_tag: second}
    here = {name: describe(IMAGE_ID, packages) for name, packages in named.items() if packages}
    need = resolve_packages_need("engine", recipe, here.get)
    assert (need.action, need.name) == (action, getattr(recipe, place))
    assert recipe.locked_tag.startswith(f"{recipe.tag}-")


def want(text):
    return WantedImage("prometheus", parse_reference(text), None)


def resolve(text, here=(), locked=None, remembered=None):
    """Give action, name and cause; `here` holds what the daemon finds, by name."""
    documents = here if isinstance(here, dict) else {name: {"Id": IMAGE_ID, "RepoDigests": [name]} for name in here}
    need = resolve_registry_need("prometheus", want(text), documents.get, locked, remembered or {})
    return need.action, need.name, need.cause


def lock(text, source="registry"):
    return LockedImage(parse_reference(text), source)


def test_an_image_that_is_here_by_its_digest_needs_nothing():
    exact = f"{NAME}@{DIGEST}"
    assert resolve(f"{NAME}:v3@{DIGEST}", [exact]) == ("none", exact, "it is here by its digest")


def test_an_image_that_is_not_here_is_pulled_by_its_digest():
    assert resolve(f"{NAME}:v3@{DIGEST}") == ("pull", f"{NAME}@{DIGEST}", "it is not here by its digest")


def test_a_tag_without_a_digest_is_pulled_even_where_one_of_its_name_is_here():
    found = resolve(f"{NAME}:v3", [f"{NAME}:v3"])
    assert found == ("pull", f"{NAME}:v3", "its digest is not known yet")


def test_the_lock_gives_a_tag_its_digest():
    found = resolve(f"{NAME}:v3", locked=lock(f"{NAME}:v3@{DIGEST}"))
    assert found == ("pull", f"{NAME}@{DIGEST}", "it is not here by its digest")


def test_a_digest_of_the_lock_is_known_as_such():
    need = resolve_registry_need("prometheus", want(f"{NAME}:v3"), {}.get, lock(f"{NAME}:v3@{DIGEST}"), {})
    assert need.is_locked


@pytest.mark.parametrize(
    "locked",
    [
        lock(f"{NAME}:v2@{DIGEST}"),
        lock(f"docker.io/other/prometheus:v3@{DIGEST}"),
        lock(f"{NAME}:v3@{DIGEST}", source="packages"),
    ],
)
def test_a_lock_of_something_else_says_nothing(locked):
    assert resolve(f"{NAME}:v3", locked=locked) == ("pull", f"{NAME}:v3", "its digest is not known yet")


def test_a_configured_digest_comes_before_the_locks():
    found = resolve(f"{NAME}:v3@{OTHER}", locked=lock(f"{NAME}:v3@{DIGEST}"))
    assert found[1] == f"{NAME}@{OTHER}"


def test_an_image_that_was_loaded_is_known_by_the_id_that_it_had():
    exact = f"{NAME}@{DIGEST}"
    found = resolve(f"{NAME}:v3@{DIGEST}", [IMAGE_ID], remembered={exact: IMAGE_ID})
    assert found == ("none", IMAGE_ID, "it is here by its recorded ID")


def test_a_remembered_id_that_is_gone_is_pulled_again():
    found = resolve(f"{NAME}:v3@{DIGEST}", remembered={f"{NAME}@{DIGEST}": IMAGE_ID})
    assert found[0] == "pull"


def test_an_image_made_here_is_taken_by_its_id():
    here = {"localhost/mine:x": {"Id": IMAGE_ID, "RepoDigests": []}}
    assert resolve("localhost/mine:x", here) == ("none", IMAGE_ID, "it was made on this machine under that name")


def test_an_image_named_by_its_id_must_be_here():
    need = resolve_image_id("engine", IMAGE_ID, {IMAGE_ID: {"Id": IMAGE_ID}}.get)
    assert (need.action, need.name, need.image_id) == ("none", IMAGE_ID, IMAGE_ID)
    with pytest.raises(ImageError) as caught:
        resolve_image_id("engine", IMAGE_ID, {}.get)
    assert "is not here, and an ID says nothing of where to get it" in caught.value.message
    assert "docker load" in caught.value.hint


@pytest.mark.parametrize(("here", "action"), [({}, "build"), ({"localhost/stack/engine:x": {"Id": IMAGE_ID}}, "none")])
def test_an_image_of_packages_is_built_once(here, action):
    recipe = SimpleNamespace(tag="localhost/stack/engine:x", locked_tag="localhost/stack/engine:x", locked=None)
    need = resolve_packages_need("engine", recipe, here.get)
    assert (need.action, need.name, need.source) == (action, "localhost/stack/engine:x", "packages")


MIRROR = {"docker.io": "mirror.example:5000/hub"}
MIRRORED = f"mirror.example:5000/hub/prom/prometheus@{DIGEST}"


def test_a_mirrors_copy_is_found_under_the_mirrors_name():
    here = {MIRRORED: {"Id": IMAGE_ID}}
    need = resolve_registry_need("prometheus", want(f"{NAME}:v3@{DIGEST}"), here.get, None, {}, MIRROR)
    assert (need.action, need.name, need.image_id) == ("none", MIRRORED, IMAGE_ID)


def test_a_mirrors_copy_is_found_by_its_recorded_id():
    here = {IMAGE_ID: {"Id": IMAGE_ID}}
    want_locked = lock(f"{NAME}:v3@{DIGEST}")
    need = resolve_registry_need("prometheus", want(f"{NAME}:v3"), here.get, want_locked, {MIRRORED: IMAGE_ID}, MIRROR)
    assert (need.action, need.name, need.cause) == ("none", IMAGE_ID, "it is here by its recorded ID")

"""Recipes: the same recipe is the same tag everywhere, another one is another tag."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import pytest

from stack.errors import ImageError
from stack.images import recipe as module
from stack.images.recipe import (
    BaseRecipe,
    build_base_recipe,
    build_engine_recipe,
    build_service_recipe,
    is_buildable,
    load_packages,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MIRROR = "http://deb.debian.org/debian"
# https://docs.docker.com/reference/cli/docker/image/tag/: what a name and a tag may hold.
NAME = re.compile(r"localhost/stack/[a-z0-9-]+:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@pytest.fixture
def base():
    return build_base_recipe("bookworm", MIRROR)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The recipes' folders, copied: a test may change their files."""
    root = tmp_path / "images"
    shutil.copytree(module.asset_path("compose", "images"), root)
    monkeypatch.setattr(module, "_folder", lambda name: root / name)
    return root


def test_a_name_of_ours_is_one_that_docker_takes_and_no_registry_answers_for(base):
    recipes = [build_engine_recipe(device, base) for device in ("cpu", "cuda")]
    recipes += [build_engine_recipe("cpu", base, commit=COMMIT)]
    recipes += [build_service_recipe(name, base) for name in ("prometheus", "alertmanager", "node-exporter", "gateway")]
    for tag in [base.tag, *(recipe.tag for recipe in recipes)]:
        assert NAME.fullmatch(tag), tag


def test_the_same_recipe_has_the_same_tag(base):
    again = build_base_recipe("bookworm", MIRROR)
    assert base.tag == again.tag
    assert build_engine_recipe("cpu", base).tag == build_engine_recipe("cpu", again).tag


def test_the_mirror_does_not_change_what_the_base_is(base):
    assert build_base_recipe("bookworm", "https://mirror.example/debian").tag == base.tag


@pytest.mark.parametrize(
    "other", [BaseRecipe("trixie", MIRROR, ("ca-certificates",)), BaseRecipe("bookworm", MIRROR, ())]
)
def test_another_base_is_another_image_all_the_way_up(base, other):
    assert other.tag != base.tag
    assert build_service_recipe("prometheus", other).tag != build_service_recipe("prometheus", base).tag


def test_whatever_decides_what_is_in_the_engine_decides_its_tag(base):
    recipes = [
        build_engine_recipe("cpu", base),
        build_engine_recipe("cuda", base),
        build_engine_recipe("cpu", base, version="0.30.0"),
        build_engine_recipe("cpu", base, commit=COMMIT),
        build_engine_recipe("cpu", base, commit=COMMIT, wheel="https://wheels.example/vllm.whl"),
    ]
    assert len({recipe.tag for recipe in recipes}) == len(recipes)


@pytest.mark.parametrize("change", ["edit", "add"])
def test_a_changed_or_new_file_of_the_recipe_is_another_image(base, folders, change):
    before = build_engine_recipe("cpu", base).tag
    path = folders / "engine" / ("Dockerfile" if change == "edit" else "more.py")
    path.write_text((path.read_text() if path.exists() else "") + "# changed\n")
    assert build_engine_recipe("cpu", base).tag != before


def test_a_file_of_another_recipe_changes_nothing(base, folders):
    before = build_engine_recipe("cpu", base).tag
    (folders / "prometheus" / "Dockerfile").write_text("FROM scratch\n")
    assert build_engine_recipe("cpu", base).tag == before


def test_the_engine_is_the_shipped_release_unless_another_was_asked_for(base):
    table = load_packages()["engine"]["cpu"]
    shipped = dict(build_engine_recipe("cpu", base).arguments)
    assert (shipped["DISTRIBUTION"], shipped["VERSION"]) == (table["distribution"], table["version"])
    assert (shipped["TORCH"], shipped["TORCH_INDEX"]) == (table["torch"], table["torch-index"])
    assert shipped["EXCLUDE"].split(",") == table["exclude"]
    asked = dict(build_engine_recipe("cpu", base, version="0.30.0").arguments)
    assert asked["VERSION"] == "0.30.0"


def test_a_cuda_engine_takes_vllms_own_wheel_and_the_torch_that_it_wants(base):
    arguments = dict(build_engine_recipe("cuda", base).arguments)
    assert (arguments["DISTRIBUTION"], arguments["TORCH"]) == ("vllm", "")


def test_a_wheel_of_a_commit_comes_in_place_of_the_release(base):
    arguments = dict(build_engine_recipe("cpu", base, commit=COMMIT, wheel="https://w.example/vllm.whl").arguments)
    assert (arguments["WHEEL"], arguments["DISTRIBUTION"]) == ("https://w.example/vllm.whl", "vllm")
    assert arguments["COMMIT"] == COMMIT


def test_the_tag_shows_the_commit_or_else_the_release(base):
    assert ":cpu-0123456789ab-" in build_engine_recipe("cpu", base, commit=COMMIT).tag
    assert ":cuda-0.30.0-" in build_engine_recipe("cuda", base, version="0.30.0").tag


def test_every_argument_of_the_engine_is_one_that_its_dockerfile_takes(base):
    recipe = build_engine_recipe("cpu", base)
    taken = set(re.findall(r"^ARG (\w+)", (recipe.folder / "Dockerfile").read_text(), re.MULTILINE))
    assert {name for name, _ in recipe.arguments} | {"BASE"} <= taken


@pytest.mark.parametrize(
    ("service", "folder"),
    [
        ("prometheus", "prometheus"),
        ("alertmanager", "alertmanager"),
        ("node-exporter", "node-exporter"),
        ("gateway", "nginx"),
    ],
)
def test_a_service_of_debian_is_built_from_its_folder(base, service, folder):
    recipe = build_service_recipe(service, base)
    assert (recipe.service, recipe.folder.name, recipe.variant) == (service, folder, "bookworm")
    assert is_buildable(service)


@pytest.mark.parametrize("service", ["grafana", "dcgm-exporter"])
def test_what_no_package_registry_has_cannot_be_built_and_says_so(base, service):
    assert not is_buildable(service)
    with pytest.raises(ImageError) as caught:
        build_service_recipe(service, base)
    assert caught.value.message == f"`{service}` cannot be built from packages: no package registry has it"


def test_every_image_says_who_built_it(base):
    for recipe in (build_engine_recipe("cpu", base), build_service_recipe("prometheus", base)):
        assert dict(recipe.arguments)["BUILT_BY"] == "stack (packages)"
        assert "BUILT_BY" in (recipe.folder / "Dockerfile").read_text()


def test_a_recipe_is_a_value(base):
    recipe = build_service_recipe("prometheus", base)
    assert recipe == build_service_recipe("prometheus", base)
    assert replace(recipe, variant="other").tag != recipe.tag

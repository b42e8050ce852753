"""Where an engine image may be: the shipped table, and what the configuration makes of it."""

import re

import pytest

from stack.errors import ImageError
from stack.images.sources import (
    Variant,
    build_places,
    find_moving,
    list_repositories,
    load_sources,
    parse_sources,
)

COMMIT = "0123456789abcdef" * 2 + "01234567"
HUB, ECR = "docker.io/vllm", "public.ecr.aws/q9t5s3a7"
CUDA, CPU = Variant("cuda"), Variant("cpu")


def name_places(variant=CUDA, added=None, **what):
    return [str(place.reference) for place in build_places(load_sources(added), variant, **what)]


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        (CUDA, [f"{HUB}/vllm-openai:nightly-{COMMIT}", f"{ECR}/vllm-release-repo:{COMMIT}"]),
        (
            Variant("cuda", "cu129"),
            [f"{HUB}/vllm-openai:cu129-nightly-{COMMIT}", f"{ECR}/vllm-release-repo:{COMMIT}-cu129"],
        ),
        (CPU, [f"{HUB}/vllm-openai-cpu:nightly-{COMMIT}", f"{ECR}/vllm-cpu-release-repo:{COMMIT}-x86_64"]),
        (
            Variant("cpu", arch="aarch64"),
            [f"{HUB}/vllm-openai-cpu:nightly-{COMMIT}", f"{ECR}/vllm-arm64-cpu-release-repo:{COMMIT}-aarch64"],
        ),
    ],
)
def test_a_commit_is_looked_for_where_upstream_publishes_its_variant(variant, expected):
    assert name_places(variant, commit=COMMIT)[:2] == expected


def test_the_image_of_the_ci_comes_last_and_says_what_it_is():
    place = build_places(load_sources(), CUDA, commit=COMMIT)[-1]
    assert str(place.reference) == f"{ECR}/vllm-ci-postmerge-repo:{COMMIT}"
    assert "VLLM_GPU_SYNC_CHECK" in place.source.warning and "entrypoint" in place.source.warning


def test_a_commit_that_is_a_release_is_looked_for_under_the_releases_tag_before_the_ci():
    places = name_places(commit=COMMIT, version="0.31.0")
    assert places.index(f"{HUB}/vllm-openai:v0.31.0") == len(places) - 2


def test_a_release_alone_has_one_place():
    assert name_places(version="0.31.0") == [f"{HUB}/vllm-openai:v0.31.0"]
    assert name_places(CPU, version="0.31.0") == [f"{HUB}/vllm-openai-cpu:v0.31.0"]
    assert name_places(Variant("cuda", "cu129"), version="0.31.0") == [f"{HUB}/vllm-openai:v0.31.0-cu129"]


def test_a_source_of_the_configuration_comes_first_and_replaces_and_takes_out_by_name():
    added = {
        "internal": "registry.example/vllm-{device}-{cuda}:{commit}",
        "nightly": "",
        "ci": "mine.example/ci:{commit}",
    }
    assert name_places(added=added, commit=COMMIT) == [
        f"registry.example/vllm-cuda-default:{COMMIT}",
        f"{ECR}/vllm-release-repo:{COMMIT}",
        f"mine.example/ci:{COMMIT}",
    ]
    assert build_places(load_sources(added), CUDA, commit=COMMIT)[-1].source.warning


@pytest.mark.parametrize("commit", ["", COMMIT[:12], COMMIT.upper(), COMMIT + "0"])
def test_an_abbreviated_commit_is_refused(commit):
    with pytest.raises(ImageError, match="40 hex digits"):
        build_places(load_sources(), CUDA, commit=commit)


@pytest.mark.parametrize("variant", [Variant("cuda", "cu99"), Variant("cpu", "cu129")])
def test_a_variant_that_nobody_has_is_refused_with_those_there_are(variant):
    with pytest.raises(ImageError, match=re.escape(f"no source has the variant `{variant.cuda}`")) as caught:
        build_places(load_sources(), variant, commit=COMMIT)
    assert caught.value.message.endswith("there are: `cu129`, `ubuntu2404`" if variant.device == "cuda" else "none")


def test_tags_that_move_are_known_by_their_names():
    table = load_sources()
    assert str(find_moving(table, "nightly", CUDA)) == f"{HUB}/vllm-openai:nightly"
    assert str(find_moving(table, "nightly", Variant("cuda", "cu129"))) == f"{HUB}/vllm-openai:cu129-nightly"
    assert str(find_moving(table, "latest", CPU)) == f"{HUB}/vllm-openai-cpu:latest"
    assert find_moving(table, "main", CUDA) is None
    with pytest.raises(ImageError, match="cu99"):
        find_moving(table, "nightly", Variant("cuda", "cu99"))


def test_a_repository_is_listed_as_it_is_called_and_as_the_mirror_calls_it():
    names = [str(name) for name in list_repositories(load_sources(), CPU, {"docker.io": "mirror.example/hub"})]
    assert names[:2] == [f"{HUB}/vllm-openai-cpu", "mirror.example/hub/vllm/vllm-openai-cpu"]
    assert len(names) == len(set(names)) == 4


def test_a_table_of_another_version_is_refused():
    with pytest.raises(ImageError, match="schema_version must be 1"):
        parse_sources({"schema_version": 2})

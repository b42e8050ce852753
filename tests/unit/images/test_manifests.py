import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.errors import ImageError
from stack.images.manifests import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Manifest,
    build_platform,
    compute_digest,
    parse_config,
    parse_layers,
    parse_manifest,
    select_platform,
)

A, B, C = ("sha256:" + letter * 64 for letter in "abc")
ATTESTATION = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": A}


def build_index(*entries):
    return Manifest("sha256:" + "0" * 64, INDEX_TYPES[0], {"manifests": list(entries)})


def entry(digest, os, architecture, variant=None, **more):
    platform = {"os": os, "architecture": architecture} | ({"variant": variant} if variant else {})
    return {"digest": digest, "platform": platform} | more


@pytest.mark.parametrize("media_type", INDEX_TYPES + MANIFEST_TYPES)
def test_all_four_media_types_are_read(media_type):
    body = json.dumps({"mediaType": media_type}).encode()
    manifest = parse_manifest(body, "application/octet-stream")
    assert manifest.is_index is (media_type in INDEX_TYPES)
    assert manifest.digest == compute_digest(body)


def test_the_header_tells_the_type_where_the_manifest_does_not():
    manifest = parse_manifest(b'{"manifests": []}', f"{INDEX_TYPES[0]}; charset=utf-8")
    assert manifest.is_index


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (b"<html>", "text/html", "not JSON"),
        (b"[]", INDEX_TYPES[0], "not a JSON object"),
        (b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws", "not an image"),
        (b"{}", "", "not an image"),
    ],
)
def test_what_is_no_manifest_is_refused(body, content_type, said):
    with pytest.raises(ImageError, match=said):
        parse_manifest(body, content_type)


def test_the_manifest_of_the_platform_is_found_past_attestations():
    index = build_index(
        entry(C, "unknown", "unknown", annotations=ATTESTATION),
        entry(A, "linux", "arm64", "v8"),
        entry(B, "linux", "amd64"),
    )
    assert select_platform(index, "linux/amd64") == B
    assert select_platform(index, "linux/arm64") == A
    assert select_platform(index, "linux/arm64/v8") == A


def test_a_missing_platform_is_told_with_what_there_is():
    index = build_index(entry(A, "linux", "arm64", "v8"), entry(C, "unknown", "unknown", annotations=ATTESTATION))
    with pytest.raises(ImageError, match=r"not made for linux/amd64: it offers linux/arm64/v8$"):
        select_platform(index, "linux/amd64")
    with pytest.raises(ImageError, match="it offers nothing"):
        select_platform(build_index(), "linux/amd64")


def test_config_and_layers_are_read():
    document = {"config": {"digest": A}, "layers": [{"digest": B, "size": 7}, {"digest": C, "size": "x"}]}
    assert parse_layers(Manifest(A, MANIFEST_TYPES[0], document)) == (A, {B: 7, C: 0})


def test_a_manifest_without_a_config_is_refused():
    with pytest.raises(ImageError, match="not a sha256 digest"):
        parse_layers(Manifest(A, MANIFEST_TYPES[0], {"layers": []}))


def test_labels_environment_and_entrypoint_are_read():
    body = {"config": {"Labels": {"a": "b"}, "Env": ["X=1=2", "Y"], "Entrypoint": ["vllm", "serve"]}}
    config = parse_config(json.dumps(body).encode())
    assert config.labels == {"a": "b"}
    assert config.environment == {"X": "1=2", "Y": ""}
    assert config.entrypoint == ("vllm", "serve")


@pytest.mark.parametrize("body", [b"{}", b'{"config": null}', b'{"config": {"Labels": null, "Env": null}}'])
def test_an_image_that_says_nothing_of_itself_is_empty(body):
    config = parse_config(body)
    assert (config.labels, config.environment, config.entrypoint) == ({}, {}, ())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["manifests", "config", "layers", "mediaType"]), _JSON))
def test_a_strange_manifest_gives_a_result_or_an_image_error(document):
    manifest = Manifest(A, INDEX_TYPES[0], document)
    for read in (lambda: select_platform(manifest, "linux/amd64"), lambda: parse_layers(manifest)):
        try:
            read()
        except ImageError as err:
            assert err.message


@pytest.mark.parametrize(
    ("machine", "platform"),
    [
        ("x86_64", "linux/amd64"),
        ("amd64", "linux/amd64"),
        ("aarch64", "linux/arm64"),
        ("riscv64", "linux/riscv64"),
    ],
)
def test_a_machine_has_a_platform(machine, platform):
    assert build_platform(machine) == platform

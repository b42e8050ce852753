"""Image documents of a stranger: every other form than the one that is known is an error that says so."""

import json

import pytest

from stack.bundles.open import open_source
from stack.bundles.problem import BundleError
from stack.bundles.received import check_image_document, parse_diff_ids
from tests.unit.bundles.conftest import CONFIG, DIFF_IDS, build_manifest_body

DIGEST = f"sha256:{'a' * 64}"
BLOB = {"digest": DIGEST, "size": 1}
DEEP = b"[" * 100_000


def test_what_this_tool_writes_has_the_form():
    check_image_document(build_manifest_body(), "manifest")
    assert parse_diff_ids(CONFIG, "config") == DIFF_IDS


def test_an_index_has_a_form_of_its_own():
    check_image_document(json.dumps({"manifests": [BLOB | {"platform": {"os": "linux"}}]}).encode(), "index")


@pytest.mark.parametrize(
    "document",
    [[], 1, None, {}, {"config": BLOB}, {"config": [], "layers": []}, {"config": BLOB, "layers": {}},
     {"config": BLOB, "layers": [1]}, {"config": BLOB, "layers": [{}]}, {"config": BLOB, "layers": [{"digest": 1}]},
     {"config": BLOB, "layers": [BLOB | {"size": "1"}]}, {"config": BLOB, "layers": [BLOB | {"size": -1}]},
     {"config": BLOB | {"digest": "../x"}, "layers": []}, {"config": BLOB, "layers": [BLOB | {"urls": 5}]},
     {"config": BLOB, "layers": [], "mediaType": []}, {"manifests": 1}, {"manifests": [{"digest": []}]}],
)  # fmt: skip
def test_a_manifest_of_another_form_is_refused(document):
    with pytest.raises(BundleError, match="the bundle's manifest of engine"):
        check_image_document(json.dumps(document).encode(), "manifest of engine")


@pytest.mark.parametrize(
    "document",
    [[], {}, {"rootfs": 1}, {"rootfs": {"diff_ids": "ab"}}, {"rootfs": {"diff_ids": [1]}},
     {"rootfs": {"diff_ids": {DIGEST: 1}}}, {"rootfs": {"diff_ids": ["sha256:x"]}}],
)  # fmt: skip
def test_a_config_of_another_form_is_refused(document):
    with pytest.raises(BundleError, match="the bundle's config"):
        parse_diff_ids(json.dumps(document).encode(), "config")


@pytest.mark.parametrize("body", [b"", b"\xff", b"{", DEEP, b"1" * 5000])
def test_what_is_no_json_is_refused(body):
    for parse in (check_image_document, parse_diff_ids):
        with pytest.raises(BundleError, match="is no JSON"):
            parse(body, "config")


def test_a_directory_deeper_than_any_bundle_is_refused_and_not_walked(where):
    if where.is_file():
        return
    deep = where / "blobs" / "/".join("d" * 400)
    deep.mkdir(parents=True)
    found = {problem.path: problem.message for problem in open_source(where).problems}
    assert found == {"blobs/d/d": "lies deeper than any folder of a bundle"}

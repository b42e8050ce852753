"""The manifest, which anybody may have written."""

import json

import pytest

from stack.bundles.manifest import parse_manifest, render_manifest
from stack.bundles.problem import BundleError
from tests.unit.bundles.conftest import build_bundle


def change(**changes):
    document = json.loads(render_manifest(build_bundle()))
    return json.dumps(document | changes).encode()


def test_what_was_written_is_read():
    bundle = build_bundle()
    assert parse_manifest(render_manifest(bundle).encode(), "b") == bundle


@pytest.mark.parametrize("body", [
    b"", b"{}", b"[]", b"null", b'"x"', b"[" * 100_000, b"\xff", b'{"schema_version": "1"}',
    change(schema_version=0)[:50],
])  # fmt: skip
def test_what_is_no_manifest_is_refused(body):
    with pytest.raises(BundleError):
        parse_manifest(body, "b")


def test_a_newer_form_is_told_as_such():
    with pytest.raises(BundleError, match="written by a newer `stack`") as caught:
        parse_manifest(change(schema_version=2), "b")
    assert "where you got it" in caught.value.hint and "tool/install" not in caught.value.hint


@pytest.mark.parametrize(("changes", "said"), [
    ({"unknown": 1}, "unknown"),
    ({"project": "a\nb"}, "project"),
    ({"device": "tpu"}, "device"),
    ({"model": {"kind": "hub", "id": "a/b", "revision": "main", "served_name": "b"}}, "revision"),
])  # fmt: skip
def test_what_it_may_not_say_is_named(changes, said):
    with pytest.raises(BundleError, match=said):
        parse_manifest(change(**changes), "b")


def change_file(number, **changes):
    files = json.loads(render_manifest(build_bundle()))["files"]
    files[number] |= changes
    return change(files=files)


@pytest.mark.parametrize(("body", "said"), [
    (change_file(0, path="../x"), "climbs out"),
    (change_file(0, path="/etc/cron.d/x"), "absolute"),
    (change_file(5, name="../../.bashrc"), "climbs out"),
    (change_file(5, name="CONFIG.json"), "two files `CONFIG.json`"),
    (change_file(0, sha256="0" * 64), "not named by its hash"),
    (change_file(0, size_bytes=-1), "size_bytes"),
    (change_file(0, path="compose.yaml"), "no part of a bundle"),
    (change_file(-1, path="bundle.json"), "names itself"),
])  # fmt: skip
def test_a_file_that_no_bundle_has_is_refused(body, said):
    with pytest.raises(BundleError, match=said):
        parse_manifest(body, "b")


def test_an_image_whose_blob_is_not_named_is_refused():
    image = json.loads(render_manifest(build_bundle()))["images"][0]
    with pytest.raises(BundleError, match="which is not there"):
        parse_manifest(change(images=[image | {"image_id": "sha256:" + "e" * 64}]), "b")
    with pytest.raises(BundleError, match="two images"):
        parse_manifest(change(images=[image, image]), "b")

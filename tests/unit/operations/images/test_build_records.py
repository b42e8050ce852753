"""Records in the state: taken from the build or out of the image, and only where the image's label vouches for them."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from stack.errors import ImageError
from stack.images.build_record import RECORD_LABEL, hash_record
from stack.operations.images import build_records
from stack.operations.images import fetch as fetch_images
from stack.operations.images.build_records import build_record_path, keep_record, load_record

CONTENT = json.dumps({"schema_version": 1, "service": "engine"}).encode()
OTHER = json.dumps({"schema_version": 1, "service": "other"}).encode()


@pytest.fixture
def keep(make_session, monkeypatch):
    """A function: what an image says and has gives the record, the state's file and whether the image was opened."""
    session = make_session()
    session.paths.state.mkdir(parents=True)

    def call(label, inside=None, *, built=None):
        opened = []
        document = {"Config": {"Labels": {RECORD_LABEL: label} if label else None}}
        monkeypatch.setattr(build_records, "read_image", lambda client, image: document)
        monkeypatch.setattr(build_records, "extract_record", lambda client, image: opened.append(image) or inside)
        return keep_record(session.paths, None, "engine", "sha256:1", built), opened

    call.paths = session.paths
    return call


def test_the_record_of_a_build_is_kept(keep):
    record, opened = keep(None, built=CONTENT)
    assert record == json.loads(CONTENT) and opened == []
    assert build_record_path(keep.paths, "engine").read_bytes() == CONTENT
    assert load_record(keep.paths, "engine") == record and load_record(keep.paths, "prometheus") is None


def test_of_an_image_that_was_built_elsewhere_it_is_read_once(keep):
    assert keep(hash_record(CONTENT), CONTENT) == (json.loads(CONTENT), ["sha256:1"])
    assert keep(hash_record(CONTENT), CONTENT) == (json.loads(CONTENT), [])
    # Another image under the same service replaces it.
    assert keep(hash_record(OTHER), OTHER)[0]["service"] == "other"
    assert load_record(keep.paths, "engine")["service"] == "other"


def test_a_record_that_the_label_does_not_vouch_for_is_none(keep):
    assert keep(hash_record(CONTENT), OTHER)[0] is None
    assert keep(None, CONTENT) == (None, [])
    assert load_record(keep.paths, "engine") is None


def test_a_damaged_record_is_told(keep):
    path = build_record_path(keep.paths, "engine")
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(ImageError, match="build record of"):
        load_record(keep.paths, "engine")


def test_what_is_no_record_is_told_and_does_not_come_into_the_state(keep):
    for content in (b"\xff", b'{"schema_version": 1, "packages": [1]}'):
        with pytest.raises(ImageError, match="build record of sha256:1"):
            keep(hash_record(content), content)
    assert not build_record_path(keep.paths, "engine").exists()


@pytest.fixture
def fetcher(make_session, monkeypatch):
    """A function: an image that is here, or was just built, gives what reads its record, and what is said."""
    said = []
    monkeypatch.setattr(
        build_records, "read_image", lambda *_: {"Config": {"Labels": {RECORD_LABEL: hash_record(b"[")}}}
    )
    monkeypatch.setattr(build_records, "extract_record", lambda *_: b"[")

    def make(built):
        session = replace(make_session(), say=said.append)
        need = SimpleNamespace(action="none", image_id="sha256:1", name="x", recipe=object())
        resolved = SimpleNamespace(needs={"engine": need})
        monkeypatch.setattr(fetch_images, "ImageBuilder", lambda *rest, **more: None)
        found = fetch_images.ImageFetcher(session, None, resolved)
        found._fetched["engine"] = replace(found.fetched("engine"), record=built)
        return found

    make.said = said
    return make


def test_an_image_from_elsewhere_with_a_crafted_record_goes_without_one(fetcher):
    assert fetcher(None).read_record("engine") is None
    assert len(fetcher.said) == 1 and "engine goes without one" in fetcher.said[0]


def test_a_record_that_was_just_built_and_is_none_is_an_error(fetcher):
    with pytest.raises(ImageError):
        fetcher(b"[").read_record("engine")

"""Layers read from a classic store, as the daemon keeps them, are those that it would export."""

import base64
import gzip
import hashlib
import io
import json
import tarfile

import pytest

from stack.images.layer_store import build_chain_id, find_layer_store


def sha256(body):
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def build_tar(files):
    """Give a layer's tar, and the record from which it is put together again."""
    buffer, rows, begun = io.BytesIO(), [], 0
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    whole = buffer.getvalue()
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        for member in tar.getmembers():
            rows.append({"type": 2, "payload": base64.b64encode(whole[begun : member.offset_data]).decode()})
            rows.append({"type": 1, "name": member.name, "size": member.size})
            begun = member.offset_data + member.size
    rows.append({"type": 2, "payload": base64.b64encode(whole[begun:]).decode()})
    return whole, rows


@pytest.fixture
def put(tmp_path):
    """A function: keeps a layer upon others in a store below `tmp_path`, and gives its tar."""

    def call(files, below=()):
        whole, rows = build_tar(files)
        chain = build_chain_id([*below, sha256(whole)])
        folder = tmp_path / "image/overlay2/layerdb/sha256" / chain[7:]
        folder.mkdir(parents=True)
        (folder / "diff").write_text(sha256(whole))
        (folder / "cache-id").write_text(f"cache-{chain[7:19]}")
        with gzip.open(folder / "tar-split.json.gz", "wb") as record:
            record.write(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
        for name, body in files.items():
            path = tmp_path / "overlay2" / f"cache-{chain[7:19]}" / "diff" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        return whole

    return call


@pytest.fixture
def store(tmp_path, put):
    put({"base": b"b"})
    return find_layer_store({"Driver": "overlay2", "DockerRootDir": str(tmp_path)})


FILES = {"etc/empty": b"", "etc/small": b"s" * 700, "opt/large": bytes(range(256)) * 10_000, "usr/ünï": b"x"}


def test_a_layer_comes_out_byte_for_byte(store, put):
    whole = put(FILES)
    pieces = list(store.open_layer([sha256(whole)]))
    assert b"".join(pieces) == whole and max(map(len, pieces)) < 4_000_000


def test_a_layer_is_known_by_those_under_it(store, put):
    whole = put(FILES, below=["sha256:" + "a" * 64])
    assert store.open_layer([sha256(whole)]) is None
    assert b"".join(store.open_layer(["sha256:" + "a" * 64, sha256(whole)])) == whole


def test_a_file_that_is_gone_gives_other_bytes_and_no_error(store, put, tmp_path):
    whole = put(FILES)
    next(tmp_path.rglob("opt/large")).unlink()
    assert sha256(b"".join(store.open_layer([sha256(whole)]))) != sha256(whole)


@pytest.mark.parametrize("info", [{}, {"Driver": "btrfs", "DockerRootDir": "/"}, {"Driver": "overlay2"}])
def test_another_store_or_one_that_cannot_be_read_is_none(info):
    assert find_layer_store(info) is None


def test_a_config_counts_only_under_its_own_hash(store, tmp_path):
    folder = tmp_path / "image/overlay2/imagedb/content/sha256"
    folder.mkdir(parents=True)
    (folder / sha256(b"{}")[7:]).write_bytes(b"{}")
    assert store.read_config(sha256(b"{}")) == b"{}"
    (folder / sha256(b"{}")[7:]).write_bytes(b"{ }")
    assert store.read_config(sha256(b"{}")) is None and store.read_config("sha256:" + "0" * 64) is None


def test_a_chain_is_the_hash_of_chain_and_layer():
    one, two = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    assert build_chain_id([one]) == one
    assert build_chain_id([one, two]) == sha256(f"{one} {two}".encode())

"""Small bundles with every part, as a directory and as files."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stack.bundles.directory_writer import DirectoryWriter
from stack.bundles.file_writer import FileWriter
from stack.bundles.manifest import Bundle, BundleFile, BundleImage, BundleModel
from stack.bundles.names import build_blob_path
from stack.bundles.oci import Layer, build_image_manifest
from stack.operations.resolve import machine_platform
from tests.unit.models.conftest import build_safetensors

FORMS = ("dir", "bundle.tar", "bundle.tar.zst")
LAYERS = [bytes(range(256)) * 5000, b"layer two" * 70_000]
DIFF_IDS = [f"sha256:{hashlib.sha256(body).hexdigest()}" for body in LAYERS]
CONFIG = json.dumps({"rootfs": {"diff_ids": DIFF_IDS}}).encode()
MODEL = {"config.json": b"{}", "sub/weights.safetensors": build_safetensors(b"weights!" * 90_000), "empty.txt": b""}
TEXTS = {
    "config": ("stack.toml", b'project = "mine"\n[model]\nid = "acme/tiny"\n'),
    "lock": ("stack.lock", b"schema_version = 1\n"),
    "history": ("history.json", b'{"schema_version": 1, "boots": []}'),
}
CACHES = {"vllm/graph.bin": b"compiled" * 1000}
TOOL = {"tool/install": b"#!/bin/sh\n", "tool/wheels/stack-1-py3-none-any.whl": b"wheel" * 1000}


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def build_manifest_body() -> bytes:
    layers = [Layer(f"sha256:{sha256(body)}", len(body)) for body in LAYERS]
    return build_image_manifest(f"sha256:{sha256(CONFIG)}", len(CONFIG), layers)


def build_bundle(**changes) -> Bundle:
    """Give the manifest of a bundle with every part."""
    blobs = [*(("image", "engine", body) for body in (*LAYERS, CONFIG, build_manifest_body()))]
    blobs += [("model", name, body) for name, body in MODEL.items()]
    blobs += [("cache", name, body) for name, body in CACHES.items()]
    blobs += [(part, name, body) for part, (name, body) in TEXTS.items()]
    files = [
        BundleFile(path=build_blob_path(sha256(body)), part=part, name=name, size_bytes=len(body), sha256=sha256(body))
        for part, name, body in blobs
    ]
    files += [
        BundleFile(path=path, part="tool", name=path, size_bytes=len(body), sha256=sha256(body))
        for path, body in TOOL.items()
    ]
    image = BundleImage(
        service="engine",
        name="localhost/acme/engine:1",
        image_id=f"sha256:{sha256(CONFIG)}",
        manifest=f"sha256:{sha256(build_manifest_body())}",
    )
    values = {
        "tool_version": "1", "created": "2026-11-22T00:00:00+00:00", "project": "mine", "platform": machine_platform(),
        "device": "cpu", "images": (image,), "tool": "fingerprint", "files": tuple(files),
        "model": BundleModel(kind="hub", id="acme/tiny", revision="0" * 40, served_name="tiny"),
    }  # fmt: skip
    return Bundle(**(values | changes))


def list_bodies() -> list[bytes]:
    """Give every blob of the bundle, in the order of a save."""
    texts = [body for _, body in TEXTS.values()]
    return [*LAYERS, CONFIG, build_manifest_body(), *MODEL.values(), *CACHES.values(), *texts]


def open_writer(where: Path) -> DirectoryWriter | FileWriter:
    if where.name == "dir":
        return DirectoryWriter(where)
    return FileWriter(where, [sha256(body) for body in list_bodies()])


def cut(body: bytes, size: int = 100_000):
    return (body[start : start + size] for start in range(0, len(body), size))


def write_bundle(where: Path, bundle: Bundle | None = None, pieces: Callable = cut) -> Path:
    """Write a bundle as a save does; `pieces` gives the bytes of each blob."""
    with open_writer(where) as writer:
        for number, body in enumerate(list_bodies()):
            # A layer's hash is not always known before.
            writer.add_blob(pieces(body), len(body), None if number == 0 else sha256(body))
        for path, body in TOOL.items():
            writer.add_file(path, body)
        writer.finish(bundle or build_bundle())
    return where


@pytest.fixture(params=FORMS)
def form(request) -> str:
    """Each form of a bundle."""
    return request.param


@pytest.fixture
def where(form, tmp_path) -> Path:
    """A bundle of each form."""
    return write_bundle(tmp_path / form)


def flip(path: Path, position: int) -> None:
    """Change one bit of a file."""
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 0x10]))


@contextlib.contextmanager
def changed(path: Path):
    """Let a file be changed while the block lasts."""
    before = path.read_bytes()
    yield
    path.write_bytes(before)

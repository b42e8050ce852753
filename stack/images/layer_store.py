"""Layers read where Docker's classic store keeps them, byte for byte as `docker save` would give them.

`docker save` has no way to give one layer: for a new layer on top of four gigabytes it copies all of them twice.
The store keeps, beside a layer's unpacked files, the record from which the daemon itself puts the tar together
again. Whoever may read that (root on the daemon's machine) can do the same. It is a short cut and no more: what comes
out counts only where its hash is the layer's `diff_id`, and everybody else asks the daemon.

Source: moby layer/filestore.go and layer/ro_layer.go; github.com/vbatts/tar-split, tar/storage (entries of type 1
are files, of type 2 the bytes between them).
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_FILE, _SEGMENT = 1, 2
_CHUNK_BYTES = 1024**2
_DRIVER = "overlay2"


class LayerStore:
    """The store of a daemon on this machine.

    Args:
        root: The daemon's data root.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def read_config(self, image_id: str) -> bytes | None:
        """Give the config of an image, or None where it cannot be read."""
        path = self._root / "image" / _DRIVER / "imagedb" / "content" / "sha256" / image_id.removeprefix("sha256:")
        try:
            body = path.read_bytes()
        except OSError:
            return None
        return body if f"sha256:{hashlib.sha256(body).hexdigest()}" == image_id else None

    def open_layer(self, diff_ids: Sequence[str]) -> Iterator[bytes] | None:
        """Give the tar of the last of these layers, which lie upon one another, or None where it is not to be had."""
        folder = (
            self._root / "image" / _DRIVER / "layerdb" / "sha256" / build_chain_id(diff_ids).removeprefix("sha256:")
        )
        try:
            files = self._root / _DRIVER / (folder / "cache-id").read_text().strip() / "diff"
            if (folder / "diff").read_text().strip() != diff_ids[-1] or not os.access(files, os.R_OK | os.X_OK):
                return None
            record = gzip.open(folder / "tar-split.json.gz", "rb")  # noqa: SIM115 (the generator closes it)
        except OSError:
            return None
        return _join(record, files)


def find_layer_store(info: Mapping[str, Any]) -> LayerStore | None:
    """Give the store of a daemon from its `docker info`, where it is a classic one that this user may read."""
    root = Path(info.get("DockerRootDir") or "/nowhere")
    if info.get("Driver") != _DRIVER or not os.access(root / "image" / _DRIVER / "layerdb", os.R_OK | os.X_OK):
        return None
    return LayerStore(root)


def build_chain_id(diff_ids: Sequence[str]) -> str:
    """Give the name of a layer with all that lie under it."""
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = f"sha256:{hashlib.sha256(f'{chain} {diff_id}'.encode()).hexdigest()}"
    return chain


def _join(record: gzip.GzipFile, files: Path) -> Iterator[bytes]:
    """Give the tar in pieces; where something of the layer is gone it ends early, and its hash is another."""
    held = bytearray()
    with record, contextlib.suppress(OSError, EOFError, ValueError):
        for line in record:
            for piece in _read_entry(json.loads(line), os.fsencode(files)):
                held += piece
                if len(held) >= _CHUNK_BYTES:
                    yield bytes(held)
                    held.clear()
    if held:
        yield bytes(held)


def _read_entry(entry: Mapping[str, Any], files: bytes) -> Iterator[bytes]:
    if entry["type"] == _SEGMENT:
        yield base64.b64decode(entry["payload"] or "")
    elif entry["type"] == _FILE and entry.get("size"):
        name = base64.b64decode(entry["name_raw"]) if entry.get("name_raw") else entry["name"].encode()
        # As bytes: a name in a layer need not be UTF-8.
        with open(os.path.join(files, name.lstrip(b"/")), "rb", buffering=0) as file:  # noqa: PTH123, PTH118
            while piece := file.read(_CHUNK_BYTES):
                yield piece

"""What `docker save` gives, read as it comes: the blobs of one image, whatever form the engine writes.

Engines before 25 put layers under names of their own, newer ones under their digests, and those on containerd's
store pack them. Which files are the config and the layers, manifest.json says in each form, and it comes last or
in the middle: so every blob is taken as it passes, under the hash that it turns out to have.

Source: moby image/tarexport/save.go (20.10 and 25) and daemon/containerd/image_exporter.go.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stack.bundles.files import CHUNK_BYTES
from stack.bundles.oci import Layer, detect_compression
from stack.bundles.problem import BundleError

_SMALL_BYTES = 1024**2

AddBlob = Callable[[Iterator[bytes], int], str]
"""Writes a blob of a size and gives its hash in hex."""
_AGAIN = "look at the engine (`docker info`), then run the same command again: what is whole stays"


@dataclass(frozen=True)
class Exported:
    """An image that came out of a daemon.

    Attributes:
        config_digest: Of its config.
        config: The config's bytes.
        layers: Its layers in order.
    """

    config_digest: str
    config: bytes
    layers: tuple[Layer, ...]


def read_export(pieces: Iterator[bytes], add_blob: AddBlob, name: str) -> Exported:
    """Take everything of one image that a daemon sends.

    Args:
        pieces: The tar, as it comes.
        add_blob: Takes what is larger than metadata.
        name: What was asked for, for the messages.

    Raises:
        BundleError: The daemon broke off, or sent something else.
    """
    taken: dict[str, Layer] = {}
    small: dict[str, bytes] = {}
    links: dict[str, str] = {}
    try:
        with tarfile.open(fileobj=_Reader(pieces), mode="r|", bufsize=CHUNK_BYTES) as tar:
            for member in tar:
                if member.issym() or member.islnk():
                    base = posixpath.dirname(member.name) if member.issym() else ""
                    links[member.name] = posixpath.normpath(posixpath.join(base, member.linkname))
                elif member.isreg():
                    file = tar.extractfile(member)
                    assert file is not None
                    _take(member, iter(lambda file=file: file.read(CHUNK_BYTES), b""), add_blob, taken, small)
                # Bounded memory: tarfile remembers every member otherwise.
                tar.members = []
    except (tarfile.TarError, EOFError) as err:
        raise BundleError(f"the Docker engine broke off while `{name}` was saved: {err}", hint=_AGAIN) from err
    return _assemble(taken, small, links, add_blob, name)


def _take(
    member: tarfile.TarInfo,
    pieces: Iterator[bytes],
    add_blob: AddBlob,
    taken: dict[str, Layer],
    small: dict[str, bytes],
) -> None:
    first = next(pieces, b"")
    is_layer = member.name.endswith("layer.tar")
    if member.size <= _SMALL_BYTES and not is_layer:
        small[member.name] = first + b"".join(pieces)
        return
    sha256 = add_blob(_chain(first, pieces), member.size)
    taken[member.name] = Layer(f"sha256:{sha256}", member.size, detect_compression(first))


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _assemble(
    taken: dict[str, Layer], small: dict[str, bytes], links: dict[str, str], add_blob: AddBlob, name: str
) -> Exported:
    try:
        (entry,) = json.loads(small["manifest.json"])
        config = small[entry["Config"]]
        layers = [links.get(path, path) for path in entry["Layers"]]
    except (KeyError, ValueError, TypeError) as err:
        raise BundleError(
            f"the Docker engine sent no image that can be read for `{name}` ({err!r})", hint=_AGAIN
        ) from err
    for path in layers:
        if path in taken:
            continue
        if path not in small:
            raise BundleError(f"the Docker engine sent `{name}` without its layer {path}", hint=_AGAIN)
        body = small[path]
        sha256 = add_blob(iter([body]), len(body))
        taken[path] = Layer(f"sha256:{sha256}", len(body), detect_compression(body))
    digest = hashlib.sha256(config).hexdigest()
    return Exported(f"sha256:{digest}", config, tuple(taken[path] for path in layers))


class _Reader(io.RawIOBase):
    """The pieces as a file that can be read once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts, missing = [], size
        while missing:
            if not self._rest:
                self._rest = next(self._pieces, b"")
                if not self._rest:
                    break
            part, self._rest = self._rest[:missing], self._rest[missing:]
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

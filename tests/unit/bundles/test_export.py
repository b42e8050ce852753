"""What engines of different ages send for `docker save`, read as it comes."""

import gzip
import io
import json
import tarfile

import pytest

from stack.bundles.export import read_export
from stack.bundles.problem import BundleError
from tests.unit.bundles.conftest import sha256

CONFIG = b'{"rootfs": {}}'
LARGE, SMALL = b"large" * 400_000, b"small" * 100


def build_stream(*members, manifest=None):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, body in [*members, ("manifest.json", json.dumps(manifest).encode())]:
            member = tarfile.TarInfo(name)
            if isinstance(body, str):
                member.type, member.linkname = tarfile.SYMTYPE, body
                tar.addfile(member)
            else:
                member.size = len(body)
                tar.addfile(member, io.BytesIO(body))
    body = buffer.getvalue()
    return (body[start : start + 10_000] for start in range(0, len(body), 10_000))


def read(stream):
    blobs = {}

    def add_blob(pieces, size):
        body = b"".join(pieces)
        assert len(body) == size
        blobs[sha256(body)] = body
        return sha256(body)

    return read_export(stream, add_blob, "acme/engine:1"), blobs


def check(exported, blobs, layers):
    assert exported.config == CONFIG and exported.config_digest == f"sha256:{sha256(CONFIG)}"
    assert [layer.digest for layer in exported.layers] == [f"sha256:{sha256(body)}" for body in layers]
    assert [layer.size_bytes for layer in exported.layers] == [len(body) for body in layers]
    assert all(blobs[sha256(body)] == body for body in layers)


def test_an_engine_before_25_names_layers_its_own_way_and_links_to_the_same():
    manifest = [{"Config": "c.json", "Layers": ["one/layer.tar", "two/layer.tar", "three/layer.tar"]}]
    members = [("one/layer.tar", LARGE), ("one/json", b"{}"), ("two/layer.tar", SMALL), ("c.json", CONFIG)]
    exported, blobs = read(build_stream(*members, ("three/layer.tar", "../one/layer.tar"), manifest=manifest))
    check(exported, blobs, [LARGE, SMALL, LARGE])


def test_an_engine_since_25_names_layers_by_their_hash_small_ones_too():
    names = {body: f"blobs/sha256/{sha256(body)}" for body in (LARGE, SMALL, CONFIG)}
    manifest = [{"Config": names[CONFIG], "Layers": [names[LARGE], names[SMALL]]}]
    exported, blobs = read(build_stream(*((name, body) for body, name in names.items()), manifest=manifest))
    check(exported, blobs, [LARGE, SMALL])
    assert [layer.compression for layer in exported.layers] == ["", ""]


def test_containerds_store_sends_packed_layers():
    packed = gzip.compress(SMALL)
    manifest = [{"Config": "blobs/sha256/c", "Layers": ["blobs/sha256/l"]}]
    exported, _ = read(build_stream(("blobs/sha256/c", CONFIG), ("blobs/sha256/l", packed), manifest=manifest))
    assert [layer.compression for layer in exported.layers] == ["gzip"]


@pytest.mark.parametrize("stream", [
    iter([]), iter([b"x" * 2000]), build_stream(manifest=[]), build_stream(manifest=[{"Config": "c"}]),
    build_stream(("c", CONFIG), manifest=[{"Config": "c", "Layers": ["gone"]}]),
])  # fmt: skip
def test_what_is_no_image_is_told(stream):
    with pytest.raises(BundleError, match="acme/engine:1"):
        read(stream)


def test_a_stream_that_breaks_off_is_told():
    whole = b"".join(build_stream(("one/layer.tar", LARGE), manifest=[{"Config": "c", "Layers": []}]))
    with pytest.raises(BundleError, match="broke off"):
        read(iter([whole[:1_000_000]]))

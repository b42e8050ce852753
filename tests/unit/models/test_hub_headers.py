"""Sizing over the hub's protocol: the beginnings of the files come, the weights do not."""

from __future__ import annotations

import json
import struct

import pytest

from stack.errors import ModelError
from stack.models.hub import build_hub_client
from stack.models.hub_headers import fetch_sizing_files

from .conftest import CONFIG, build_model_files, build_safetensors

WEIGHTS_BYTES = 4_000_000


@pytest.fixture
def fetch(hub, events):
    def call(model="acme/tiny", revision="main"):
        settings = {"token": None, "report": events.append, "sleep": lambda seconds: None}
        return fetch_sizing_files(build_hub_client(model, revision, endpoint=hub.endpoint, **settings))

    return call


def build_many_tensors(count: int) -> bytes:
    """Give a file whose header is longer than what is asked for at first."""
    names = [f"model.layers.{number}.mlp.down_proj.weight" for number in range(count)]
    table = {name: {"dtype": "BF16", "shape": [1], "data_offsets": [2 * n, 2 * n + 2]} for n, name in enumerate(names)}
    header = json.dumps(table).encode()
    return struct.pack("<Q", len(header)) + header + bytes(2 * count)


def test_a_model_is_sized_without_its_weights(hub, fetch):
    model = hub.add_model("acme/tiny", build_model_files(WEIGHTS_BYTES))
    files = fetch()
    assert (files.config["model_type"], files.revision) == ("llama", model.commit)
    assert sum(header.weights_bytes for header in files.headers) == pytest.approx(WEIGHTS_BYTES, abs=1000)
    # Both beginnings, the config, and what the hub says of its files.
    assert files.fetched_bytes < 2 * 64 * 1024 + 1000
    assert hub.sent_bytes < 2 * 64 * 1024 + 10_000 < WEIGHTS_BYTES / 10
    assert all("range" in request.headers for request in hub.requests if "/storage/" in request.path)


def test_a_server_that_ignores_ranges_is_left_as_soon_as_the_beginning_is_here(hub, fetch):
    size_bytes = 64_000_000
    hub.add_model("acme/tiny", build_model_files(size_bytes))
    hub.ignore_range("/storage/", times=2)
    files = fetch()
    assert sum(header.weights_bytes for header in files.headers) == pytest.approx(size_bytes, abs=1000)
    assert files.fetched_bytes < 2 * 64 * 1024 + 1000


def test_a_long_header_is_read_whole(hub, fetch):
    body = build_many_tensors(2000)
    hub.add_model("acme/tiny", {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": body})
    (header,) = fetch().headers
    assert (len(header.tensors), header.weights_bytes) == (2000, 4000)
    assert header.file_bytes == len(body)


def test_a_revision_is_asked_for_by_its_commit(hub, fetch):
    model = hub.add_model("acme/tiny", build_model_files())
    model.branches["v1"] = model.commit
    assert fetch(revision="v1").revision == model.commit


def test_an_answer_that_asks_for_patience_is_asked_again(hub, fetch):
    hub.add_model("acme/tiny", build_model_files())
    hub.answer_with(503, "/storage/", times=1)
    assert len(fetch().headers) == 2


def test_a_model_that_is_missing_is_explained(fetch):
    with pytest.raises(ModelError, match="is not on"):
        fetch("acme/none")


def test_a_model_without_safetensors_is_refused(hub, fetch):
    hub.add_model("acme/tiny", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    with pytest.raises(ModelError, match="no safetensors"):
        fetch()


def test_a_model_without_a_config_is_refused(hub, fetch):
    hub.add_model("acme/tiny", {"params.json": b"{}", "model.safetensors": build_safetensors(bytes(64))})
    with pytest.raises(ModelError, match="no config.json"):
        fetch()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"not safetensors at all", "is not a safetensors file"),
        (struct.pack("<Q", 90_000) + b"{}", "shorter than its header says"),
        (struct.pack("<Q", 4) + b"nope", "damaged safetensors header"),
    ],
)
def test_a_damaged_file_is_named(hub, fetch, body, said):
    hub.add_model("acme/tiny", {"config.json": b"{}", "model.safetensors": body})
    with pytest.raises(ModelError, match=said):
        fetch()


def test_a_beginning_that_is_cut_is_told(hub, fetch):
    hub.add_model("acme/tiny", build_model_files(WEIGHTS_BYTES))
    hub.cut_body("/storage/", 100, times=100)
    with pytest.raises(ModelError, match="cannot be reached|gave 100 of the first"):
        fetch()

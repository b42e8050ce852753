from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stack.models.ensure import ensure_snapshot
from stack.models.reference import parse_model_reference
from stack.models.snapshot import Snapshot
from stack.progress import ProgressEvent
from tests.fixtures.fake_hub import FakeHub, run_hub

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "vocab_size": 128,
    "max_position_embeddings": 256,
    "torch_dtype": "bfloat16",
}


def build_safetensors(data: bytes, dtype: str = "BF16") -> bytes:
    """Give a safetensors file with one tensor."""
    width = {"BF16": 2, "F16": 2, "F32": 4, "I8": 1}[dtype]
    tensor = {"dtype": dtype, "shape": [len(data) // width], "data_offsets": [0, len(data)]}
    header = json.dumps({"weight": tensor}).encode()
    return struct.pack("<Q", len(header)) + header + data


def build_model_files(size_bytes: int = 100_000) -> dict[str, bytes]:
    """Give the files of a small model in two shards, with files that no engine needs."""
    half = bytes(range(256)) * (size_bytes // 512)
    shards = {
        "model-00001-of-00002.safetensors": build_safetensors(half),
        "model-00002-of-00002.safetensors": build_safetensors(half[::-1]),
    }
    index = {
        "metadata": {"total_size": 2 * len(half)},
        "weight_map": {"a": "model-00001-of-00002.safetensors"},
    }
    return {
        **shards,
        "config.json": json.dumps(CONFIG).encode(),
        "tokenizer.json": b'{"version": "1.0"}',
        "model.safetensors.index.json": json.dumps(index).encode(),
        "pytorch_model.bin": b"pickle" * 1000,
        ".gitattributes": b"*.bin filter=lfs",
        "original/params.json": b"{}",
    }


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    # What the machine is told of proxies must not stand between a test and its loopback server.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    yield from run_hub()


@pytest.fixture
def events() -> list[ProgressEvent]:
    return []


@pytest.fixture
def ensure(hub: FakeHub, tmp_path: Path, events: list[ProgressEvent]) -> Callable[..., Snapshot]:
    """Give `ensure_snapshot` against the stub, with a volume, no waiting, and what a test changes."""

    def call(model: str = "acme/tiny", **changes: object) -> Snapshot:
        settings = {
            "revision": None,
            "volume": tmp_path / "volume",
            "endpoint": hub.endpoint,
            "token": None,
            "environ": {},
            "report": events.append,
            "sleep": lambda seconds: None,
        }
        return ensure_snapshot(parse_model_reference(model), **(settings | changes))

    return call


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return folder

"""Where a model's config and safetensors headers come from: a directory, the volume, or the hub by ranges."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.errors import ModelError
from stack.models.demo import DEMO_FILES, DEMO_REVISION
from stack.models.directory import check_model_directory
from stack.models.safetensors_header import SafetensorsHeader, Tensor, load_safetensors_header
from stack.models.selection import select_files

# What converting the demo model gives, by its recorded hashes.
_DEMO_HEADER_BYTES = 30_536
_DEMO_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "head_dim": 64,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "max_position_embeddings": 8192,
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "vocab_size": 49152,
}


@dataclass(frozen=True)
class SizingFiles:
    """What sizing reads of a model.

    Attributes:
        config: `config.json`.
        headers: The headers of its weight files.
        revision: The hub's commit, or None.
        where: Where they were read.
        fetched_bytes: What came over the network for it.
    """

    config: Mapping[str, Any]
    headers: tuple[SafetensorsHeader, ...]
    revision: str | None
    where: str
    fetched_bytes: int = 0


def load_sizing_files(directory: Path, *, revision: str | None = None) -> SizingFiles:
    """Read a model directory's config and headers.

    Raises:
        ModelError: It is no model directory, or it is damaged.
    """
    names = check_model_directory(directory)
    headers = tuple(load_safetensors_header(directory / name) for name in select_files(names).weights)
    path = directory / "config.json"
    if not path.is_file():
        raise ModelError(f"{directory} holds no config.json", hint="sizing knows Hugging Face's format only")
    return SizingFiles(parse_config(path.read_bytes(), str(path)), headers, revision, str(directory))


def parse_config(text: bytes, name: str) -> dict[str, Any]:
    """Read a `config.json`.

    Raises:
        ModelError: It is not a JSON object.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ModelError(f"{name} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ModelError(f"{name} does not hold a JSON object")
    return document


def build_demo_files() -> SizingFiles:
    """Give what the demo model's files will say once they are here; they are the same on every machine."""
    weights = next(record.size_bytes for record in DEMO_FILES if record.name == "model.safetensors")
    tensor = Tensor("model.weight", "BF16", 2, weights - _DEMO_HEADER_BYTES)
    header = SafetensorsHeader((tensor,), weights)
    return SizingFiles(_DEMO_CONFIG, (header,), DEMO_REVISION, "this tool (the files are not here yet)")

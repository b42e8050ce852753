"""What a model is, read from its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.errors import ModelError
from stack.models.safetensors_header import load_safetensors_header
from stack.models.selection import select_files
from stack.models.sizing_layers import find_number, find_text_config

# vLLM decides by these endings which models pool and which generate (`vllm/config/model.py`).
_GENERATING = ("ForCausalLM", "ForConditionalGeneration", "ChatModel", "LMHeadModel")
_POOLING = ("ForTextEncoding", "Classification", "ForRewardModeling", "ForMaskedLM", "Model")
_REASONING_MARKS = ("<think>", "</think>", "enable_thinking", "reasoning_content", "<|channel|>")
_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model from its files; None where the config does not say.

    Attributes:
        architecture: The first of `architectures`.
        model_type: `model_type`.
        hidden_layers: Transformer layers.
        attention_heads: Query heads.
        kv_heads: Key and value heads.
        head_dim: Size of a head.
        vocab_size: Tokens.
        max_position_embeddings: The longest context that the model was made for, in tokens.
        dtype: `bfloat16`, `float16` or `float32`.
        quantization: The method that `quantization_config` names.
        weights_bytes: Size of all tensors.
        is_pooling: An embedding, classifying or reranking model (a guess by name and files).
        has_chat_template: A chat template came with the tokenizer.
        is_reasoning: Its chat template speaks of thinking (a guess).
    """

    architecture: str | None
    model_type: str | None
    hidden_layers: int | None
    attention_heads: int | None
    kv_heads: int | None
    head_dim: int | None
    vocab_size: int | None
    max_position_embeddings: int | None
    dtype: str | None
    quantization: str | None
    weights_bytes: int
    is_pooling: bool
    has_chat_template: bool
    is_reasoning: bool


def build_model_facts(directory: Path) -> ModelFacts:
    """Read a model directory's facts.

    Raises:
        ModelError: Its config or a safetensors header cannot be read.
    """
    names = [path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()]
    headers = [load_safetensors_header(directory / name) for name in select_files(names).weights]
    dtype_bytes: dict[str, int] = {}
    for header in headers:
        for dtype, count in header.dtype_bytes.items():
            dtype_bytes[dtype] = dtype_bytes.get(dtype, 0) + count
    return parse_model_facts(
        _load_config(directory),
        dtype_bytes=dtype_bytes,
        chat_template=load_chat_template(directory),
        has_pooling_files="modules.json" in names or "1_Pooling/config.json" in names,
    )


def parse_model_facts(
    config: Mapping[str, Any],
    *,
    dtype_bytes: Mapping[str, int],
    chat_template: str | None,
    has_pooling_files: bool = False,
) -> ModelFacts:
    """Give the facts from what the files hold.

    Args:
        config: `config.json`.
        dtype_bytes: Bytes of weights by safetensors type.
        chat_template: Its text, or None.
        has_pooling_files: Files of sentence-transformers lie beside it.
    """
    text = find_text_config(config)
    architecture = _first_text(config.get("architectures"))
    heads = find_number(text, "num_attention_heads", "n_head")
    hidden = find_number(text, "hidden_size", "n_embd")
    kv_heads = find_number(text, "num_key_value_heads")
    head_dim = find_number(text, "head_dim") or (hidden // heads if hidden and heads else None)
    quantization = (config.get("quantization_config") or text.get("quantization_config") or {}).get("quant_method")
    name = architecture or ""
    is_pooling = has_pooling_files or (name.endswith(_POOLING) and not name.endswith(_GENERATING))
    return ModelFacts(
        architecture=architecture,
        model_type=config.get("model_type"),
        hidden_layers=find_number(text, "num_hidden_layers", "n_layer"),
        attention_heads=heads,
        kv_heads=kv_heads if "num_key_value_heads" in text else heads,
        head_dim=head_dim,
        vocab_size=find_number(text, "vocab_size"),
        max_position_embeddings=find_number(text, "max_position_embeddings", "n_positions"),
        dtype=_find_dtype(config, text, dtype_bytes),
        quantization=quantization,
        weights_bytes=sum(dtype_bytes.values()),
        is_pooling=is_pooling,
        has_chat_template=chat_template is not None,
        is_reasoning=any(mark in (chat_template or "") for mark in _REASONING_MARKS),
    )


def load_chat_template(directory: Path) -> str | None:
    """Read the chat template from where transformers looks for it, or None when there is none.

    A model with several named templates gives the one called `default`, else the first.
    """
    template = directory / "chat_template.jinja"
    if template.is_file():
        return template.read_text(encoding="utf-8", errors="replace")
    for name in ("chat_template.json", "tokenizer_config.json"):
        if (directory / name).is_file():
            found = _load_json(directory / name).get("chat_template")
            if isinstance(found, str):
                return found
            if isinstance(found, list) and found:
                named = {row.get("name"): row.get("template") for row in found if isinstance(row, dict)}
                return named.get("default") or next(iter(named.values()), None)
    return None


def _load_config(directory: Path) -> dict[str, Any]:
    if (directory / "config.json").is_file():
        return _load_json(directory / "config.json")
    if (directory / "params.json").is_file():
        return {}
    raise ModelError(f"{directory} holds no config.json")


def _load_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    if not isinstance(document, dict):
        raise ModelError(f"{path} does not hold a JSON object")
    return document


def _find_dtype(config: Mapping[str, Any], text: Mapping[str, Any], dtype_bytes: Mapping[str, int]) -> str | None:
    for source in (text, config):
        for name in ("dtype", "torch_dtype"):
            if isinstance(source.get(name), str):
                return source[name].removeprefix("torch.")
    plain = {dtype: count for dtype, count in dtype_bytes.items() if dtype in _DTYPES}
    return _DTYPES[max(plain, key=plain.__getitem__)] if plain else None


def _first_text(value: Any) -> str | None:
    return value[0] if isinstance(value, list) and value and isinstance(value[0], str) else None

"""What a model's weights take, from the headers of its files (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stack.models.safetensors_header import Tensor
from stack.models.sizing_layers import find_number, find_text_config

DTYPE_BYTES: Mapping[str, int] = {"bfloat16": 2, "float16": 2, "half": 2, "float32": 4, "float": 4}
_FLOAT_BYTES = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8}
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
# Matrices that tensor parallelism cuts; all other tensors lie whole on every device
# (vLLM's ColumnParallelLinear, RowParallelLinear, VocabParallelEmbedding, FusedMoE).
_CUT = re.compile(
    r"(?:^|\.)(?:[qkvo]_proj|qkv_proj|(?:gate|up|down|gate_up)_proj|q_b_proj|kv_b_proj|embed_tokens|lm_head|wte|"
    r"c_attn|c_proj|c_fc|query_key_value|dense|dense_h_to_4h|dense_4h_to_h|fc[12]|w[123]|experts)(?:\.|_|$)"
)
_KV_CUT = re.compile(r"(?:^|\.)[kv]_proj(?:\.|_|$)")


@dataclass(frozen=True)
class WeightSizes:
    """What the weights take.

    Attributes:
        file_bytes: All tensors of the files.
        dtype_bytes: The same by safetensors type.
        loaded_bytes: What the engine keeps of them, over all devices, each tensor counted once.
        min_device_bytes: The least that one device holds.
        max_device_bytes: The most that one device holds; None where that is not known.
        unknown: Why it is not, or None.
    """

    file_bytes: int
    dtype_bytes: Mapping[str, int]
    loaded_bytes: int
    min_device_bytes: int
    max_device_bytes: int | None
    unknown: str | None = None


def find_quantization(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the checkpoint's own quantisation settings, empty where it has none."""
    for source in (config, find_text_config(config)):
        found = source.get("quantization_config") or source.get("compression_config")
        if isinstance(found, Mapping):
            return found
    return {}


def parse_weight_sizes(
    config: Mapping[str, Any],
    tensors: Iterable[Tensor],
    *,
    dtype: str,
    tensor_parallel: int = 1,
    asked_quantization: str | None = None,
) -> WeightSizes:
    """Tell what the weights take in the engine's memory.

    Quantised tensors stay as they are; plain ones are kept in the engine's dtype. Not kept are a copy of
    tied embeddings and the layers for multi-token prediction.

    Args:
        config: `config.json`.
        tensors: What the headers of all files name.
        dtype: The engine's dtype (`bfloat16`).
        tensor_parallel: Devices that share the matrices.
        asked_quantization: vLLM's `--quantization`, when it was asked for.
    """
    tensors = tuple(tensors)
    has_method = bool(find_quantization(config))
    kept = [(tensor, _count_bytes(tensor, None if has_method else dtype)) for tensor in _find_kept(config, tensors)]
    loaded = sum(size for _, size in kept)
    least, most = _divide(config, kept, tensor_parallel)
    unknown = None
    if asked_quantization is not None and not has_method:
        # What quantises while it loads is not computed here; four bits are the least that any method leaves.
        unknown = f"`quantization = {asked_quantization}` changes the weights while they are loaded"
        least, most = least // 4, None
    counted: dict[str, int] = {}
    for tensor in tensors:
        counted[tensor.dtype] = counted.get(tensor.dtype, 0) + tensor.size_bytes
    return WeightSizes(sum(counted.values()), counted, loaded, least, most, unknown)


def _find_kept(config: Mapping[str, Any], tensors: tuple[Tensor, ...]) -> list[Tensor]:
    text = find_text_config(config)
    layers = find_number(text, "num_hidden_layers", "n_layer")
    has_extra_layers = bool(find_number(text, "num_nextn_predict_layers"))
    is_tied = text.get("tie_word_embeddings") is True or config.get("tie_word_embeddings") is True
    kept = []
    for tensor in tensors:
        found = _LAYER.search(tensor.name)
        if has_extra_layers and layers and found and int(found[1]) >= layers:
            continue
        if is_tied and tensor.name.endswith("lm_head.weight"):
            continue
        kept.append(tensor)
    return kept


def _count_bytes(tensor: Tensor, dtype: str | None) -> int:
    width = _FLOAT_BYTES.get(tensor.dtype)
    if dtype is None or width is None:
        return tensor.size_bytes
    return tensor.size_bytes // width * DTYPE_BYTES[dtype]


def _divide(config: Mapping[str, Any], kept: list[tuple[Tensor, int]], devices: int) -> tuple[int, int]:
    """Give the least and the most that one device holds."""
    total = sum(size for _, size in kept)
    if devices == 1:
        return total, total
    kv_heads = find_number(find_text_config(config), "num_key_value_heads") or devices
    most = 0
    for tensor, size in kept:
        cuts = devices if tensor.rank > 1 and _CUT.search(tensor.name) else 1
        if _KV_CUT.search(tensor.name):
            # Heads that are fewer than the devices are kept more than once.
            cuts = min(cuts, kv_heads)
        most += -(-size // cuts)
    return -(-total // devices), most

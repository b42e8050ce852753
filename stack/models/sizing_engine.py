"""What an engine's arguments come to, as far as the memory it takes depends on them (pure).

Source: vLLM 0.31.0, `engine/arg_utils.py` (`get_batch_defaults`, `_set_default_max_num_seqs_and_batched_tokens_args`),
`platforms/cpu.py`, `config/model.py` (`_resolve_auto_dtype`), `utils/torch_utils.py` (`resolve_kv_cache_dtype_string`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stack.models.sizing_layers import CacheLayers, Unknown, find_number, find_text_config
from stack.models.sizing_overhead import GIB
from stack.models.sizing_weights import DTYPE_BYTES, find_quantization

_FP8 = ("fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc")
_CPU_BLOCK_TOKENS = 128
_CPU_LATENT_BLOCK_TOKENS = 16
_CUDA_BLOCK_TOKENS = 16
# Latent attention runs on kernels that want 16 to 128 tokens, by the GPU; 64 is FlashMLA's.
_CUDA_LATENT_BLOCK_TOKENS = 64
# On CUDA the next batch is scheduled while one runs (`async_scheduling`); the CPU platform turns that off.
_BATCHES_IN_FLIGHT = {"cpu": 1, "cuda": 2}
_CHECKPOINT_FP8 = {"FP8", "fp8"}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT]?)")

# Arguments that change what this arithmetic assumes, with what they bring in.
_UNKNOWN_CACHE = {
    "speculative-config": "a draft model has a cache of its own",
    "pipeline-parallel-size": "pipeline stages hold different layers",
    "decode-context-parallel-size": "the cache is cut along the context",
    "prefill-context-parallel-size": "the cache is cut along the context",
    "hf-overrides": "the model's config is overridden",
    "num-gpu-blocks-override": "the number of blocks is overridden",
    "disable-sliding-window": "windows are turned off",
    "kv-cache-dtype-skip-layers": "layers keep different types",
    "kv-transfer-config": "a KV connector may change how the cache is divided",
}
_UNKNOWN_OVERHEAD = {
    "speculative-config": "a draft model",
    "enable-lora": "LoRA adapters",
    "cpu-offload-gb": "weights outside of the GPU",
    "compilation-config": "a compilation of its own",
}


@dataclass(frozen=True)
class EngineShape:
    """What an engine runs with.

    Attributes:
        device: `cpu` or `cuda`.
        tensor_parallel: Devices that share the model.
        dtype: The model's dtype while it runs; None where it is not known.
        element_bytes: Size of one element in the KV cache; None where it is not known.
        block_tokens: Tokens of a cache block.
        batched_tokens: `max-num-batched-tokens`.
        sequences: `max-num-seqs`.
        is_eager: No compilation and no CUDA graphs.
        is_hybrid_disabled: Windows are not used to save cache.
        max_model_len: The context asked for, in tokens; None where it is left to the model.
        is_auto_length: The engine takes the longest context that fits.
        quantization: `--quantization`.
        unknown_cache: Why the cache cannot be computed, or None.
        unknown_overhead: Why the overhead has no upper end, or None.
    """

    device: str
    tensor_parallel: int
    dtype: str | None
    element_bytes: int | None
    block_tokens: int
    batched_tokens: int
    sequences: int
    is_eager: bool
    is_hybrid_disabled: bool
    max_model_len: int | None
    is_auto_length: bool
    quantization: str | None
    unknown_cache: str | None = None
    unknown_overhead: str | None = None

    @property
    def in_flight_tokens(self) -> int:
        """Give the tokens that may be scheduled and not yet settled."""
        return _BATCHES_IN_FLIGHT[self.device] * self.batched_tokens


def build_engine_shape(
    config: Mapping[str, Any],
    args: Mapping[str, Any],
    *,
    device: str,
    layers: CacheLayers | Unknown,
    device_bytes: int = 0,
    weights_dtype: str | None = None,
) -> EngineShape:
    """Read engine args as vLLM does.

    Args:
        config: `config.json`.
        args: Engine args: flags without their dashes.
        device: `cpu` or `cuda`.
        layers: The layers that keep a cache.
        device_bytes: Memory of the GPU; vLLM's batch defaults follow it.
        weights_dtype: The dtype of most weights, for a config that names none.
    """
    parallel = parse_engine_number(args.get("tensor-parallel-size")) or 1
    dtype = _find_dtype(config, args.get("dtype"), weights_dtype)
    cache_dtype = _find_cache_dtype(config, str(args.get("kv-cache-dtype") or "auto"), dtype)
    tokens, sequences = _find_batch(device, device_bytes, parallel)
    sequences = parse_engine_number(args.get("max-num-seqs")) or sequences
    length, is_auto = parse_length(args.get("max-model-len"))
    limit = length or find_max_context(config)
    if limit is not None:
        tokens = min(tokens, sequences * limit)
    is_latent = isinstance(layers, CacheLayers) and layers.is_latent
    return EngineShape(
        device=device,
        tensor_parallel=parallel,
        dtype=dtype,
        element_bytes=1 if cache_dtype in _FP8 else DTYPE_BYTES.get(cache_dtype or ""),
        block_tokens=_find_block(device, is_latent, parse_engine_number(args.get("block-size"))),
        batched_tokens=parse_engine_number(args.get("max-num-batched-tokens")) or tokens,
        sequences=sequences,
        is_eager=args.get("enforce-eager") is True or str(args.get("optimization-level")) == "0",
        is_hybrid_disabled=args.get("disable-hybrid-kv-cache-manager") is True,
        max_model_len=length,
        is_auto_length=is_auto,
        quantization=str(args["quantization"]) if args.get("quantization") else None,
        unknown_cache=_find_reason(args, _UNKNOWN_CACHE) or _explain_cache_dtype(cache_dtype),
        unknown_overhead=_find_reason(args, _UNKNOWN_OVERHEAD),
    )


def find_max_context(config: Mapping[str, Any]) -> int | None:
    """Give the longest context that the model was made for, in tokens.

    Source: vLLM 0.31.0, `config/model.py` (`_get_and_verify_max_len`): rotary scaling of the kinds `linear` and
    `dynamic` stretches the length; the others have it stretched already, and LongRoPE serves the original one.
    """
    text = find_text_config(config)
    keys = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length")
    found = [length for name in keys if (length := find_number(text, name)) is not None]
    if not found:
        return None
    scaling = text.get("rope_scaling") or text.get("rope_parameters") or {}
    kind = str(scaling.get("rope_type") or scaling.get("type") or "") if isinstance(scaling, Mapping) else ""
    if kind == "longrope":
        return find_number(text, "original_max_position_embeddings") or min(found)
    if kind in ("linear", "dynamic") and "gemma3" not in str(config.get("model_type")):
        return int(min(found) * float(scaling.get("factor") or 1))
    return min(found)


def parse_length(value: Any) -> tuple[int | None, bool]:
    """Give the context asked for, in tokens, and whether the engine shall take what fits."""
    if str(value).strip() in ("auto", "-1"):
        return None, True
    return parse_engine_number(value), False


def parse_engine_number(value: Any) -> int | None:
    """Give a number as vLLM reads it, or None for what is none.

    Source: vLLM 0.31.0, `utils/argparse_utils.py` (`human_readable_int`): `k` is 1000 and `K` is 1024.
    """
    found = _NUMBER.fullmatch(str(value).strip())
    if found is None:
        return None
    power = "kmgt".find(found[2].lower()) + 1 if found[2] else 0
    return int(float(found[1]) * (1024 if found[2].isupper() else 1000) ** power)


def _find_dtype(config: Mapping[str, Any], asked: Any, weights_dtype: str | None) -> str | None:
    if asked not in (None, "auto"):
        return str(asked) if str(asked) in DTYPE_BYTES else None
    found = None
    for source in (config, find_text_config(config)):
        for name in ("dtype", "torch_dtype"):
            if found is None and isinstance(source.get(name), str):
                found = source[name].removeprefix("torch.")
    found = found or weights_dtype
    # A float32 model runs in the device's first choice; every one of them has two bytes.
    return "bfloat16" if found in ("float32", "float") else found if found in DTYPE_BYTES else None


def _find_cache_dtype(config: Mapping[str, Any], asked: str, dtype: str | None) -> str | None:
    if asked != "auto":
        return asked
    method = find_quantization(config)
    if not method:
        return dtype
    inner = method.get("quantization")
    sources = (inner if isinstance(inner, Mapping) else {}, method)
    scheme = next((found for source in sources if (found := source.get("kv_cache_scheme"))), None)
    named = next((found for source in sources if (found := source.get("kv_cache_quant_algo"))), None)
    if scheme is None and named is None:
        return dtype
    if named in _CHECKPOINT_FP8 or (isinstance(scheme, Mapping) and scheme.get("num_bits") == 8):
        return "fp8"
    return "of the checkpoint"


def _explain_cache_dtype(cache_dtype: str | None) -> str | None:
    if cache_dtype is None:
        return "neither the config nor the weights tell the model's dtype"
    if cache_dtype in _FP8 or cache_dtype in DTYPE_BYTES:
        return None
    return f"a cache of type `{cache_dtype}` is packed in a way that this tool does not know"


def _find_batch(device: str, device_bytes: int, parallel: int) -> tuple[int, int]:
    """Give vLLM's default `max-num-batched-tokens` and `max-num-seqs` of a server."""
    if device == "cpu":
        return 2048 * parallel, 128 * parallel
    if device_bytes >= 160 * GIB:
        return 16384, 1024
    # An A100 of this size gets the smaller ones; the larger ones are the cautious answer.
    return (8192, 1024) if device_bytes >= 70 * GIB else (2048, 256)


def _find_block(device: str, is_latent: bool, asked: int | None) -> int:
    if device == "cpu":
        return _CPU_LATENT_BLOCK_TOKENS if is_latent else asked or _CPU_BLOCK_TOKENS
    return asked or (_CUDA_LATENT_BLOCK_TOKENS if is_latent else _CUDA_BLOCK_TOKENS)


def _find_reason(args: Mapping[str, Any], reasons: Mapping[str, str]) -> str | None:
    for name, reason in reasons.items():
        neutral = (None, "", "0", 0, "1", 1) if name.endswith("-size") else (None, "", "0", 0)
        if args.get(name) not in neutral:
            return f"`{name}`: {reason}"
    return None

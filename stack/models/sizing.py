"""How much memory a model takes and which context fits: exact where it is known, else a range or unknown (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stack.models.safetensors_header import SafetensorsHeader
from stack.models.sizing_engine import EngineShape, build_engine_shape, find_max_context
from stack.models.sizing_layers import CacheLayers, Unknown, find_encoder, parse_cache_layers
from stack.models.sizing_overhead import GIB, ByteRange, build_overhead
from stack.models.sizing_pool import CachePool, build_cache_pool
from stack.models.sizing_weights import DTYPE_BYTES, WeightSizes, parse_weight_sizes

Fits = Literal["yes", "no", "uncertain", "unknown"]

_PLAIN_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_LIMIT_TOKENS = 2**27


@dataclass(frozen=True)
class Sizing:
    """What a model takes of one device.

    Attributes:
        shape: What the engine runs with.
        weights: Its weights.
        pool: How its KV cache is divided, or why that is not known.
        overhead: Activations, graphs and buffers: an assumption.
        overhead_unknown: Why the overhead has no upper end, or None.
        max_context: The longest context that the model was made for, in tokens; None where it does not say.
    """

    shape: EngineShape
    weights: WeightSizes
    pool: CachePool | Unknown
    overhead: ByteRange
    overhead_unknown: str | None
    max_context: int | None

    @property
    def asked_context(self) -> int | None:
        """Give the context in question: the one asked for, else all that the model was made for."""
        return self.shape.max_model_len or self.max_context

    @property
    def kv_bytes(self) -> int | None:
        """Give the KV cache that one request of the context in question takes."""
        if isinstance(self.pool, Unknown) or self.asked_context is None:
            return None
        return self.pool.compute_request_bytes(self.asked_context)

    @property
    def fixed(self) -> ByteRange:
        """Give what the model takes before the first token: weights and overhead."""
        return ByteRange(self.weights.min_device_bytes, self.weights.max_device_bytes) + self.overhead

    @property
    def total(self) -> ByteRange:
        """Give what it takes with one request of the context in question."""
        kv = self.kv_bytes
        return self.fixed + ByteRange(kv or 0, kv)

    def find_unknowns(self) -> dict[str, str]:
        """Give what is not known, with the reason."""
        found = {"weights": self.weights.unknown, "overhead": self.overhead_unknown}
        found["kv"] = self.pool.reason if isinstance(self.pool, Unknown) else None
        if self.asked_context is None:
            found["context"] = "config.json does not say how long a context the model was made for"
        return {name: reason for name, reason in found.items() if reason is not None}


@dataclass(frozen=True)
class Budget:
    """The memory of one device that an engine may take.

    Attributes:
        total_bytes: The device's memory; None for the CPU engine, whose cache has a size.
        free_bytes: What is free of it now.
        utilization: `gpu-memory-utilization`.
        kv_bytes: `kv-cache-memory-bytes`: the cache's size, where it is set.
    """

    total_bytes: int | None = None
    free_bytes: int | None = None
    utilization: float | None = None
    kv_bytes: int | None = None

    @property
    def claimed_bytes(self) -> int | None:
        """Give what the engine claims at start, or None where it claims a cache of a set size only."""
        if self.kv_bytes is not None or self.total_bytes is None or self.utilization is None:
            return None
        return math.ceil(self.total_bytes * self.utilization)


@dataclass(frozen=True)
class Verdict:
    """Whether a model fits a budget.

    Attributes:
        fits: `uncertain` where it depends on the overhead, `unknown` where a part of the sum is not known.
        reason: Why, in words without a final period.
        context: The largest context in tokens, from the least to the most that the range allows.
        concurrency: Requests of the context in question at once, likewise.
    """

    fits: Fits
    reason: str
    context: tuple[int | None, int | None] = (None, None)
    concurrency: tuple[float | None, float | None] = (None, None)


def build_sizing(
    config: Mapping[str, Any],
    headers: Sequence[SafetensorsHeader],
    args: Mapping[str, Any],
    *,
    device: str,
    device_bytes: int = 0,
) -> Sizing:
    """Size a model.

    Args:
        config: `config.json`.
        headers: The headers of all its weight files.
        args: Engine args: flags without their dashes.
        device: `cpu` or `cuda`.
        device_bytes: Memory of the GPU; vLLM's batch defaults follow it.
    """
    tensors = [tensor for header in headers for tensor in header.tensors]
    layers = parse_cache_layers(config)
    shape = build_engine_shape(
        config, args, device=device, layers=layers, device_bytes=device_bytes, weights_dtype=_find_main_dtype(headers)
    )
    dtype = shape.dtype or "bfloat16"
    weights = parse_weight_sizes(
        config,
        tensors,
        dtype=dtype,
        tensor_parallel=shape.tensor_parallel,
        asked_quantization=shape.quantization,
    )
    encoder = find_encoder(config)
    unknown = shape.unknown_overhead
    if encoder is not None:
        unknown = f"multimodal (`{encoder}`): vLLM also reserves room for the largest image, video or sound"
    overhead = build_overhead(
        config,
        device=device,
        element_bytes=DTYPE_BYTES[dtype],
        batched_tokens=shape.batched_tokens,
        sequences=shape.sequences,
        tensor_parallel=shape.tensor_parallel,
        is_eager=shape.is_eager,
        unknown=unknown,
    )
    return Sizing(shape, weights, _build_pool(layers, shape, encoder), overhead, unknown, find_max_context(config))


def judge(sizing: Sizing, budget: Budget) -> Verdict:
    """Tell whether a model fits, and the largest context that does."""
    if budget.kv_bytes is not None:
        verdict = _judge_pool(sizing, budget.kv_bytes, budget.kv_bytes, "the KV cache")
        needed = sizing.fixed.low + budget.kv_bytes
        if budget.total_bytes is not None and budget.free_bytes is not None and needed > budget.free_bytes:
            reason = f"weights and KV cache take {_gib(needed)}, and {_gib(budget.free_bytes)} is free"
            return Verdict("no", reason, verdict.context, verdict.concurrency)
        return verdict
    claimed = budget.claimed_bytes
    if claimed is None:
        return Verdict("unknown", "no GPU to fit it on, and no size for the KV cache")
    if budget.free_bytes is not None and budget.free_bytes < claimed:
        reason = f"vLLM claims {_gib(claimed)} at start, and {_gib(budget.free_bytes)} is free"
        return Verdict("no", reason, (0, 0), (0.0, 0.0))
    if sizing.fixed.low >= claimed:
        return Verdict("no", f"{_gib(sizing.fixed.low)} and more before the first token", (0, 0), (0.0, 0.0))
    low = max(0, claimed - sizing.fixed.high) if sizing.fixed.high is not None else None
    return _judge_pool(sizing, low, claimed - sizing.fixed.low, f"its share of {_gib(claimed)}")


def _judge_pool(sizing: Sizing, low_bytes: int | None, high_bytes: int, where: str) -> Verdict:
    unknowns = sizing.find_unknowns()
    if isinstance(sizing.pool, Unknown):
        return Verdict("unknown", sizing.pool.reason)
    asked, pool = sizing.asked_context, sizing.pool
    limit = sizing.max_context or asked or _LIMIT_TOKENS
    most = pool.find_largest_context(high_bytes, max(limit, asked or 0))
    least = None if low_bytes is None else pool.find_largest_context(low_bytes, max(limit, asked or 0))
    context = (least, most)
    if asked is None:
        return Verdict("unknown", unknowns["context"], context)
    concurrency = (
        None if low_bytes is None else pool.compute_concurrency(low_bytes, asked),
        pool.compute_concurrency(high_bytes, asked),
    )
    wanted = 1 if sizing.shape.is_auto_length else asked
    if most < wanted:
        return Verdict("no", f"{asked} tokens do not fit {where}", context, concurrency)
    if least is None:
        reason = next((unknowns[name] for name in ("weights", "overhead") if name in unknowns), "")
        return Verdict("unknown", reason, context, concurrency)
    if least < wanted:
        return Verdict("uncertain", "it depends on what vLLM measures at start", context, concurrency)
    if least < asked:
        reason = f"`max-model-len = auto` lets vLLM cut the context of {asked} tokens to what fits {where}"
        return Verdict("yes", reason, context, concurrency)
    return Verdict("yes", f"one request of {asked} tokens fits {where}", context, concurrency)


def _build_pool(layers: CacheLayers | Unknown, shape: EngineShape, encoder: str | None) -> CachePool | Unknown:
    if isinstance(layers, Unknown):
        return layers
    if shape.unknown_cache is not None or shape.element_bytes is None:
        return Unknown(shape.unknown_cache or "the size of a cache element is not known")
    if encoder is not None and layers.windowed:
        return Unknown(f"multimodal (`{encoder}`) with a sliding window: what is in flight depends on the images")
    return build_cache_pool(
        layers,
        element_bytes=shape.element_bytes,
        block_tokens=shape.block_tokens,
        in_flight_tokens=shape.in_flight_tokens,
        tensor_parallel=shape.tensor_parallel,
        is_hybrid_disabled=shape.is_hybrid_disabled,
    )


def _find_main_dtype(headers: Sequence[SafetensorsHeader]) -> str | None:
    counted: dict[str, int] = {}
    for header in headers:
        for dtype, size in header.dtype_bytes.items():
            if dtype in _PLAIN_DTYPES:
                counted[dtype] = counted.get(dtype, 0) + size
    return _PLAIN_DTYPES[max(counted, key=counted.__getitem__)] if counted else None


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.2f} GiB"

"""What an engine takes besides weights and KV cache: a range, and an assumption (pure).

vLLM measures this at start, with a run at `max-num-batched-tokens` and by capturing CUDA graphs; no formula
gives it. The lower end counts only what must be there: the widest activation of one layer, or the logits of
all sequences. The upper end is a rule of thumb.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stack.models.sizing_layers import find_number, find_text_config

GIB = 1024**3
_MOST_WORK_BYTES = 5 * GIB // 2
_MOST_GRAPH_BYTES = 3 * GIB // 2
# Communication buffers of NCCL and of the custom all-reduce, where devices share a model.
_MOST_PARALLEL_BYTES = GIB
# Python, torch and vLLM in three processes: SmolLM2-135M with 1 GiB of cache was seen to take 3 GB in all.
_CPU_RANGE = (GIB, 3 * GIB)


@dataclass(frozen=True)
class ByteRange:
    """From `low` to `high` bytes; no upper end is known where `high` is None."""

    low: int
    high: int | None

    def __add__(self, other: ByteRange) -> ByteRange:
        known = self.high is not None and other.high is not None
        return ByteRange(self.low + other.low, self.high + other.high if known else None)


def build_overhead(
    config: Mapping[str, Any],
    *,
    device: str,
    element_bytes: int,
    batched_tokens: int,
    sequences: int,
    tensor_parallel: int = 1,
    is_eager: bool = False,
    unknown: str | None = None,
) -> ByteRange:
    """Give what one device holds besides weights and KV cache.

    Args:
        config: `config.json`.
        device: `cpu` or `cuda`.
        element_bytes: Size of one element of the engine's dtype.
        batched_tokens: `max-num-batched-tokens`.
        sequences: `max-num-seqs`.
        tensor_parallel: Devices that share the model.
        is_eager: No CUDA graphs.
        unknown: Why there is no upper end, or None.
    """
    if device == "cpu":
        return ByteRange(_CPU_RANGE[0], None if unknown else _CPU_RANGE[1])
    text = find_text_config(config)
    hidden = find_number(text, "hidden_size", "n_embd") or 0
    wide = find_number(text, "intermediate_size", "n_inner") or 4 * hidden
    activation = batched_tokens * (2 * wide // tensor_parallel + hidden) * element_bytes
    logits = sequences * (find_number(text, "vocab_size") or 0) * 4
    work = max(activation, logits)
    high = max(_MOST_WORK_BYTES, GIB + 4 * work) + (0 if is_eager else _MOST_GRAPH_BYTES)
    high += _MOST_PARALLEL_BYTES if tensor_parallel > 1 else 0
    return ByteRange(work, None if unknown else high)

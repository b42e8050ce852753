"""What `stack doctor --estimate` says, as lines and as JSON. Pure."""

from __future__ import annotations

from typing import Any

from stack.models.sizing_layers import Unknown
from stack.models.sizing_overhead import GIB, ByteRange
from stack.operations.doctor.estimate import Estimate

SCHEMA_VERSION = 1
Range = tuple[float | None, float | None]

_OVERHEADS = {
    "cpu": "an assumption: Python, torch and vLLM in three processes",
    "cuda": "an assumption: vLLM measures activations, graphs and buffers at start",
}
_KIB, _MIB = 1024, 1024**2
_FITS = {"yes": "yes", "no": "no", "uncertain": "perhaps", "unknown": "not known"}


def build_rows(estimate: Estimate) -> list[tuple[str, str, str]]:
    """Give a row for each figure: what, how much, and what it rests on; every figure is that of one device."""
    sizing, verdict = estimate.sizing, estimate.verdict
    unknowns = sizing.find_unknowns()
    weights = ByteRange(sizing.weights.min_device_bytes, sizing.weights.max_device_bytes)
    asked = f" for {sizing.asked_context} tokens" if sizing.asked_context else ""
    kv = ByteRange(sizing.kv_bytes, sizing.kv_bytes) if sizing.kv_bytes is not None else None
    total_basis = "without what is not known" if unknowns else ""
    return [
        ("weights", _range(weights), unknowns.get("weights") or _describe_dtypes(estimate)),
        ("KV cache of a token", _describe_token(estimate), unknowns.get("kv") or _describe_pool(estimate)),
        (f"KV cache{asked}", _range(kv), unknowns.get("kv") or unknowns.get("context", "")),
        ("overhead", _range(sizing.overhead), unknowns.get("overhead") or _OVERHEADS[estimate.device]),
        ("sum", _range(sizing.total), total_basis),
        ("budget", _describe_budget(estimate), estimate.device_reason),
        ("fits", _FITS[verdict.fits], verdict.reason),
        ("largest context", _count(verdict.context, "tokens"), _describe_limit(estimate)),
        ("requests at once", _count(verdict.concurrency, ""), f"of {sizing.asked_context} tokens" if asked else ""),
    ]


def build_heading(estimate: Estimate) -> str:
    """Say which model was sized, and from what."""
    files = estimate.files
    fetched = f", {_bytes(files.fetched_bytes)} fetched" if files.fetched_bytes else ""
    where = estimate.gpus[0].name if estimate.gpus else estimate.device.upper()
    shared = f", each of {estimate.sizing.shape.tensor_parallel}" if estimate.sizing.shape.tensor_parallel > 1 else ""
    headers = f"{len(files.headers)} header{'s' if len(files.headers) > 1 else ''}"
    return f"{estimate.model} on {where}{shared}: sized from {headers} in {files.where}{fetched}"


def build_document(estimate: Estimate) -> dict[str, Any]:
    """Build the JSON document; sizes are bytes of one device, ranges are [least, most], null is not known."""
    sizing, verdict, budget = estimate.sizing, estimate.verdict, estimate.budget
    pool = None if isinstance(sizing.pool, Unknown) else sizing.pool
    return {
        "schema_version": SCHEMA_VERSION,
        "model": estimate.model,
        "revision": estimate.files.revision,
        "fetched_bytes": estimate.files.fetched_bytes,
        "device": estimate.device,
        "device_reason": estimate.device_reason,
        "gpus": [{"index": gpu.index, "name": gpu.name, "total_bytes": gpu.total_bytes} for gpu in estimate.gpus],
        "tensor_parallel": sizing.shape.tensor_parallel,
        "weights": {
            "file_bytes": sizing.weights.file_bytes,
            "dtype_bytes": dict(sizing.weights.dtype_bytes),
            "loaded_bytes": sizing.weights.loaded_bytes,
            "device_bytes": [sizing.weights.min_device_bytes, sizing.weights.max_device_bytes],
        },
        "kv": {
            "token_bytes": pool.token_bytes if pool else None,
            "block_tokens": pool.block_tokens if pool else None,
            "block_bytes": pool.block_bytes if pool else None,
            "asked_context": sizing.asked_context,
            "asked_bytes": sizing.kv_bytes,
        },
        "overhead_bytes": [sizing.overhead.low, sizing.overhead.high],
        "total_bytes": [sizing.total.low, sizing.total.high],
        "budget": {
            "total_bytes": budget.total_bytes,
            "free_bytes": budget.free_bytes,
            "utilization": budget.utilization,
            "claimed_bytes": budget.claimed_bytes,
            "kv_bytes": budget.kv_bytes,
        },
        "fits": verdict.fits,
        "reason": verdict.reason,
        "max_context": sizing.max_context,
        "largest_context": list(verdict.context),
        "concurrency": [None if value is None else round(value, 2) for value in verdict.concurrency],
        "unknown": sizing.find_unknowns(),
    }


def _describe_dtypes(estimate: Estimate) -> str:
    weights = estimate.sizing.weights
    dtypes = ", ".join(
        f"{dtype} {_bytes(size)}" for dtype, size in sorted(weights.dtype_bytes.items(), key=lambda item: -item[1])
    )
    said = f"from the headers: {dtypes}"
    if weights.loaded_bytes != weights.file_bytes:
        said += f"; {_bytes(weights.loaded_bytes)} of them as {estimate.sizing.shape.dtype} in memory"
    return said


def _describe_token(estimate: Estimate) -> str:
    pool = estimate.sizing.pool
    return "unknown" if isinstance(pool, Unknown) else _bytes(pool.token_bytes)


def _describe_pool(estimate: Estimate) -> str:
    pool = estimate.sizing.pool
    if isinstance(pool, Unknown):
        return pool.reason
    said = f"in blocks of {pool.block_tokens} tokens"
    if pool.windowed_groups:
        share = f"{pool.windowed_groups} of {pool.full_groups + pool.windowed_groups} groups of layers"
        said += f"; {share} keep at most {pool.window_tokens} tokens"
    return said


def _describe_budget(estimate: Estimate) -> str:
    budget = estimate.budget
    if budget.kv_bytes is not None:
        return f"KV cache of {_bytes(budget.kv_bytes)}"
    if budget.claimed_bytes is None or budget.total_bytes is None:
        return "none"
    return f"{_bytes(budget.claimed_bytes)} ({budget.utilization:g} of {_bytes(budget.total_bytes)})"


def _describe_limit(estimate: Estimate) -> str:
    longest = estimate.sizing.max_context
    return f"the model was made for {longest}" if longest else ""


def _count(found: Range, unit: str) -> str:
    least, most = found
    if most is None:
        return "unknown"
    figures = [f"{value:.0f}" if unit else f"{value:.1f}" for value in (least, most) if value is not None]
    said = figures[0] if len(set(figures)) == 1 else " to ".join(figures)
    return f"{'at most ' if least is None else ''}{said} {unit}".rstrip()


def _range(found: ByteRange | None) -> str:
    if found is None:
        return "unknown"
    if found.high is None:
        return f"{_bytes(found.low)} or more"
    return _bytes(found.low) if found.low == found.high else f"{_bytes(found.low)} to {_bytes(found.high)}"


def _bytes(size_bytes: float) -> str:
    for unit, name in ((GIB, "GiB"), (_MIB, "MiB"), (_KIB, "KiB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.2f} {name}"
    return f"{size_bytes:.0f} B"

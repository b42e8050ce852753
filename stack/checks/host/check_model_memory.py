"""Whether the model with its KV cache fits: a range where vLLM has yet to measure, never a promise."""

from __future__ import annotations

from dataclasses import asdict

from stack.checks.gpus import Gpu
from stack.checks.host.amounts import describe_bytes
from stack.checks.host.check import HostCheck, HostContext, Outcome
from stack.checks.host.memory_verdict import MemoryVerdict, Range


def run(context: HostContext) -> Outcome:
    """Hold weights and KV cache for the asked context against what the engine may take."""
    model, engine = context.target.model, context.target.engine
    if model is None or engine.device is None:
        return Outcome("skip", "model or device are not decided yet")
    gpu = find_tightest(context)
    if engine.device == "cuda" and gpu is None:
        return Outcome("skip", "no GPU answers")
    if model.judge_memory is None:
        name = "demo" if model.kind == "demo" else model.id
        return Outcome("skip", f"not known before its files are here: `stack doctor --estimate {name}`")
    free = None if gpu is None or "engine" in context.target.running else gpu.free_bytes
    verdict = model.judge_memory(gpu.total_bytes if gpu else None, free)
    data = asdict(verdict) | {"gpu": gpu.name if gpu else None}
    said = describe_verdict(model.id, verdict)
    if verdict.fits in ("yes", "unknown"):
        return Outcome("pass" if verdict.fits == "yes" else "skip", said, data=data)
    hint = suggest(verdict, is_gpu=gpu is not None)
    if verdict.fits == "uncertain":
        return Outcome("warn", said, hint, data, "vLLM refuses to start when one request of that length does not fit")
    return Outcome("fail", said, hint, data, "the engine ends at start: `To serve at least one request …`")


def find_tightest(context: HostContext) -> Gpu | None:
    """Give the GPU of the engine with the least free memory, or None for the CPU engine or without one."""
    engine = context.target.engine
    if engine.device != "cuda":
        return None
    gpus = [gpu for gpu in context.read_gpus().gpus if not engine.gpu_indexes or gpu.index in engine.gpu_indexes]
    return min(gpus, key=lambda gpu: gpu.free_bytes, default=None)


def describe_verdict(name: str, verdict: MemoryVerdict) -> str:
    """Say what fits."""
    parts = [f"weights {describe_range(verdict.weights)}"]
    if verdict.kv_bytes is not None:
        parts.append(f"KV cache {describe_bytes(verdict.kv_bytes)} for {verdict.asked_context} tokens")
    said = f"{name}: {', '.join(parts)}; {_FITS[verdict.fits]}: {verdict.reason}"
    if verdict.fits != "unknown" and verdict.context[1]:
        least, most = verdict.context
        tokens = f"{most:.0f}" if least == most else f"{f'{least:.0f}' if least is not None else '?'} to {most:.0f}"
        said += f"; the largest context that fits is {tokens} tokens"
    return said


def suggest(verdict: MemoryVerdict, *, is_gpu: bool) -> str:
    """Give what makes it fit."""
    least, most = verdict.context
    length = least or most
    if length:
        return f'`max-model-len = {length:.0f}` under `[engine.args]`, or `"auto"` for the longest that fits'
    if is_gpu:
        return "a smaller or quantised model, more GPUs (`engine.devices`), or a higher `gpu-memory-utilization`"
    return "a larger `kv-cache-memory-bytes` under `[engine.args]`, or a smaller model (`--model demo`)"


def describe_range(found: Range) -> str:
    """Say a range of bytes."""
    least, most = found
    if least is None:
        return "unknown"
    if most is None:
        return f"{describe_bytes(least)} or more"
    return describe_bytes(least) if least == most else f"{describe_bytes(least)} to {describe_bytes(most)}"


_FITS = {"yes": "fits", "no": "does not fit", "uncertain": "may fit", "unknown": "not known whether it fits"}

CHECK = HostCheck("model-memory", run, order=140, is_quick=True)

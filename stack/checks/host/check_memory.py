"""Memory and swap against what the engine needs."""

from __future__ import annotations

from dataclasses import asdict

from stack.checks.host.amounts import describe_bytes
from stack.checks.host.check import HostCheck, HostContext, Outcome
from stack.checks.host.meminfo import Memory, parse_meminfo, read_cgroup_limit

_GIB = 1024**3
# Measured: SmolLM2-135M (0.3 GB of weights) with 1 GiB of KV cache takes 3 GB on the CPU, so 1.7 GiB are the three
# Python processes with torch. The CUDA engine's host side loads the same libraries, and CUDA's.
ENGINE_BASE_BYTES = int(1.7 * _GIB)
_CUDA_BASE_BYTES = 4 * _GIB
# Converting the demo model holds its weights twice, in single precision: 1 GB.
_OWN_BYTES = _GIB


def run(context: HostContext) -> Outcome:
    """Hold the memory that is there against the engine's need."""
    world, target = context.world, context.target
    memory = parse_meminfo((world.proc / "meminfo").read_text())
    if not memory.total_bytes:
        return Outcome("warn", "the kernel does not say how much memory there is", hint="see `free -h`")
    total = find_total(context, memory)
    need, parts = compute_need(context)
    data = asdict(memory) | {"usable_bytes": total, "needed_bytes": need, "parts": parts}
    swap = f", {describe_bytes(memory.swap_total_bytes)} of swap" if memory.swap_total_bytes else ", no swap"
    said = f"{describe_bytes(memory.available_bytes)} of {describe_bytes(total)} of memory available{swap}"
    wanted = f"the engine needs about {describe_bytes(need)} ({describe_parts(parts)})"
    if need > total:
        return Outcome(
            "fail", f"{said}; {wanted}", hint=_suggest(context), why="the kernel would end the engine", data=data
        )
    if "engine" in target.running:
        return Outcome("pass", f"{said}; the engine runs already", data=data)
    if need > memory.available_bytes:
        return Outcome(
            "warn",
            f"{said}; {wanted}",
            hint=f"end other programs, or {_suggest(context)}",
            why="other programs would be pushed into swap, or the kernel would end one of them",
            data=data,
        )
    limit = read_cgroup_limit(world.proc, world.sys)
    if limit is not None and limit < _OWN_BYTES:
        return Outcome(
            "warn",
            f"{said}; but this shell's control group may use {describe_bytes(limit)}",
            hint="run the tool outside of that control group (`systemctl status $$` names it)",
            why="the tool itself would be ended while it converts or hashes a model; containers are not limited by it",
            data=data | {"cgroup_limit_bytes": limit},
        )
    return Outcome("pass", f"{said}; {wanted}", data=data)


def find_total(context: HostContext, memory: Memory) -> int:
    """Give the memory that containers can have: a machine's, or less where the daemon has less."""
    info = context.read_docker().info or {}
    known = [memory.total_bytes, int(info.get("MemTotal") or 0)]
    if "name=rootless" in (info.get("SecurityOptions") or []):
        # Its containers lie below the user's control group, as this process does.
        known.append(read_cgroup_limit(context.world.proc, context.world.sys) or 0)
    return min(value for value in known if value)


def compute_need(context: HostContext) -> tuple[int, dict[str, int]]:
    """Give what the engine needs in bytes, and its parts; weights that are not known count as nothing."""
    engine, model = context.target.engine, context.target.model
    if engine.device == "cuda":
        return _CUDA_BASE_BYTES, {"process": _CUDA_BASE_BYTES}
    weights = (model.weights_bytes if model else None) or 0
    parts = {"weights": weights, "kv_cache": engine.kv_cache_bytes or 0, "process": ENGINE_BASE_BYTES}
    return sum(parts.values()), parts


def describe_parts(parts: dict[str, int]) -> str:
    """Give the parts in words."""
    names = {"weights": "weights", "kv_cache": "KV cache", "process": "the processes themselves"}
    known = [f"{names[name]} {describe_bytes(size)}" for name, size in parts.items() if size]
    missing = [] if parts.get("weights", 1) else ["weights not known"]
    return ", ".join(known + missing)


def _suggest(context: HostContext) -> str:
    if context.target.engine.device == "cuda":
        return "give this machine more memory"
    return "a smaller model (`--model demo`) or KV cache (`engine.args.kv-cache-memory-bytes`)"


CHECK = HostCheck("memory", run, order=300, is_quick=True)

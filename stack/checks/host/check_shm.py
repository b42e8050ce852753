"""The engine's `/dev/shm`: its own, of the size that the container is given, not this machine's."""

from __future__ import annotations

from stack.checks.host.amounts import describe_bytes
from stack.checks.host.check import HostCheck, HostContext, Outcome
from stack.checks.host.check_memory import find_total
from stack.checks.host.meminfo import parse_meminfo

_MIB = 1024**2
# What the CPU engine is given and runs with; Docker's own default of 64 MiB is too small for its message queues.
_LEAST_BYTES = 512 * _MIB
# NCCL exchanges data of GPUs without peer access there; vLLM's docs (deployment/docker.md) ask for `--ipc=host` or
# a large `--shm-size` as soon as several GPUs share a model.
_LEAST_PARALLEL_BYTES = 1024 * _MIB


def run(context: HostContext) -> Outcome:
    """Judge the size that the engine's container gets."""
    size, engine = context.target.shm_bytes, context.target.engine
    if size is None:
        return Outcome("skip", "its size is not decided")
    data = {"shm_bytes": size, "tensor_parallel": engine.tensor_parallel}
    total = find_total(context, parse_meminfo((context.world.proc / "meminfo").read_text()))
    least = _LEAST_PARALLEL_BYTES if engine.tensor_parallel > 1 else _LEAST_BYTES
    said = f"the engine's own /dev/shm has {describe_bytes(size)}"
    if size < least:
        shared = f" with {engine.tensor_parallel} GPUs" if engine.tensor_parallel > 1 else ""
        return Outcome(
            "warn",
            f"{said}, and wants at least {describe_bytes(least)}{shared}",
            hint='unset `engine.shm-size`, or write `engine.shm-size = "8g"`',
            why="the engine's processes exchange data there; when it is full they end with a bus error",
            data=data,
        )
    if engine.device == "cpu" and size > total // 2:
        return Outcome(
            "warn",
            f"{said}, more than half of {describe_bytes(total)} of memory",
            hint="lower `engine.shm-size`",
            why="what lies there is memory, and counts against the container's limit",
            data=data,
        )
    return Outcome("pass", said, data=data)


CHECK = HostCheck("shm", run, order=320, is_quick=True)

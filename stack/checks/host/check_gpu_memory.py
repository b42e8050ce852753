"""Free GPU memory against what vLLM claims at start, and who holds the rest."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from stack.checks.gpu_state import GpuProcess, read_gpu_states
from stack.checks.gpus import Gpu
from stack.checks.host.amounts import describe_bytes
from stack.checks.host.check import HostCheck, HostContext, Outcome

_MOST_NAMED = 4
_CONTAINER_ID = re.compile(r"([0-9a-f]{64})")


@dataclass(frozen=True)
class Holder:
    """A process that holds GPU memory.

    Attributes:
        pid: Its process id.
        name: Its command, or None where it is not this machine's to see.
        container: The container that it runs in, in words, or None.
        used_bytes: What it holds; None where the driver does not tell.
    """

    pid: int
    name: str | None
    container: str | None
    used_bytes: int | None

    def __str__(self) -> str:
        who = f"{self.name or 'process'} ({self.pid})" + (f" in {self.container}" if self.container else "")
        return f"{who} {describe_bytes(self.used_bytes)}" if self.used_bytes is not None else who


def run(context: HostContext) -> Outcome:
    """Judge each GPU that the engine gets, and name who holds its memory."""
    engine, report = context.target.engine, context.read_gpus()
    if engine.device != "cuda" or not report.gpus:
        return Outcome("skip", "the engine gets no GPU" if report.gpus else "no GPU answers")
    gpus = [gpu for gpu in report.gpus if not engine.gpu_indexes or gpu.index in engine.gpu_indexes]
    holders = {gpu.index: find_holders(context, gpu) for gpu in gpus}
    claims = {gpu.index: compute_claim(gpu, engine.utilization) for gpu in gpus}
    data = {
        "gpus": [
            {
                "index": gpu.index,
                "name": gpu.name,
                "total_bytes": gpu.total_bytes,
                "free_bytes": gpu.free_bytes,
                "claimed_bytes": claims[gpu.index],
                "processes": [vars(holder) for holder in holders[gpu.index]],
            }
            for gpu in gpus
        ]
    }
    if "engine" in context.target.running:
        return Outcome("pass", "this project's engine runs and holds its share", data=data)
    short = [gpu for gpu in gpus if (claims[gpu.index] or 0) > gpu.free_bytes]
    if short:
        return _refuse(short[0], claims[short[0].index], holders[short[0].index], data)
    return Outcome("pass", "; ".join(_describe(gpu, claims[gpu.index], holders[gpu.index]) for gpu in gpus), data=data)


def _refuse(gpu: Gpu, claimed: int | None, found: list[Holder], data: dict[str, object]) -> Outcome:
    fitting = math.floor(gpu.free_bytes / gpu.total_bytes * 100) / 100
    hint = f"`gpu-memory-utilization = {fitting:.2f}` under `[engine.args]` is what is free now"
    if found:
        hint = f"{_suggest_ending(found[0])}; or {hint}"
    return Outcome(
        "fail",
        _describe(gpu, claimed, found),
        hint,
        data,
        "vLLM refuses to start when less is free than the share that it is to take",
    )


def compute_claim(gpu: Gpu, utilization: float | None) -> int | None:
    """Give what vLLM claims of a GPU at start, or None where the KV cache has a size of its own.

    Source: vLLM 0.31.0, `v1/worker/utils.py` (`request_memory`).
    """
    return math.ceil(gpu.total_bytes * utilization) if utilization is not None else None


def find_holders(context: HostContext, gpu: Gpu) -> list[Holder]:
    """Name the processes that hold memory of a GPU, the largest first."""
    states = context.once("gpu-states", lambda: read_gpu_states(context.world.nvml))
    processes = next((state.processes for state in states if state.index == gpu.index), None)
    return [_build_holder(context, process) for process in processes or ()]


def _build_holder(context: HostContext, process: GpuProcess) -> Holder:
    folder = context.world.proc / str(process.pid)
    try:
        name = (folder / "comm").read_text(errors="replace").strip() or None
    except OSError:
        name = None
    return Holder(process.pid, name, _find_container(context, process.pid), process.used_bytes)


def _find_container(context: HostContext, pid: int) -> str | None:
    try:
        found = _CONTAINER_ID.search((context.world.proc / str(pid) / "cgroup").read_text(errors="replace"))
    except OSError:
        return None
    if found is None:
        return None
    for row in context.read_docker().containers:
        if row.get("Id") == found[1]:
            labels = row.get("Labels") or {}
            project = labels.get("com.docker.compose.project")
            name = str((row.get("Names") or [found[1][:12]])[0]).lstrip("/")
            return f"project `{project}`" if project else f"container `{name}`"
    return f"container {found[1][:12]}"


def _describe(gpu: Gpu, claimed: int | None, holders: list[Holder]) -> str:
    said = f"{gpu.name}: {describe_bytes(gpu.free_bytes)} of {describe_bytes(gpu.total_bytes)} free"
    if claimed is not None:
        said += f", vLLM claims {describe_bytes(claimed)}"
    if holders:
        more = f" and {len(holders) - _MOST_NAMED} more" if len(holders) > _MOST_NAMED else ""
        said += f"; held by {', '.join(str(holder) for holder in holders[:_MOST_NAMED])}{more}"
    elif claimed is not None and claimed > gpu.free_bytes:
        said += "; the driver does not tell who holds the rest"
    return said


def _suggest_ending(holder: Holder) -> str:
    if holder.container and holder.container.startswith("project "):
        return f"`stack down --project {holder.container.split('`')[1]}`"
    return f"end {holder.name or 'process'} ({holder.pid})"


CHECK = HostCheck("gpu-memory", run, order=130, is_quick=True)

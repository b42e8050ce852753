"""Other projects of this tool that run beside this one: each takes its share of GPU and memory."""

from __future__ import annotations

from collections.abc import Sequence

from stack.checks.host.check import HostCheck, HostContext, Outcome
from stack.checks.host.containers import FoundContainer


def run(context: HostContext) -> Outcome:
    """List the engines of other projects, and say which share a GPU with this one."""
    target = context.target
    engines = [
        one
        for one in context.read_containers()
        if one.is_tools and one.service == "engine" and one.project != target.project and one.state == "running"
    ]
    data = {"projects": [one.project for one in engines]}
    if not engines:
        return Outcome("pass", "no other project of this tool runs an engine", data=data)
    named = describe_runners(engines)
    sharing = [one for one in engines if shares_gpu(context, one)]
    if sharing:
        return Outcome(
            "warn",
            f"{describe_runners(sharing)} on the same GPU",
            hint=f"`stack down --project {sharing[0].project}`, or other GPUs: `engine.devices`",
            why="a vLLM engine takes its share of the GPU's memory at start and keeps it",
            data=data,
        )
    if target.engine.device == "cpu":
        return Outcome(
            "warn",
            f"{named} on this machine",
            hint=f"`stack down --project {engines[0].project}` if it is not needed",
            why="engines share the cores, and each keeps its weights and KV cache in memory",
            data=data,
        )
    return Outcome("pass", f"{named}, on other devices", data=data)


def describe_runners(engines: Sequence[FoundContainer]) -> str:
    """Say which projects run an engine."""
    named = ", ".join(f"`{one.project}`" for one in engines)
    return f"{named} runs an engine" if len(engines) == 1 else f"{named} run engines"


def shares_gpu(context: HostContext, other: FoundContainer) -> bool:
    """Tell whether another engine was given a GPU that this one would get too."""
    engine = context.target.engine
    if engine.device != "cuda" or not other.gpus:
        return False
    uuids = {gpu.uuid for gpu in context.read_gpus().gpus if gpu.index in engine.gpu_indexes}
    ours = {str(index) for index in engine.gpu_indexes} | uuids
    return "all" in other.gpus or bool(ours & set(other.gpus))


CHECK = HostCheck("other-stacks", run, order=410, needs_docker=True)

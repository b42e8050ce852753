"""Variables of this shell that change what Docker and the tool do, or that people expect to and that do not."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stack.checks.host.check import HostCheck, HostContext, Outcome

_TRUE = frozenset({"1", "on", "yes", "true"})
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Trap:
    """A variable that matters.

    Attributes:
        name: The variable, or a prefix that ends with `*`.
        effect: What it does, or does not.
        hint: What to do.
        matters: Tells from the value and the context whether it does.
    """

    name: str
    effect: str
    hint: str
    matters: Callable[[str, HostContext], bool] = lambda value, context: bool(value)


def _is_other_platform(value: str, context: HostContext) -> bool:
    machine = _MACHINES.get(platform.machine(), platform.machine())
    return bool(value) and value.split("/")[:2] != ["linux", machine]


def _is_offline_and_needed(value: str, context: HostContext) -> bool:
    model = context.target.model
    return value.lower() in _TRUE and model is not None and model.kind == "hub" and not model.is_here


def _is_off(value: str, context: HostContext) -> bool:
    return value == "0" and context.target.is_image_built()


def _is_on(value: str, context: HostContext) -> bool:
    return value.lower() in _TRUE


TRAPS = (
    Trap(
        "DOCKER_DEFAULT_PLATFORM",
        "makes Compose look for images of another platform",
        "unset DOCKER_DEFAULT_PLATFORM",
        _is_other_platform,
    ),
    Trap("DOCKER_API_VERSION", "pins the version that `docker` speaks with the daemon", "unset DOCKER_API_VERSION"),
    Trap(
        "DOCKER_CONTENT_TRUST",
        "makes `docker` refuse images without a Notary signature, which vLLM's do not have; the stack pins digests",
        "unset DOCKER_CONTENT_TRUST",
        _is_on,
    ),
    Trap(
        "DOCKER_BUILDKIT",
        "switches the builder off that images from packages need",
        "unset DOCKER_BUILDKIT",
        _is_off,
    ),
    Trap(
        "HF_HUB_OFFLINE",
        "forbids asking the hub, and the model has yet to be fetched",
        "unset HF_HUB_OFFLINE, or serve what is here",
        _is_offline_and_needed,
    ),
    Trap(
        "TRANSFORMERS_OFFLINE",
        "forbids asking the hub, and the model has yet to be fetched",
        "unset TRANSFORMERS_OFFLINE, or serve what is here",
        _is_offline_and_needed,
    ),
    Trap(
        "HF_ENDPOINT",
        "has no effect here: the hub is what `model.endpoint` names",
        "write it as `model.endpoint`",
    ),
    Trap(
        "CUDA_VISIBLE_DEVICES",
        "has no effect here: the engine gets the GPUs of `engine.devices`",
        "write them as `engine.devices`",
        lambda value, context: context.target.engine.device == "cuda",
    ),
    # vLLM warns that its metrics are wrong with a directory that outlives it (v1/metrics/prometheus.py).
    Trap(
        "PROMETHEUS_MULTIPROC_DIR",
        "has no effect on the engine, which is well: its metrics would be stale",
        "unset it",
    ),
    Trap("VLLM_*", "has no effect here: the engine gets only `engine.env`", "write it under `[engine.env]`"),
)  # fmt: skip


def run(context: HostContext) -> Outcome:
    """Find the variables that matter."""
    found = find_traps(context.world.environ, context)
    if not found:
        return Outcome("pass", "no variable of this shell is in the way")
    names = sorted({name for name, _ in found})
    return Outcome(
        "warn",
        "; ".join(f"{name} {trap.effect}" for name, trap in found),
        hint="; ".join(dict.fromkeys(trap.hint for _, trap in found)),
        why="what works in this shell may not work in another one, or the other way round",
        data={"variables": names},
    )


def find_traps(environ: Mapping[str, str], context: HostContext) -> list[tuple[str, Trap]]:
    """Give each variable that is set and matters, with why."""
    found = []
    for trap in TRAPS:
        stem = trap.name.rstrip("*")
        names = sorted(n for n in environ if n.startswith(stem)) if trap.name.endswith("*") else [trap.name]
        found += [(name, trap) for name in names if name in environ and trap.matters(environ[name], context)]
    return found


CHECK = HostCheck("environment", run, order=520)

"""What `up` would want of this machine, from what was resolved: the target of the host checks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stack.checks.host.memory_verdict import JudgeMemory
from stack.checks.host.target import (
    EndpointNeed,
    FolderNeed,
    HostTarget,
    ImageNeed,
    ModelNeed,
    PortNeed,
    StateNeed,
)
from stack.config.quantities import parse_size_bytes
from stack.history.peek import peek_last_outcome
from stack.images.reference import apply_mirror
from stack.images.references import build_reference
from stack.operations.doctor.estimate import build_memory_judge
from stack.operations.doctor.host_engine import build_engine_args, build_engine_need
from stack.operations.images.needs import ImageNeed as ImageStep
from stack.operations.layout.assemble import choose_shm_size
from stack.operations.layout.engine import engine_uid
from stack.operations.offline import REASON
from stack.operations.ports import PREFERRED_PORTS, find_asked_port, find_port_address
from stack.operations.resolve import Resolved
from stack.operations.session import Session

_GIB = 1024**3
_MIB = 1024**2
# What an image takes under the daemon's data root: surely, and while it is pulled or built. Built ones are measured
# (`docker images`, and the build cache beside them); of published ones only the CUDA engine's download is known (9 GB,
# docs of 0.31), the rest is an assumption: layers unpack to about two and a half times their compressed size, which
# stays until the last one is unpacked.
_BUILT_BYTES = {"engine/cpu": 4140 * 10**6, "engine/cuda": 9 * _GIB, "prometheus": 615 * 10**6}
_BUILT_OTHER_BYTES = 275 * 10**6
_PULLED_BYTES = {"engine/cuda": 9 * 10**9, "engine/cpu": 10**9, "grafana": 200 * _MIB, "dcgm-exporter": 300 * _MIB}
_PULLED_OTHER_BYTES = 100 * _MIB
_BUILD_RATIO, _PULL_RATIO = 2.0, 3.5
# Measured: the installed package with its GGUF file, and the converted weights.
_DEMO_BYTES = 100 * 10**6 + 270 * 10**6
# 134,515,008 parameters in bfloat16, as the headers of its weights have it.
_DEMO_WEIGHTS_BYTES = 134_515_008 * 2
_REQUIRED = ("engine", "prometheus")


@dataclass(frozen=True)
class ModelSize:
    """What the hub said of a model's size in bytes, where it had to be asked."""

    size_bytes: int | None = None


def build_host_target(
    session: Session, resolved: Resolved | None, *, size: ModelSize = ModelSize(), is_looked_back: bool = True
) -> HostTarget:
    """Give the target.

    Args:
        session: The session.
        resolved: The decisions; None where they could not be taken.
        size: What the hub said of the model.
        is_looked_back: Whether to look for what earlier runs left; the preflight has no need of it.
    """
    model = build_model_need(session, resolved, size) if resolved else None
    return HostTarget(
        project=session.project,
        engine=build_engine_need(session, resolved),
        model=model,
        ports=build_port_needs(session, resolved) if resolved else (),
        folders=build_folder_needs(session, model),
        images=tuple(build_image_need(resolved, step) for step in resolved.needs.values()) if resolved else (),
        running=tuple(n for n, state in resolved.running.items() if state.state == "running") if resolved else (),
        endpoints=build_endpoint_needs(session, resolved, model),
        unasked=REASON if session.config.offline else None,
        state=build_state_need(session) if is_looked_back else None,
        shm_bytes=parse_size_bytes(choose_shm_size(session.config, resolved.device.device)) if resolved else None,
    )


def build_model_need(session: Session, resolved: Resolved, size: ModelSize) -> ModelNeed:
    """Say which model is wanted, and what is known of it."""
    reference, snapshot, facts = resolved.reference, resolved.snapshot, resolved.model_facts
    known = snapshot.size_bytes if snapshot else (_DEMO_BYTES if reference.kind == "demo" else size.size_bytes)
    # Of a model that is not here yet the files are nearly all weights.
    weights = _DEMO_WEIGHTS_BYTES if reference.kind == "demo" else known
    return ModelNeed(
        id=reference.id,
        kind=reference.kind,
        revision=resolved.locked_revision,
        is_here=snapshot is not None,
        size_bytes=known,
        weights_bytes=facts.weights_bytes if facts else weights,
        attention_heads=facts.attention_heads if facts else None,
        judge_memory=_build_judge(session, resolved),
    )


def _build_judge(session: Session, resolved: Resolved) -> JudgeMemory | None:
    if resolved.snapshot is None:
        return None
    device = resolved.device
    args = build_engine_args(session, resolved)
    return build_memory_judge(resolved.snapshot.path, args, device=device.device, gpus=device.gpus)


def build_port_needs(session: Session, resolved: Resolved) -> tuple[PortNeed, ...]:
    """Say which ports are published."""
    needs = []
    for service, port in resolved.ports.items():
        state = resolved.running.get(service)
        is_ours = state is not None and state.state == "running" and state.host_port == port
        is_asked = find_asked_port(session.config, service) is not None
        preferred = None if is_asked or is_ours else resolved.facts.ports.get(service, PREFERRED_PORTS[service])
        address = find_port_address(session.config, service)
        needs.append(PortNeed(service, address, port, is_asked, is_ours, preferred))
    return tuple(needs)


def build_folder_needs(session: Session, model: ModelNeed | None) -> tuple[FolderNeed, ...]:
    """Say which folders are used, and what has yet to be written there."""
    needed = 0 if model is None or model.is_here or model.kind == "directory" else model.size_bytes
    paths, volume = session.paths, session.config.model.volume
    return (
        FolderNeed("models", volume, "`model.volume`", needed),
        FolderNeed("state", paths.state, "STACK_STATE_HOME"),
        FolderNeed("caches", paths.cache, "`engine.cache-dir`", engine_uid=engine_uid()),
    )


def build_image_need(resolved: Resolved, step: ImageStep) -> ImageNeed:
    """Say what an image takes."""
    key = f"engine/{resolved.device.device}" if step.service == "engine" else step.service
    is_built = step.action == "build"
    table, other = (_BUILT_BYTES, _BUILT_OTHER_BYTES) if is_built else (_PULLED_BYTES, _PULLED_OTHER_BYTES)
    least = table.get(key, other)
    return ImageNeed(
        service=step.service,
        action=step.action,
        name=step.name,
        least_bytes=least if step.action != "none" else 0,
        likely_bytes=int(least * (_BUILD_RATIO if is_built else _PULL_RATIO)) if step.action != "none" else 0,
        registry=step.wanted.reference.registry if step.action == "pull" and step.wanted else None,
        is_required=step.service in _REQUIRED,
    )


def build_endpoint_needs(
    session: Session, resolved: Resolved | None, model: ModelNeed | None
) -> tuple[EndpointNeed, ...]:
    """Say what `up` may have to ask over the network; nothing, where images and model are here."""
    needs = []
    config = session.config
    if config.offline:
        return ()
    if model is None or (model.kind == "hub" and not model.is_here) or _is_fallback(resolved):
        is_needed = model is not None and model.kind == "hub"
        needs.append(EndpointNeed("the model hub", "hub", config.model.endpoint, is_needed))
    hosts: dict[str, bool] = {}
    for step in resolved.needs.values() if resolved else ():
        if step.action == "pull" and step.wanted is not None:
            host = apply_mirror(step.wanted.reference, config.images.mirror).registry
            hosts[host] = hosts.get(host, False) or step.service in _REQUIRED
        elif step.action == "build" and config.images.source == "auto":
            published = build_reference(step.service, resolved.device.device, {}, resolved.published)
            hosts.setdefault(apply_mirror(published.reference, config.images.mirror).registry, False)
    return (*needs, *(EndpointNeed(host, "registry", host, is_needed) for host, is_needed in hosts.items()))


def _is_fallback(resolved: Resolved | None) -> bool:
    """Tell whether the demo model is only served because the hub does not answer."""
    return resolved is not None and resolved.reference.kind == "demo" and resolved.model.is_automatic and (
        resolved.snapshot is None
    )  # fmt: skip


def build_state_need(session: Session) -> StateNeed:
    """Say where earlier runs may have left something."""
    paths = session.paths
    return StateNeed(
        folder=paths.state,
        lock=paths.state / "lock",
        facts=paths.facts,
        volume=Path(session.config.model.volume),
        cache=paths.cache,
        last_boot=peek_last_outcome(paths.history),
    )

"""In what the running stack differs from what stack.toml and stack.lock come to; asks no network and no GPU.

What only `up` can decide (a free port, a share of a GPU's free memory) is taken from what runs: it differs only where
the configuration or the lock says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stack.config.places import resolve_home
from stack.config.schema import StackConfig
from stack.containers.definition import (
    Difference,
    compare_definitions,
    parse_flags,
    parse_rendered,
    read_definition,
)
from stack.containers.render import render_override
from stack.models.find import find_snapshot
from stack.models.hub import is_commit
from stack.models.reference import ModelReference, parse_model_reference
from stack.models.snapshot import Snapshot
from stack.operations.doctor.host_memory import read_total_memory_bytes
from stack.operations.engine_defaults import choose_engine_defaults
from stack.operations.images.wanted import list_services
from stack.operations.layout.assemble import build_layout
from stack.operations.layout.engine import EngineChoice
from stack.operations.layout.files import render_files
from stack.operations.session import Session
from stack.operations.status.engine import read_served_name
from stack.operations.status.images import find_image_differences
from stack.operations.status.read import Status

# compose.cuda.yaml sets it, not the override.
_STATIC_ENVIRONMENT = ("NVIDIA_DRIVER_CAPABILITIES=compute,utility",)
# Decided by a GPU's free memory and by how many there are when `up` runs; nobody can decide it again later.
_DECIDED_BY_UP = ("gpu-memory-utilization", "tensor-parallel-size")


@dataclass(frozen=True)
class Drift:
    """One difference between what the configuration comes to and what runs.

    Attributes:
        service: The Compose service.
        what: What differs.
        wanted: What stack.toml and stack.lock come to, or None for nothing.
        found: What runs, or None for nothing.
        hint: The command that mends it.
    """

    service: str
    what: str
    wanted: str | None
    found: str | None
    hint: str = "stack up"


def find_drift(session: Session, status: Status, rendered: Mapping[str, Any]) -> tuple[Drift, ...]:
    """Give every difference; a stack of which no container is left has none.

    Args:
        session: The run.
        status: What runs.
        rendered: The services of the rendered override; empty where there is none.

    Raises:
        ModelError: The configured model is none, or its manifest cannot be read.
    """
    if not status.found:
        return ()
    config = session.config
    device = status.engine.device if status.engine is not None else "cpu"
    if status.engine is not None and config.engine.device not in ("auto", device):
        return (Drift("engine", "device", config.engine.device, device),)
    wanted = list_services(config, device)
    drift = _find_other_services(status, wanted, rendered)
    drift += [Drift(name, *_parts(item)) for name, item in find_image_differences(config, status)]
    reference = _find_reference(session, status)
    snapshot = _find_snapshot(config, status, reference) if reference is not None else None
    if reference is not None and snapshot is None and status.engine is not None:
        drift.append(_describe_model(config, status, reference))
    documents = _render_wanted(session, status, device, [name for name in wanted if name in status.found], snapshot)
    for name, document in documents.items():
        drift += [Drift(name, *_parts(item)) for item in _compare(name, document, status, rendered.get(name))]
    return tuple(drift)


def _parts(difference: Difference) -> tuple[str, str | None, str | None]:
    return difference.what, difference.wanted, difference.found


def _find_other_services(status: Status, wanted: Sequence[str], rendered: Mapping[str, Any]) -> list[Drift]:
    """Tell of services that the configuration switched on or off since; one that only died is no drift."""
    was_rendered = {name for name, service in rendered.items() if "profiles" not in service}
    missing = [
        name
        for name in wanted
        if name not in status.found and name not in status.facts.left_out and rendered and name not in was_rendered
    ]
    drift = [Drift(name, "service", "enabled", None) for name in missing]
    return drift + [Drift(name, "service", None, "runs") for name in status.found if name not in wanted]


def _find_reference(session: Session, status: Status) -> ModelReference | None:
    locked = status.lock.model
    text = session.config.model.id or (locked.id if locked is not None else None)
    if text is None:
        return None
    base = session.loaded.path.parent if session.loaded.path else None
    return parse_model_reference(text, home=resolve_home(session.environ), base=base)


def _wanted_revision(config: StackConfig, status: Status) -> str | None:
    if config.model.revision is not None and is_commit(config.model.revision):
        return config.model.revision
    locked = status.lock.model
    same = locked is not None and locked.id == (config.model.id or locked.id)
    return locked.revision if locked is not None and same else config.model.revision


def _find_snapshot(config: StackConfig, status: Status, reference: ModelReference) -> Snapshot | None:
    return find_snapshot(reference, revision=_wanted_revision(config, status), volume=config.model.volume)


def _describe_model(config: StackConfig, status: Status, reference: ModelReference) -> Drift:
    assert status.engine is not None
    if status.engine.model != reference.id:
        return Drift("engine", "model", reference.id, status.engine.model)
    revision = _wanted_revision(config, status)
    if revision != status.engine.revision:
        return Drift("engine", "model revision", revision, status.engine.revision)
    return Drift("engine", "model files", "as they landed", "changed or gone")


def _render_wanted(
    session: Session, status: Status, device: str, services: Sequence[str], snapshot: Snapshot | None
) -> dict[str, Any]:
    """Render the services as `up` would, with what only it can decide taken from what runs."""
    config = session.config
    images = {name: status.states[name].image for name in services if name != "engine" or snapshot is not None}
    layout = build_layout(
        config,
        _build_choice(config, status, device, snapshot),
        images,
        {},
        snapshot,  # type: ignore[arg-type]  # looked at for the engine only
        _read_ports(config, status),
        session.paths,
        render_files(config, services),
        read_total_memory_bytes(),
    )
    rendered = render_override(layout)["services"]
    return {name: rendered[name] for name in images}


def _build_choice(config: StackConfig, status: Status, device: str, snapshot: Snapshot | None) -> EngineChoice:
    engine = status.found.get("engine")
    argv = list(engine.attributes["Config"].get("Cmd") or []) if engine is not None else []
    asked = config.engine.args
    defaults = choose_engine_defaults(device, asked, memory_bytes=read_total_memory_bytes())
    decided = {
        name: values[0]
        for name, values in parse_flags(argv).items()
        if name in _DECIDED_BY_UP and values and name not in asked and device == "cuda"
    }
    # `up` is told which GPUs in its own way; those that the engine has are taken as they are.
    devices = read_definition(engine.attributes).devices if engine is not None else None
    served = config.model.served_name or (snapshot.served_name if snapshot else read_served_name(argv)) or ""
    args = {item.name: item.value for item in defaults} | decided | dict(asked)
    return EngineChoice(device, _parse_devices(devices), args, served)


def _parse_devices(text: str | None) -> str | int | tuple[str, ...]:
    if text is None or text == "all":
        return "all"
    return tuple(text.split(", "))


def _read_ports(config: StackConfig, status: Status) -> dict[str, int]:
    services = config.services
    asked = {
        "engine": services.engine.port,
        "prometheus": services.prometheus.port,
        "alertmanager": services.alertmanager.port,
        "grafana": services.grafana.port,
        "gateway": services.gateway.port,
    }
    return {name: port if isinstance(port, int) else status.ports.get(name, 0) for name, port in asked.items()}


def _compare(
    name: str, document: Mapping[str, Any], status: Status, on_disk: Mapping[str, Any] | None
) -> list[Difference]:
    """Hold a service as it should be against its container, and against the rendered override."""
    is_engine = name == "engine"
    wanted = parse_rendered(document)
    found = status.found[name]
    from_image = (status.images.get(found.state.image_id, {}).get("Config") or {}).get("Env") or []
    # What the image sets and the service sets to the same is not told apart in the container: it is there.
    ours = {f"{key}={value}" for key, value in wanted.environment.items()}
    inherited = [line for line in (*from_image, *_STATIC_ENVIRONMENT) if line not in ours]
    runs = read_definition(found.attributes, inherited)
    differences = compare_definitions(wanted, runs, is_engine=is_engine)
    if on_disk is None:
        return differences
    told = {item.what for item in differences}
    try:
        written = compare_definitions(wanted, parse_rendered(on_disk), is_engine=is_engine)
    except (KeyError, TypeError, ValueError, AttributeError):
        return [*differences, Difference("rendered override", "readable", "damaged")]
    return differences + [
        Difference(f"{item.what} in the rendered override", item.wanted, item.found)
        for item in written
        if item.what not in told
    ]

"""From what was resolved to the layout of what should run, and the engine args that the tool chose for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from stack.config.engine_limits import check_engine_limits
from stack.containers.layout import Layout
from stack.errors import ConfigError, ModelError
from stack.models.directory import check_directory, find_unreadable
from stack.models.facts import build_model_facts
from stack.models.snapshot import Snapshot
from stack.operations.choices import DeviceChoice, narrow_to_one_gpu
from stack.operations.doctor.host_memory import read_total_memory_bytes
from stack.operations.engine_defaults import EngineDefault, choose_engine_defaults
from stack.operations.layout.assemble import build_layout
from stack.operations.layout.engine import EngineChoice, engine_uid
from stack.operations.layout.files import render_files
from stack.operations.session import Session

if TYPE_CHECKING:
    from stack.operations.resolve import Resolved


def check_engine(session: Session, device: DeviceChoice) -> None:
    """Hold the engine args against the device that `auto` came to.

    Raises:
        ConfigError: They do not fit.
    """
    devices = list(device.devices) if isinstance(device.devices, tuple) else device.devices
    problems = check_engine_limits(session.config.engine.args, device=device.device, devices=devices)
    if problems:
        raise ConfigError(problems)


def check_model(resolved: Resolved) -> None:
    """Find out before anything is fetched or built that a directory cannot be served.

    Raises:
        ModelError: It cannot.
    """
    if resolved.reference.path is not None and resolved.snapshot is None:
        check_directory(resolved.reference.path.absolute())


def check_readable(snapshot: Snapshot) -> None:
    """Find files that the engine's user may not read, before it fails on them.

    Raises:
        ModelError: There are some.
    """
    names = find_unreadable(snapshot, engine_uid(), (0,))
    if names:
        raise ModelError(
            f"the engine (uid {engine_uid()}) may not read {', '.join(names[:3])} in {snapshot.path}",
            hint=f"chmod -R a+rX '{snapshot.path}'",
        )


def decide_layout(
    session: Session, resolved: Resolved, snapshot: Snapshot, images: Mapping[str, str]
) -> tuple[Layout, list[EngineDefault]]:
    """Give the layout of what should run, and the engine args that the tool chose for it."""
    config = session.config
    facts = build_model_facts(snapshot.path)
    device = narrow_to_one_gpu(resolved.device, facts.attention_heads, config)
    memory_bytes = read_total_memory_bytes()
    defaults = choose_engine_defaults(
        device.device,
        config.engine.args,
        gpus=device.gpus,
        heads=facts.attention_heads,
        memory_bytes=memory_bytes,
    )
    choice = EngineChoice(
        device=device.device,
        devices=device.devices,
        args={default.name: default.value for default in defaults} | dict(config.engine.args),
        served_name=config.model.served_name or snapshot.served_name,
    )
    left_out = {service: "its image could not be had" for service in resolved.needs if service not in images}
    left_out |= resolved.left_out
    layout = build_layout(
        config,
        choice,
        images,
        left_out,
        snapshot,
        resolved.ports,
        session.paths,
        render_files(config, list(images)),
        memory_bytes,
    )
    return layout, defaults

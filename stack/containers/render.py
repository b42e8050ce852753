"""A layout rendered as the one JSON override that goes on top of the shipped Compose files. Pure.

JSON and not YAML: a writer and a reader of YAML disagree about `no`, `0o10` and `1e3`; about JSON they
cannot.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stack.containers.layout import CONTAINER_PORTS, SERVICES, Layout, Limits, Mount, Service

LABEL_STAMP = "dev.stack.config"
LABEL_PROJECT = "dev.stack.project"
_OFF = "not-in-this-stack"


def render_override(layout: Layout, *, may_pull: bool = False) -> dict[str, Any]:
    """Give the Compose document that completes the shipped files for this project.

    Args:
        layout: The project's containers.
        may_pull: Whether Compose may fetch images named by digest; `up` puts every image in place by itself.
    """
    services = {name: _render_service(service, layout, may_pull) for name, service in layout.services.items()}
    for name in _shipped(layout):
        # A profile that nobody names is how Compose leaves out a service that a file describes.
        services.setdefault(name, {"profiles": [_OFF], "image": "none"})
    if layout.shm_size:
        services["engine"]["shm_size"] = layout.shm_size
    if layout.device == "cuda":
        services["engine"]["deploy"] = {"resources": {"reservations": {"devices": [_reservation(layout)]}}}
        if "dcgm-exporter" in layout.services:
            services["dcgm-exporter"]["deploy"] = services["engine"]["deploy"]
    secrets = {
        _secret_name(service, name): {"file": spell_path(path)}
        for service in layout.services.values()
        for name, path in service.secrets.items()
    }
    document: dict[str, Any] = {"name": layout.project, "services": services}
    if secrets:
        document["secrets"] = secrets
    return escape_interpolation(document)


def render_json(document: dict[str, Any]) -> str:
    """Give a document's text: the same document always gives the same text."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def escape_interpolation(value: Any) -> Any:
    """Double every `$` in every string, so that Compose leaves what a user wrote as it is."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {key: escape_interpolation(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escape_interpolation(item) for item in value]
    return value


def spell_path(path: Path) -> str:
    """Give a host path as Compose must see it: a relative one without `./` would name a volume."""
    return str(path) if path.is_absolute() else f"./{path}"


def _shipped(layout: Layout) -> tuple[str, ...]:
    present = {"engine", "prometheus", "grafana", "node-exporter"}
    if layout.device == "cuda":
        present.add("dcgm-exporter")
    return tuple(name for name in SERVICES if name in present)


def _render_service(service: Service, layout: Layout, may_pull: bool) -> dict[str, Any]:
    rendered: dict[str, Any] = {
        "image": service.image,
        # A name without a digest may mean another image elsewhere: Compose must never fetch one by itself.
        "pull_policy": "missing" if may_pull and "@" in service.image else "never",
        "labels": {LABEL_PROJECT: layout.project, LABEL_STAMP: service.stamp},
    }
    if service.command is not None:
        rendered["command"] = list(service.command)
    if service.environment:
        rendered["environment"] = dict(service.environment)
    if service.user:
        rendered["user"] = service.user
    if service.groups:
        rendered["group_add"] = list(service.groups)
    if service.port is not None and service.address is not None:
        rendered["ports"] = [_render_port(service.name, service.address, service.port)]
    if service.mounts:
        rendered["volumes"] = [_render_mount(mount) for mount in service.mounts]
    if service.secrets:
        rendered["secrets"] = [
            {"source": _secret_name(service, name), "target": f"/run/secrets/{name}"} for name in service.secrets
        ]
    return rendered | _render_limits(service.limits)


def _render_port(name: str, address: str, port: int) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{port}:{CONTAINER_PORTS[name]}"


def _render_mount(mount: Mount) -> dict[str, Any]:
    return {
        "type": "bind",
        "source": spell_path(mount.source),
        "target": mount.target,
        "read_only": mount.read_only,
        # A missing source must be an error: Docker would make an empty folder of root's in its place.
        "bind": {"create_host_path": False},
    }


def _render_limits(limits: Limits) -> dict[str, Any]:
    rendered: dict[str, Any] = {}
    if limits.cpus is not None:
        rendered["cpus"] = limits.cpus
    if limits.memory is not None:
        # Swap would let a service grow past its limit by slowing the whole host down.
        rendered |= {"mem_limit": limits.memory, "memswap_limit": limits.memory}
    return rendered


def _reservation(layout: Layout) -> dict[str, Any]:
    device: dict[str, Any] = {"driver": "nvidia", "capabilities": ["gpu"]}
    if isinstance(layout.devices, tuple):
        return device | {"device_ids": list(layout.devices)}
    return device | {"count": layout.devices}


def _secret_name(service: Service, name: str) -> str:
    return f"{service.name}-{name}".replace("_", "-")

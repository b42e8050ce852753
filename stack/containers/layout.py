"""What one project's containers are made of, decided and as data; `render` turns it into Compose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SERVICES = ("engine", "prometheus", "alertmanager", "grafana", "node-exporter", "dcgm-exporter", "gateway")
CONTAINER_PORTS = {"engine": 8000, "prometheus": 9090, "alertmanager": 9093, "grafana": 3000, "gateway": 8080}


@dataclass(frozen=True)
class Mount:
    """A folder or file of the host inside a container.

    Attributes:
        source: The host's path.
        target: The container's path.
        read_only: Whether the container may only read it.
    """

    source: Path
    target: str
    read_only: bool = True


@dataclass(frozen=True)
class Limits:
    """What a container may take of the host.

    Attributes:
        cpus: CPU time per second of wall time, or None for no limit.
        memory: Memory with Compose's suffixes (`512m`), or None for no limit.
    """

    cpus: float | None = None
    memory: str | None = None


@dataclass(frozen=True)
class Service:
    """One service of the stack as this project runs it.

    Attributes:
        name: Its name in compose.yaml.
        image: A reference, or `sha256:<image ID>` for an image that has no digest here.
        command: Arguments to the entry point, or None for what compose.yaml or the image says.
        environment: Environment on top of compose.yaml's; never a secret.
        mounts: Folders and files.
        secrets: Secret files by the name that they get under /run/secrets.
        address: Where its port is published, or None for not at all.
        port: The host's port, where published.
        user: `uid:gid` to run as, or None for the image's own.
        groups: Supplementary groups.
        limits: What it may take of the host.
        stamp: A hash of the mounted configuration; the container is made anew when it changes.
    """

    name: str
    image: str
    command: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    secrets: Mapping[str, Path] = field(default_factory=dict)
    address: str | None = None
    port: int | None = None
    user: str | None = None
    groups: tuple[str, ...] = ()
    limits: Limits = Limits()
    stamp: str = ""


@dataclass(frozen=True)
class Layout:
    """A project's containers.

    Attributes:
        project: The Compose project.
        device: `cpu` or `cuda`.
        devices: GPUs to reserve: `all`, a count, or ids.
        services: The services that run, by name.
        left_out: Services that do not run, with the reason.
        shm_size: Size of the engine's /dev/shm, or None for Docker's default.
    """

    project: str
    device: str
    devices: str | int | tuple[str, ...]
    services: Mapping[str, Service]
    left_out: Mapping[str, str]
    shm_size: str | None = None

    @property
    def compose_files(self) -> tuple[str, ...]:
        """Give the shipped Compose files that apply, in the order in which they are merged."""
        files = ["compose.yaml"]
        if self.device == "cuda":
            files.append("compose.cuda.yaml")
        if "alertmanager" in self.services:
            files.append("compose.alertmanager.yaml")
        if "gateway" in self.services:
            files.append("compose.gateway.yaml")
        return tuple(files)

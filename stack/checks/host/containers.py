"""The daemon's containers, as its listing tells them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Written by Compose, and by this tool's rendered override.
_COMPOSE_PROJECT = "com.docker.compose.project"
_COMPOSE_SERVICE = "com.docker.compose.service"
_TOOL_PROJECT = "dev.stack.project"


@dataclass(frozen=True)
class FoundContainer:
    """One container.

    Attributes:
        name: Its name.
        state: `running`, `exited`, …
        project: Its Compose project, or None.
        service: Its Compose service, or None.
        is_tools: Whether this tool made it.
        ports: The host's TCP ports that it publishes now.
        gpus: The GPUs that it was given (`all`, or ids), where the daemon was asked for that.
    """

    name: str
    state: str
    project: str | None
    service: str | None
    is_tools: bool
    ports: tuple[int, ...]
    gpus: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Give its name, with its project where it has one."""
        return f"container `{self.name}`" + (f" of project `{self.project}`" if self.project else "")


def parse_container(row: Mapping[str, Any]) -> FoundContainer:
    """Read a row of `GET /containers/json`; `Gpus` is added by who asked, since the listing has no devices."""
    labels = row.get("Labels") or {}
    names = row.get("Names") or [row.get("Id", "")[:12]]
    ports = {
        int(port["PublicPort"]) for port in row.get("Ports") or [] if port.get("PublicPort") and port["Type"] == "tcp"
    }
    return FoundContainer(
        name=str(names[0]).lstrip("/"),
        state=str(row.get("State", "")),
        project=labels.get(_COMPOSE_PROJECT),
        service=labels.get(_COMPOSE_SERVICE),
        is_tools=_TOOL_PROJECT in labels,
        ports=tuple(sorted(ports)),
        gpus=tuple(row.get("Gpus") or ()),
    )

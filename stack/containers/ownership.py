"""The containers that bear a project's name: which of them this tool made from this project's state, and which not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from stack.containers.daemon import LABEL_PROJECT as COMPOSE_PROJECT
from stack.containers.daemon import LABEL_SERVICE, ServiceState, parse_container, translated
from stack.containers.layout import SERVICES
from stack.containers.render import LABEL_PROJECT

_LABEL_ONEOFF = "com.docker.compose.oneoff"
_LABEL_DIRECTORY = "com.docker.compose.project.working_dir"


@dataclass(frozen=True)
class Found:
    """One container that this tool made.

    Attributes:
        state: What it does now.
        attributes: The daemon's inspect document of it.
    """

    state: ServiceState
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Foreign:
    """One container under the project's name that this tool did not make.

    Attributes:
        name: The container's name.
        image: Its image as Docker was told it.
        state: What it does now.
        why: What tells that it is not this project's.
    """

    name: str
    image: str
    state: str
    why: str


def read_attributes(client: docker.DockerClient, project: str) -> list[dict[str, Any]]:
    """Give the inspect document of every container that bears a project's name, whoever made it."""
    with translated(f"listing the containers of project {project}"):
        containers = client.containers.list(
            all=True, filters={"label": f"{COMPOSE_PROJECT}={project}"}, ignore_removed=True
        )
    return [container.attrs for container in containers]


def sort_containers(
    documents: Iterable[dict[str, Any]], project: str, state_directory: Path
) -> tuple[dict[str, Found], tuple[Foreign, ...]]:
    """Part this project's containers, by service, from those that only bear its name.

    Args:
        documents: Inspect documents of everything that bears the project's name.
        project: The Compose project.
        state_directory: The project's directory: Compose notes it on every container that it makes.
    """
    ours: dict[str, Found] = {}
    foreign = []
    for document in sorted(documents, key=lambda item: item["Name"]):
        labels = document["Config"].get("Labels") or {}
        why = find_foreign_reason(labels, project, state_directory)
        if why is not None:
            image, state = document["Config"]["Image"], document["State"]["Status"]
            foreign.append(Foreign(document["Name"].removeprefix("/"), image, state, why))
        elif labels.get(_LABEL_ONEOFF, "False") != "True":
            ours[labels[LABEL_SERVICE]] = Found(parse_container(document), document)
    return ours, tuple(foreign)


def find_foreign_reason(labels: Mapping[str, str], project: str, state_directory: Path) -> str | None:
    """Give what tells that a container is not this project's, or None where it is."""
    made_for = labels.get(LABEL_PROJECT)
    if made_for is None:
        return "this tool did not make it"
    if made_for != project:
        return f"it was made for project `{made_for}`"
    directory = labels.get(_LABEL_DIRECTORY, "")
    if not directory or Path(directory).resolve() != state_directory.resolve():
        return f"it was made from {directory or 'no directory'}, not from this project's state"
    if labels.get(LABEL_SERVICE) not in SERVICES:
        return f"`{labels.get(LABEL_SERVICE)}` is no service of this stack"
    return None

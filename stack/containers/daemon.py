"""Reads from the Docker daemon, through the docker SDK (which follows the CLI's context)."""

from __future__ import annotations

import datetime
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import docker
import requests
import urllib3
from docker.errors import DockerException, ImageNotFound
from docker.models.containers import Container

from stack.errors import CommandError, HostError
from stack.failures.explain import explain_text

LABEL_SERVICE = "com.docker.compose.service"
LABEL_PROJECT = "com.docker.compose.project"
LABEL_HASH = "com.docker.compose.config-hash"

# The last one: a connection that breaks in the middle of a stream.
_BUSY_SECONDS = 90.0
_FAILURES = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError)


@dataclass(frozen=True)
class ServiceState:
    """What the daemon says of one service's container.

    Attributes:
        name: The Compose service.
        container_id: The container's ID.
        state: `running`, `exited`, `restarting`, `created`, `paused` or `dead`.
        health: `healthy`, `unhealthy`, `starting`, or None where no health check is set.
        exit_code: The last exit status.
        restart_count: Restarts by the restart policy since the container was started.
        started_at: When it was last started, in UTC.
        image_id: The image's ID.
        image: The image as Compose was told it.
        config_hash: The hash of the definition that it was made from.
        error: What the daemon said when it could not start it.
        was_oom_killed: Whether the kernel killed it for memory.
        host_port: The host's port that it publishes, or None.
    """

    name: str
    container_id: str
    state: str
    health: str | None
    exit_code: int
    restart_count: int
    started_at: datetime.datetime | None
    image_id: str
    image: str
    config_hash: str
    error: str
    was_oom_killed: bool
    host_port: int | None = None


def connect(timeout_seconds: float = 20, environ: Mapping[str, str] | None = None) -> docker.DockerClient:
    """Connect to the daemon that the docker CLI uses too.

    Raises:
        HostError: It does not answer, or this user may not talk to it.
    """
    environ = os.environ if environ is None else environ
    try:
        client = docker.from_env(timeout=timeout_seconds, environment=dict(environ))
        client.ping()
        # One that answered is there: what it is asked may wait for gigabytes that it moves at that moment.
        client.api.timeout = _BUSY_SECONDS
    except _FAILURES as err:
        known = explain_text(str(err)) or explain_text("Cannot connect to the Docker daemon")
        assert known is not None
        host = environ.get("DOCKER_HOST")
        where = f" at `{host}`, which DOCKER_HOST names" if host else ""
        raise HostError(known.cause + where, hint=known.next, detail=str(err)) from err
    return client


def read_services(client: docker.DockerClient, project: str) -> dict[str, ServiceState]:
    """Give the project's containers by service; an empty mapping when nothing of it is here."""
    with translated(f"listing the containers of project {project}"):
        containers = client.containers.list(
            all=True, filters={"label": f"{LABEL_PROJECT}={project}"}, ignore_removed=True
        )
    states = [parse_container(container.attrs) for container in containers if _is_of_service(container)]
    return {state.name: state for state in states}


def parse_container(attributes: dict[str, Any]) -> ServiceState:
    """Turn the daemon's inspect document of a container into a service's state."""
    state, labels = attributes["State"], attributes["Config"].get("Labels") or {}
    return ServiceState(
        name=labels.get(LABEL_SERVICE, ""),
        container_id=attributes["Id"],
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status"),
        exit_code=int(state.get("ExitCode") or 0),
        restart_count=int(attributes.get("RestartCount") or 0),
        started_at=parse_time(state.get("StartedAt", "")),
        image_id=attributes["Image"],
        image=attributes["Config"]["Image"],
        config_hash=labels.get(LABEL_HASH, ""),
        error=state.get("Error") or "",
        was_oom_killed=bool(state.get("OOMKilled")),
        host_port=_read_host_port(attributes),
    )


def _read_host_port(attributes: dict[str, Any]) -> int | None:
    bindings = (attributes.get("HostConfig") or {}).get("PortBindings") or {}
    ports = [item["HostPort"] for items in bindings.values() for item in items or []]
    return int(ports[0]) if ports and ports[0] else None


def parse_time(text: str) -> datetime.datetime | None:
    """Parse the daemon's RFC 3339 time, to UTC; None for its zero time and for what is no time."""
    if text.startswith("0001-"):
        return None
    try:
        return datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)
    except ValueError:
        return None


def read_published_ports(client: docker.DockerClient) -> dict[int, str]:
    """Give the host's ports that running containers publish, with what has each in words."""
    with translated("listing the containers that run"):
        documents = client.api.containers()
    owners = {}
    for document in documents:
        project = (document.get("Labels") or {}).get(LABEL_PROJECT)
        name = (document.get("Names") or ["?"])[0].removeprefix("/")
        said = f"container `{name}`" + (f" of project `{project}`" if project else "")
        owners |= {item["PublicPort"]: said for item in document.get("Ports") or [] if "PublicPort" in item}
    return owners


def read_image(client: docker.DockerClient, name: str) -> dict[str, Any] | None:
    """Give the daemon's inspect document of an image, or None where it is not here."""
    with translated(f"inspecting the image {name}"):
        try:
            return client.images.get(name).attrs
        except ImageNotFound:
            return None


class ExitWatch:
    """Notices the end of a container as soon as the daemon does.

    Args:
        client: A connection of its own: waiting blocks it.
        container_id: The container to watch.
    """

    def __init__(self, client: docker.DockerClient, container_id: str) -> None:
        self.status: int | None = None
        self.was_oom_killed = False
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._wait, args=(client, container_id), daemon=True)
        self._thread.start()

    def _wait(self, client: docker.DockerClient, container_id: str) -> None:
        try:
            self.status = int(client.api.wait(container_id, timeout=None)["StatusCode"])
            # At once: the restart policy starts it again, and forgets.
            self.was_oom_killed = bool(client.api.inspect_container(container_id)["State"].get("OOMKilled"))
        except _FAILURES:
            # Nothing is known of the end, or nothing more than the status, of a container that is gone already.
            pass
        finally:
            self.ended.set()


def _is_of_service(container: Container) -> bool:
    labels = container.labels
    return bool(labels.get(LABEL_SERVICE)) and labels.get("com.docker.compose.oneoff", "False") != "True"


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn what the docker SDK raises into our own errors.

    Raises:
        CommandError: The daemon refused or broke off; a known failure is explained.
    """
    try:
        yield
    except _FAILURES as err:
        known = explain_text(str(err))
        raise CommandError(
            ["docker"],
            1,
            stderr=str(err),
            message=known.cause if known else f"{doing} failed",
            hint=known.next if known else None,
        ) from err


def read_mounted_folders(client: docker.DockerClient, label: str) -> set[str]:
    """Give the host's folders that containers with a label mount, whether they run or not."""
    containers = client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
    return {mount["Source"] for item in containers for mount in item.attrs.get("Mounts", []) if "Source" in mount}

"""A container beside the services that does one thing, is watched, and is removed however that ends."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import docker
from docker.errors import APIError, NotFound
from docker.types import LogConfig, Mount

from stack.containers.daemon import ExitWatch, translated
from stack.containers.log_stream import read_log
from stack.containers.render import LABEL_PROJECT

LABEL_ONE_SHOT = "dev.stack.one-shot"
_TICK_SECONDS = 0.5
_REMOVAL_SECONDS = 30


@dataclass(frozen=True)
class OneShot:
    """What is run.

    Attributes:
        project: Whose it is.
        task: What it does, in one word.
        image_id: The image, which is here; nothing is pulled.
        command: The whole command; no secret.
        network: The one network that it is on.
        environment: Its environment; no secret.
        mounts: Host paths by the container's; all read-only.
        user: `uid:gid`.
        memory: Most memory, with Docker's suffixes.
    """

    project: str
    task: str
    image_id: str
    command: Sequence[str]
    network: str
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, Path] = field(default_factory=dict)
    user: str = "2000:0"
    memory: str = "4g"


@dataclass(frozen=True)
class Ended:
    """How it ended.

    Attributes:
        status: Its exit status; None where it was stopped for its time, or nobody knows.
        output: What it said.
        was_oom_killed: Whether the kernel killed it for memory.
        is_late: Whether it was stopped for its time.
    """

    status: int | None
    output: str
    was_oom_killed: bool = False
    is_late: bool = False


def run_one_shot(
    connect: Callable[[], docker.DockerClient],
    shot: OneShot,
    *,
    tell: Callable[[], None],
    limit_seconds: float,
    clock: Callable[[], float],
) -> Ended:
    """Run it to its end, hardened as the services are; whatever happens, its container is gone afterwards.

    Args:
        connect: Makes a connection to the daemon; waiting takes one of its own.
        shot: What is run.
        tell: Called twice a second while it runs.
        limit_seconds: How long it may take.
        clock: Seconds that only grow.

    Raises:
        CommandError: The daemon cannot make or start it.
    """
    client, deadline = connect(), clock() + limit_seconds
    # The name is chosen before the container is there: an interrupt in between must find it.
    name = f"{shot.project}-{shot.task}-{secrets.token_hex(4)}"
    try:
        container_id = _start(client, shot, name)
        watch = ExitWatch(connect(), container_id)
        while not watch.ended.wait(_TICK_SECONDS):
            if clock() > deadline:
                return Ended(None, read_log(client, container_id), is_late=True)
            tell()
        return Ended(watch.status, read_log(client, container_id), watch.was_oom_killed)
    finally:
        _remove(client, name)


def remove_leftovers(client: docker.DockerClient, project: str, task: str | None = None) -> list[str]:
    """Remove what killed runs of this tool left behind, running or not; give the names.

    Args:
        client: The engine.
        project: Whose.
        task: Of one kind only.
    """
    labels = [f"{LABEL_PROJECT}={project}", f"{LABEL_ONE_SHOT}={task}" if task else LABEL_ONE_SHOT]
    with translated("listing containers that a killed run left"):
        found = client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
    names = [str(container.name) for container in found]
    for name in names:
        _remove(client, name)
    return names


def _start(client: docker.DockerClient, shot: OneShot, name: str) -> str:
    with translated(f"starting {shot.task}"):
        container = client.containers.create(
            shot.image_id,
            list(shot.command[1:]),
            entrypoint=list(shot.command[:1]),
            name=name,
            labels={LABEL_PROJECT: shot.project, LABEL_ONE_SHOT: shot.task},
            network=shot.network,
            environment=dict(shot.environment),
            mounts=[Mount(target, str(path), "bind", read_only=True) for target, path in shot.mounts.items()],
            user=shot.user,
            init=True,
            read_only=True,
            tmpfs={"/tmp": "exec,mode=1777"},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            pids_limit=4096,
            mem_limit=shot.memory,
            memswap_limit=shot.memory,
            log_config=LogConfig(type=LogConfig.types.JSON, config={"max-size": "20m", "max-file": "2"}),
            # A proxy of the user's would be asked for the engine, which only this network knows.
            use_config_proxy=False,
        )
        container.start()
    return str(container.id)


def _remove(client: docker.DockerClient, name: str) -> None:
    # It was never made, or somebody took it away already.
    with translated(f"removing the container {name}"), suppress(NotFound):
        try:
            client.api.remove_container(name, force=True)
        except APIError as err:
            if err.status_code != HTTPStatus.CONFLICT:
                raise
            # Somebody is at it: what comes next may need its network.
            client.api.wait(name, timeout=_REMOVAL_SECONDS, condition="removed")

"""A session on folders of its own, a model's snapshot, and a project's containers as a daemon tells them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stack.config.load import load_config
from stack.config.places import resolve_cache_dir, resolve_state_dir
from stack.containers.daemon import ServiceState
from stack.models.snapshot import FileRecord, Snapshot
from stack.operations.project import ProjectPaths
from stack.operations.session import Session

STARTED = datetime.datetime(2026, 11, 21, 22, 0, 0, tzinfo=datetime.UTC)


@pytest.fixture
def said() -> list[str]:
    """What the session told its user."""
    return []


@pytest.fixture
def warned() -> list[str]:
    """What the session warned its user of."""
    return []


@pytest.fixture
def events() -> list[Any]:
    """What the session's long steps reported."""
    return []


@pytest.fixture
def make_session(tmp_path: Path, said: list[str], events: list[Any], warned: list[str]) -> Callable[..., Session]:
    """A function: the text of a stack.toml, or None for no file, gives a session without a daemon."""

    def make(toml: str | None = "", connect: Callable[[], Any] | None = None, **environ: str) -> Session:
        variables = {"HOME": str(tmp_path / "home"), **environ}
        path = None
        if toml is not None:
            path = tmp_path / "stack.toml"
            path.write_text(toml)
        loaded = load_config(path, variables, {}, working_directory=tmp_path)
        paths = ProjectPaths(
            resolve_state_dir(loaded.config.project, variables), resolve_cache_dir(loaded.config, variables)
        )
        return Session(loaded, variables, paths, events.append, said.append, connect or _fail, warned.append)

    return make


@pytest.fixture(autouse=True)
def no_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are told to no Grafana: none runs, unless a test says so."""
    monkeypatch.setattr("stack.operations.annotations.send.find_services", lambda session: {})


def _fail() -> Any:
    raise AssertionError("this test must not connect to a daemon")


@pytest.fixture
def make_snapshot(tmp_path: Path) -> Callable[..., Snapshot]:
    """A function: a snapshot of a model that is not there."""

    def make(**changes: Any) -> Snapshot:
        path = tmp_path / "models/hub/acme--tiny/0123456789abcdef0123456789abcdef01234567/files"
        values = {
            "kind": "hub",
            "id": "acme/tiny",
            "revision": "0123456789abcdef0123456789abcdef01234567",
            "path": path,
            "files": (
                FileRecord("model.safetensors", 100, "a" * 64),
                FileRecord("config.json", 20, "b" * 64),
            ),
            "served_name": "tiny",
            "mount_root": path,
        }
        return Snapshot(**(values | changes))

    return make


@pytest.fixture
def make_state() -> Callable[..., ServiceState]:
    """A function: what the daemon says of a service's container."""

    def make(name: str = "engine", **changes: Any) -> ServiceState:
        values = {
            "name": name,
            "container_id": f"{name}-0123456789abcdef",
            "state": "running",
            "health": None,
            "exit_code": 0,
            "restart_count": 0,
            "started_at": STARTED,
            "image_id": "sha256:" + "e" * 64,
            "image": f"docker.io/acme/{name}@sha256:" + "d" * 64,
            "config_hash": "c0ffee",
            "error": "",
            "was_oom_killed": False,
            "host_port": None,
        }
        return ServiceState(**(values | changes))

    return make


@pytest.fixture
def make_inspected(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A function: the daemon's inspect document of a container in this state, as `up` of a project makes it."""

    def make(state: ServiceState, project: str = "mine", **changes: Any) -> dict[str, Any]:
        directory = tmp_path / "home/.local/state/stack" / project
        labels = {
            "com.docker.compose.project": project,
            "com.docker.compose.service": state.name,
            "com.docker.compose.config-hash": state.config_hash,
            "com.docker.compose.oneoff": "False",
            "com.docker.compose.project.working_dir": str(directory),
            "dev.stack.project": project,
            "dev.stack.config": "",
        }
        bindings = {"1/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(state.host_port)}]} if state.host_port else {}
        document = {
            "Id": state.container_id,
            "Name": f"/{project}-{state.name}-1",
            "Image": state.image_id,
            "RestartCount": state.restart_count,
            "State": {
                "Status": state.state,
                "ExitCode": state.exit_code,
                "Error": state.error,
                "OOMKilled": state.was_oom_killed,
                "StartedAt": state.started_at.isoformat() if state.started_at else "0001-01-01T00:00:00Z",
                **({"Health": {"Status": state.health}} if state.health else {}),
            },
            "Config": {"Image": state.image, "Labels": labels, "Cmd": None, "Env": []},
            "HostConfig": {"PortBindings": bindings},
            "Mounts": [],
        }
        labels |= changes.pop("labels", {})
        for key, value in changes.items():
            document[key] = document[key] | value if isinstance(value, dict) else value
        return document

    return make

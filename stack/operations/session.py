"""What every operation works with: configuration, folders, the outside world, and where to report."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from stack.assets import asset_path
from stack.config.load import LoadedConfig
from stack.config.lock import LOCK_NAME, Lock, load_lock
from stack.config.places import resolve_cache_dir, resolve_state_dir
from stack.config.schema import StackConfig
from stack.containers import daemon
from stack.containers.compose import ComposeProject, read_compose_version, read_old_compose_version
from stack.containers.layout import Layout
from stack.errors import HostError
from stack.operations.project import ProjectPaths
from stack.operations.write import build_folder_error
from stack.progress import ProgressEvent, Report

logger = logging.getLogger(__name__)

# 2.24 is the first with `!override`; what we use of Compose (create_host_path, config --hash) is older, and
# Debian 13 and Ubuntu 24.04 ship 2.24 or newer.
MIN_COMPOSE = (2, 24)
_LOCK = "lock"


@dataclass(frozen=True)
class Session:
    """One run of the tool on one project.

    Attributes:
        loaded: The configuration with its origins.
        environ: The caller's environment.
        paths: The project's folders.
        report: Where long steps report.
        say: Where a sentence for the user goes.
        connect: Makes a connection to the Docker daemon.
        lock_file: Another lock than the project's, which an experiment writes instead.
        is_held: Whether this run keeps others off the project already, so that its parts do not wait for it.
    """

    loaded: LoadedConfig
    environ: Mapping[str, str]
    paths: ProjectPaths
    report: Report
    say: Callable[[str], None]
    connect: Callable[[], docker.DockerClient] = daemon.connect
    warn: Callable[[str], None] = logger.warning
    lock_file: Path | None = None
    is_held: bool = False

    @property
    def config(self) -> StackConfig:
        """Give the configuration."""
        return self.loaded.config

    @property
    def project(self) -> str:
        """Give the Compose project's name."""
        return self.loaded.config.project

    @property
    def lock_path(self) -> Path:
        """Give the path of stack.lock: beside stack.toml, else in the state."""
        if self.lock_file is not None:
            return self.lock_file
        return self.loaded.path.with_name(LOCK_NAME) if self.loaded.path else self.paths.state / LOCK_NAME


def load_project_lock(session: Session) -> Lock:
    """Read the project's lock; one that an `up` without a stack.toml left in the state is taken over.

    Raises:
        ConfigError: It is damaged, or was written by a newer version.
    """
    kept = session.paths.state / LOCK_NAME
    if not session.lock_path.is_file() and kept.is_file():
        session.say(f"no {LOCK_NAME} beside {session.loaded.path}: the one in {session.paths.state} is taken over")
        return load_lock(kept)
    return load_lock(session.lock_path)


def build_session(
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    report: Report,
    say: Callable[[str], None],
    warn: Callable[[str], None] = logger.warning,
) -> Session:
    """Give the session of a loaded configuration."""
    config = loaded.config
    paths = ProjectPaths(resolve_state_dir(config.project, environ), resolve_cache_dir(config, environ))
    return Session(loaded, environ, paths, report, say, warn=warn)


def check_tools(session: Session) -> docker.DockerClient:
    """Make sure that Docker and Compose v2 can be used, and give a connection.

    Raises:
        HostError: One of them is missing, too old or not allowed.
    """
    client = session.connect()
    version = read_compose_version()
    if version is None:
        old = read_old_compose_version()
        only = f"; only `docker-compose` {old} is here, which cannot read these files" if old else ""
        raise HostError(
            f"Docker Compose v2 is not installed (`docker compose version` fails){only}",
            hint="./scripts/up installs it; or see https://docs.docker.com/compose/install/",
        )
    numbers = tuple(int("".join(filter(str.isdigit, part)) or 0) for part in version.split(".")[:2])
    if numbers < MIN_COMPOSE:
        wanted = ".".join(str(number) for number in MIN_COMPOSE)
        raise HostError(
            f"Docker Compose {version} is too old: {wanted} or newer is needed",
            hint="./scripts/up installs it",
        )
    return client


def has_gpu_runtime(client: docker.DockerClient) -> bool:
    """Tell whether the daemon can give an NVIDIA GPU to a container: its own word, not what is on PATH."""
    info: dict[str, Any] = client.info()
    devices = info.get("DiscoveredDevices") or []
    return "nvidia" in (info.get("Runtimes") or {}) or any("nvidia.com/gpu" in str(device) for device in devices)


def build_project(session: Session, layout: Layout, override: Path | None = None) -> ComposeProject:
    """Give the Compose project of a layout."""
    files = [asset_path("compose", name) for name in layout.compose_files]
    return ComposeProject([*files, override or session.paths.override], session.project, session.paths.state)


@contextmanager
def hold_project(session: Session, doing: str, *, name: str = _LOCK) -> Iterator[None]:
    """Keep other runs of the tool off this project; a second one waits and says for whom.

    The kernel lets go of the lock when the process ends, however it ends.

    Args:
        session: The run of the tool.
        doing: The command, as the one who waits is told.
        name: The lock's file; one of its own keeps off only those who ask for the same.

    Raises:
        HostError: The state directory cannot be made or written.
    """
    if session.is_held and name == _LOCK:
        yield
        return
    descriptor = _open_lock(session.paths.state, name)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            other = other if other.isprintable() else ""
            session.report(ProgressEvent("waiting", f"{other or 'another run'} works on project `{session.project}`"))
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            session.report(ProgressEvent("waiting", "it is done", state="done"))
        with suppress(OSError):
            # On a full or read-only disk nobody learns for whom he waits; the lock itself holds.
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"`stack {doing}` (process {os.getpid()})\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_held_by_others(session: Session) -> bool:
    """Tell whether another run of the tool works on this project now, without waiting for it."""
    if session.is_held or not (session.paths.state / _LOCK).is_file():
        return False
    descriptor = _open_lock(session.paths.state)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def wait_for_others(session: Session, doing: str) -> None:
    """Wait until no other run of the tool works on this project, and say for whom."""
    if (session.paths.state / _LOCK).is_file():
        with hold_project(session, doing):
            pass


def _open_lock(folder: Path, name: str = _LOCK) -> int:
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as err:
        if err.errno == errno.EROFS and path.is_file():
            # What writes nothing else, such as `down`, must work on a file system that lost its writability.
            return os.open(path, os.O_RDONLY)
        raise build_folder_error(Path(err.filename or path), err) from err

"""Where one project keeps what: its folders, and the small facts that outlive one `up`."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stack.operations.write import build_folder_error, write_whole

if TYPE_CHECKING:
    from stack.containers.daemon import ServiceState

STATE_VERSION = 1


@dataclass(frozen=True)
class ProjectPaths:
    """The folders of one project on this machine.

    Attributes:
        state: Everything that the tool remembers, mode 0700.
        cache: The engine's compile caches, writable for the engine alone.
    """

    state: Path
    cache: Path

    @property
    def rendered(self) -> Path:
        """Give the folder of rendered files: the Compose override and what is mounted into containers."""
        return self.state / "rendered"

    @property
    def override(self) -> Path:
        """Give the rendered Compose override."""
        return self.rendered / "compose.override.json"

    @property
    def secrets(self) -> Path:
        """Give the folder of secret files, mode 0700."""
        return self.state / "secrets"

    @property
    def boots(self) -> Path:
        """Give the folder of boot logs."""
        return self.state / "boots"

    @property
    def builds(self) -> Path:
        """Give the folder of the records of images that were built here."""
        return self.state / "builds"

    @property
    def metrics(self) -> Path:
        """Give the world-readable folder from which node-exporter takes the run metrics."""
        return self.state / "metrics"

    @property
    def reports(self) -> Path:
        """Give the world-readable folder of reports, which Prometheus serves below `/user/`."""
        return self.state / "reports"

    @property
    def history(self) -> Path:
        """Give the history's file."""
        return self.state / "history.sqlite"

    @property
    def facts(self) -> Path:
        """Give the file of small facts."""
        return self.state / "state.json"


@dataclass(frozen=True)
class ProjectFacts:
    """Small facts of this machine that outlive one run.

    Attributes:
        ports: The host's port of each published service.
        image_ids: The image ID behind each image that Compose was told, by exactly that name; a digest does
            not survive `docker load` on the classic image store, an ID does.
        left_out: Services that the configuration asks for and that do not run, with the reason.
        last_boot: The engine's last boot, by its number in the history.
        ready_container: The start of the engine that last gave a first token (`<container ID>@<start time>`).
        gpu_test: The image and driver with which the GPU was last tried and found well.
        directory: Where the stack.toml lies that the project was last brought up or loaded with.
        schema_version: Version of this document.
    """

    ports: Mapping[str, int] = field(default_factory=dict)
    image_ids: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    last_boot: int | None = None
    ready_container: str | None = None
    gpu_test: str | None = None
    directory: str | None = None
    schema_version: int = STATE_VERSION


def container_stamp(state: ServiceState) -> str:
    """Give what names one start of one container."""
    started = state.started_at.isoformat() if state.started_at else ""
    return f"{state.container_id}@{started}"


def make_folders(paths: ProjectPaths, engine_uid: int) -> None:
    """Make the project's folders with the modes that the containers need; what is there stays as it is.

    Raises:
        HostError: A folder cannot be made or belongs to somebody else.
    """
    try:
        for path, mode in (
            (paths.state, 0o700),
            (paths.secrets, 0o700),
            (paths.boots, 0o700),
            (paths.rendered, 0o755),
            (paths.metrics, 0o755),
            (paths.reports, 0o755),
        ):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(mode)
        paths.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.geteuid() == 0:
            os.chown(paths.cache, engine_uid, 0)
    except OSError as err:
        raise build_folder_error(Path(err.filename or paths.state), err) from err


def load_facts(path: Path) -> ProjectFacts:
    """Read the small facts; a missing or damaged file gives empty ones, since each can be found again."""
    try:
        document = json.loads(path.read_text())
        if document.get("schema_version") != STATE_VERSION:
            return ProjectFacts()
        return ProjectFacts(
            ports={str(name): int(port) for name, port in document["ports"].items()},
            image_ids={str(name): str(image) for name, image in document["image_ids"].items()},
            left_out={str(name): str(reason) for name, reason in document.get("left_out", {}).items()},
            last_boot=document.get("last_boot"),
            ready_container=document.get("ready_container"),
            gpu_test=document.get("gpu_test"),
            directory=document.get("directory"),
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return ProjectFacts()


def write_facts(path: Path, facts: ProjectFacts) -> None:
    """Write the small facts, whole or not at all."""
    write_whole(path, json.dumps(asdict(facts), indent=2, sort_keys=True) + "\n")


def ensure_secret(paths: ProjectPaths, name: str, *, owner: int | None = None) -> Path:
    """Give the file of a generated secret, making it where none is fit for use; mode 0600 whoever copied it there.

    Raises:
        HostError: It cannot be written, or belongs to somebody else.
    """
    path = paths.secrets / name
    try:
        if not _is_secret(path):
            # Hexadecimal: a key that begins with a hyphen is taken for a flag on somebody's command line.
            write_whole(path, secrets.token_hex(24), mode=0o600, owner=owner)
        path.chmod(0o600)
        if owner is not None and os.geteuid() == 0:
            os.chown(path, owner, 0)
    except OSError as err:
        raise build_folder_error(path, err) from err
    return path


def _is_secret(path: Path) -> bool:
    try:
        return path.is_file() and bool(path.read_text().strip())
    except UnicodeDecodeError:
        return False

"""Which vLLM the engine's container is and which model it serves: read from the container and its image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.containers.ownership import Found
from stack.history.records import BootRecord, CommitLevel
from stack.images.identity import Origin, build_identity
from stack.images.manifests import parse_image_config
from stack.operations.session import Session

_SERVED_NAME = "--served-model-name"


@dataclass(frozen=True)
class EngineStatus:
    """What an engine's container is.

    Attributes:
        commit: The vLLM commit, or None where nothing names one.
        commit_level: What proves it.
        version: vLLM's version, or None.
        model: The model's id.
        revision: Its revision, or None.
        served_name: What clients write as `model`.
        device: `cpu` or `cuda`.
        image_id: The image's ID.
        image_digest: The digest that it was pulled by, or None.
    """

    commit: str | None
    commit_level: CommitLevel
    version: str | None
    model: str
    revision: str | None
    served_name: str | None
    device: str
    image_id: str
    image_digest: str | None


def read_engine(session: Session, found: Found, image: Mapping[str, Any], boot: BootRecord | None) -> EngineStatus:
    """Give what the engine's container is.

    The history is asked only about what it saw itself: how far the commit of this very image was proved, and which
    model stands behind this very command line.

    Args:
        session: The run.
        found: The engine's container.
        image: The daemon's document of its image.
        boot: The last boot that the history knows.
    """
    argv = [str(word) for word in found.attributes["Config"].get("Cmd") or []]
    devices = (found.attributes.get("HostConfig") or {}).get("DeviceRequests")
    model, revision = _read_model(session, found, argv, boot)
    commit, level, version, digest = _read_identity(found, image, boot)
    return EngineStatus(
        commit=commit,
        commit_level=level,
        version=version,
        model=model,
        revision=revision,
        served_name=read_served_name(argv),
        device="cuda" if devices else "cpu",
        image_id=found.state.image_id,
        image_digest=digest,
    )


def read_served_name(argv: Sequence[str]) -> str | None:
    """Give the served model name on an engine's command line."""
    return argv[argv.index(_SERVED_NAME) + 1] if _SERVED_NAME in argv[:-1] else None


def _read_identity(
    found: Found, image: Mapping[str, Any], boot: BootRecord | None
) -> tuple[str | None, CommitLevel, str | None, str | None]:
    if boot is not None and boot.start.image_id == found.state.image_id:
        return boot.start.commit, boot.start.commit_level, boot.start.version, boot.start.image_digest
    # Another image than the history knows: nobody weighed its origin, so its labels are no more than a claim.
    identity = build_identity(parse_image_config(image.get("Config") or {}), Origin("loaded"))
    return identity.commit, identity.level, identity.version, found.state.image.partition("@")[2] or None


def _read_model(session: Session, found: Found, argv: Sequence[str], boot: BootRecord | None) -> tuple[str, str | None]:
    if boot is not None and list(boot.start.args.get("argv", [])) == list(argv):
        return boot.start.model, boot.start.revision
    from stack.models.warm import list_snapshots

    path = argv[0] if argv else ""
    mounted = {mount["Destination"]: mount.get("Source", "") for mount in found.attributes.get("Mounts") or []}
    for snapshot in list_snapshots(session.config.model.volume):
        inside = str(snapshot.path_in_mount)
        target = path if inside == "." else path.removesuffix(f"/{inside}")
        if target in mounted and Path(mounted[target]) == snapshot.mount_root:
            return snapshot.id, snapshot.revision
    return path.rpartition("/")[2].partition("@")[0], None

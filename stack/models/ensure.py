"""The room's one entry: a model reference becomes a verified snapshot on the shared volume."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from stack.errors import ModelError
from stack.models import demo, hub
from stack.models.directory import land_directory
from stack.models.hub_access import is_offline
from stack.models.hub_client import HubClient
from stack.models.reference import DEFAULT_REVISION, ModelReference
from stack.models.snapshot import Snapshot, SnapshotKey, build_snapshot_folder, load_snapshot
from stack.models.transfer import RemoteFile
from stack.models.verify import FileProblem, check_snapshot, settle_touched
from stack.models.volume import Sleep, hold_lock, make_folder, translate_os_errors
from stack.models.warm import list_snapshots
from stack.progress import ProgressEvent, Report


@dataclass(frozen=True)
class _Context:
    volume: Path
    endpoint: str
    token: str | None
    environ: Mapping[str, str]
    report: Report
    sleep: Sleep
    free_bytes: hub.FreeBytes
    offline_reason: str | None
    deep: bool

    def __repr__(self) -> str:
        return f"_Context({self.volume}, {self.endpoint})"


def ensure_snapshot(
    reference: ModelReference,
    *,
    revision: str | None,
    volume: Path,
    endpoint: str,
    token: str | None,
    environ: Mapping[str, str],
    report: Report,
    locked_revision: str | None = None,
    offline_reason: str | None = None,
    deep: bool = False,
    sleep: Sleep = time.sleep,
    free_bytes: hub.FreeBytes = lambda path: shutil.disk_usage(path).free,
) -> Snapshot:
    """Give the model's snapshot, bringing to the volume what is not there, whole and unharmed.

    It is fast, and asks nobody, when the snapshot is there and its revision is known: a full commit hash,
    the locked revision, or the demo model. A file that was cut or changed is said through `report` and
    fetched again; a directory of the user whose files are not the locked ones is refused.

    Args:
        reference: The model.
        revision: A branch, tag or commit of the hub; None for `main`. Other kinds have none.
        volume: The shared volume.
        endpoint: The hub.
        token: The hub's token, never shown.
        environ: The environment for the installer that fetches the demo model, and `HF_HUB_OFFLINE`.
        report: Told every step.
        locked_revision: The revision in the lock, obeyed in place of `revision`.
        offline_reason: Why neither the hub nor a package index may be asked; None where they may.
        deep: Hash every file that is there, instead of comparing sizes, times and inodes only.
        sleep: Waits.
        free_bytes: Tells the free space of a file system.

    Raises:
        ModelError: The model cannot be had, or is not the locked one.
    """
    if offline_reason is None and is_offline(environ):
        offline_reason = "HF_HUB_OFFLINE is set" if reference.kind == "hub" else None
    context = _Context(volume, endpoint, token, environ, report, sleep, free_bytes, offline_reason, deep)
    if reference.kind == "directory":
        return _ensure_directory(reference, revision, locked_revision, context)
    if reference.kind == "demo":
        return _ensure_demo(revision, locked_revision, context)
    return _ensure_hub(reference, locked_revision or revision or DEFAULT_REVISION, context)


def _ensure_directory(
    reference: ModelReference, revision: str | None, locked_revision: str | None, context: _Context
) -> Snapshot:
    if revision is not None and not revision.startswith("sha256:"):
        raise ModelError("a directory has no revision", hint="remove `model.revision`, or name a hub model")
    if reference.path is None:
        raise ModelError(f"`{reference.id}` names no directory")
    path = reference.path.absolute()
    with translate_os_errors(f"cannot write to {context.volume}"):
        make_folder(context.volume)
    snapshot = land_directory(path, volume=context.volume, report=context.report)
    wanted = locked_revision or revision
    if wanted is not None and snapshot.revision != wanted:
        raise ModelError(
            f"the files in {path} are not the locked ones ({snapshot.revision[:19]}…, was {wanted[:19]}…)",
            hint="bring the old files back, or remove the model from stack.lock to accept the new ones",
        )
    return snapshot


def _ensure_demo(revision: str | None, locked_revision: str | None, context: _Context) -> Snapshot:
    for wanted in (locked_revision, revision):
        if wanted not in (None, demo.DEMO_REVISION):
            raise ModelError(
                f"this tool's demo model is {demo.DEMO_REVISION[:19]}…, not {wanted[:19]}…",
                hint="remove `model.revision`, or the model from stack.lock",
            )

    def land(damaged: Snapshot | None) -> Snapshot:
        _refuse_offline(demo.DEMO_KEY.id, demo.DEMO_REVISION, context)
        hub.check_free_space(context.volume, demo.NEEDED_BYTES, context.free_bytes)
        return demo.land_demo(context.volume, environ=context.environ, report=context.report, sleep=context.sleep)

    return _find_or_land(demo.DEMO_KEY, land, context)


def _ensure_hub(reference: ModelReference, revision: str, context: _Context) -> Snapshot:
    listing = None
    commit = revision
    if not hub.is_commit(revision):
        listing = hub.fetch_listing(_build_client(reference.id, revision, context))
        commit = listing.commit

    def land(damaged: Snapshot | None) -> Snapshot:
        nonlocal listing
        client = _build_client(reference.id, revision, context)
        listing = listing or hub.fetch_listing(client)
        if listing.commit != commit:
            raise ModelError(f"{context.endpoint} answers with {listing.commit} when asked for {commit}")
        return hub.land_hub(
            client,
            listing,
            context.volume,
            reuse=_build_reuse(damaged),
            free_bytes=context.free_bytes,
        )

    return _find_or_land(SnapshotKey("hub", reference.id, commit), land, context)


def _build_client(id: str, revision: str, context: _Context) -> HubClient:  # noqa: A002 (the hub's word)
    _refuse_offline(id, revision, context)
    return hub.build_hub_client(
        id,
        revision,
        endpoint=context.endpoint,
        token=context.token,
        report=context.report,
        sleep=context.sleep,
    )


def _find_or_land(key: SnapshotKey, land: Callable[[Snapshot | None], Snapshot], context: _Context) -> Snapshot:
    """Give the snapshot from the volume, else land it under its lock; `land` is told of a damaged one."""
    found, problems = _find(key, context)
    if found is not None and not problems:
        return _say_ready(found, context)
    task = f"model {key.id}"
    with hold_lock(context.volume, key, context.report, task, sleep=context.sleep):
        found, problems = _find(key, context)
        if found is None:
            return land(None)
        if not problems:
            return _say_ready(found, context)
        named = "; ".join(str(problem) for problem in problems)
        context.report(ProgressEvent(task, f"damaged since it landed, fetching again: {named}"))
        return land(_without(found, problems))


def _find(key: SnapshotKey, context: _Context) -> tuple[Snapshot | None, list[FileProblem]]:
    folder = build_snapshot_folder(context.volume, key)
    found = load_snapshot(folder)
    if found is None:
        return None, []
    if found.key != key:
        raise ModelError(
            f"{folder} holds {found.id} at {found.revision}, not {key.id} at {key.revision}",
            hint=f"remove {folder}",
        )
    return settle_touched(context.volume, found, _check(found, context), context.report)


def _check(found: Snapshot, context: _Context) -> list[FileProblem]:
    return check_snapshot(found, deep=context.deep, report=context.report)


def _say_ready(snapshot: Snapshot, context: _Context) -> Snapshot:
    said = f"already on the volume at {snapshot.revision[:19]}"
    context.report(
        ProgressEvent(f"model {snapshot.id}", said, snapshot.size_bytes, snapshot.size_bytes, state="skipped")
    )
    return snapshot


def _without(snapshot: Snapshot, problems: list[FileProblem]) -> Snapshot:
    names = {problem.name for problem in problems}
    return replace(snapshot, files=tuple(record for record in snapshot.files if record.name not in names))


def _build_reuse(damaged: Snapshot | None) -> hub.Reuse:
    """Give what links the unharmed files of a damaged snapshot into the staging folder."""
    unharmed = {record.name: record for record in damaged.files} if damaged else {}

    def reuse(file: RemoteFile, target: Path) -> None:
        if damaged is not None and file.name in unharmed:
            os.link(damaged.path / file.name, target)

    return reuse


def _refuse_offline(id: str, revision: str, context: _Context) -> None:  # noqa: A002 (the hub's word)
    if context.offline_reason is None:
        return
    present = [s.revision for s in list_snapshots(context.volume) if (s.kind, s.id) == ("hub", id)]
    here = f"on the volume: {', '.join(present)}" if present else "none is on the volume"
    raise ModelError(
        f"`{id}` at `{revision}` is not on the volume, or not as it landed, and {context.offline_reason}",
        hint=f"`stack bundle load FILE` brings a model from another machine; with a network, unset that; "
        f"or set `model.revision` to a commit that is there ({here})",
    )

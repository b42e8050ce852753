"""A model of the Hugging Face hub becomes a snapshot on the volume."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from stack.errors import ModelError
from stack.models.hub_client import HubClient
from stack.models.hub_errors import Asked
from stack.models.meter import Meter
from stack.models.selection import Selection, select_files
from stack.models.snapshot import FileRecord, Snapshot, SnapshotKey, is_safe_name
from stack.models.transfer import PART_SUFFIX, RemoteFile, Stopped, fetch_file
from stack.models.volume import Sleep, prepare_staging, publish, translate_os_errors
from stack.progress import ProgressEvent, Report

FreeBytes = Callable[[Path], int]
Reuse = Callable[[RemoteFile, Path], None]

_WORKERS = 4
_SPARE_BYTES = 256 * 1024 * 1024
_COMMIT_LENGTH = 40


@dataclass(frozen=True)
class HubListing:
    """A revision of a model on the hub: its commit and the files that an engine needs."""

    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def size_bytes(self) -> int:
        """Give the size of all files together."""
        return sum(file.size_bytes for file in self.files)


def is_commit(revision: str | None) -> bool:
    """Tell whether a revision is a full commit hash, which never changes its meaning."""
    return bool(revision) and len(revision) == _COMMIT_LENGTH and set(revision) <= set("0123456789abcdef")


def build_hub_client(
    id: str,  # noqa: A002 (the hub's word)
    revision: str,
    *,
    endpoint: str,
    token: str | None,
    report: Report,
    sleep: Sleep = time.sleep,
) -> HubClient:
    """Give a client for one revision of one model."""
    asked = Asked(endpoint.rstrip("/"), id, revision, token is not None)
    return HubClient(asked, token, report, f"model {id}", sleep)


def fetch_listing(client: HubClient) -> HubListing:
    """Ask the hub which commit the revision is, and which files it has.

    Raises:
        ModelError: The hub refuses or does not answer, or the model has no safetensors.
    """
    asked = client.asked
    client.report(ProgressEvent(client.task, f"asking {asked.endpoint} for `{asked.revision}`"))
    api = client.build_api()
    info = client.ask(lambda: api.model_info(asked.id, revision=asked.revision, files_metadata=True))
    if not is_commit(info.sha):
        raise ModelError(f"{asked.endpoint} gives no commit for `{asked.id}` at `{asked.revision}`")
    rows = {row.rfilename: row for row in info.siblings or []}
    if any(row.size is None or row.blob_id is None for row in rows.values()):
        # Some mirrors leave sizes and hashes out of this answer; the tree always has them.
        tree = client.ask(lambda: list(api.list_repo_tree(asked.id, recursive=True, revision=info.sha)))
        rows = {row.path: row for row in tree if hasattr(row, "blob_id")}
    selection = select_files(rows)
    _check_selection(selection, asked)
    files = [
        RemoteFile(name, rows[name].size, rows[name].blob_id, rows[name].lfs.sha256 if rows[name].lfs else None)
        for name in selection.chosen
    ]
    return HubListing(info.sha, tuple(files))


def land_hub(
    client: HubClient,
    listing: HubListing,
    volume: Path,
    *,
    reuse: Reuse = lambda file, target: None,
    free_bytes: FreeBytes = lambda path: shutil.disk_usage(path).free,
) -> Snapshot:
    """Download a listed revision to the volume; the caller holds the snapshot's lock.

    Args:
        client: Who asks the hub.
        listing: What to bring.
        volume: The shared volume.
        reuse: May put an unharmed file of a damaged snapshot in its place.
        free_bytes: Tells the free space of a file system.

    Raises:
        ModelError: The hub refuses, gives wrong bytes or does not answer, or the disk is full.
    """
    asked = client.asked
    key = SnapshotKey("hub", asked.id, listing.commit)
    with translate_os_errors(f"cannot put `{asked.id}` on {volume}"):
        staged = prepare_staging(volume, key)
        for file in listing.files:
            target = staged / file.name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                reuse(file, target)
        _check_space(listing, staged, volume, free_bytes)
        meter = Meter(client.report, client.task, listing.size_bytes, f"{len(listing.files)} files")
        records = _fetch_all(client, listing, staged, meter)
        client.report(ProgressEvent(client.task, "putting the files in place", listing.size_bytes, listing.size_bytes))
        landed = publish(volume, Snapshot("hub", asked.id, listing.commit, staged, records, asked.id, staged))
    client.report(
        ProgressEvent(client.task, f"ready at {listing.commit[:12]}", listing.size_bytes, listing.size_bytes, "done")
    )
    return landed


def _fetch_all(client: HubClient, listing: HubListing, staged: Path, meter: Meter) -> tuple[FileRecord, ...]:
    """Fetch the files side by side; the first failure stops the others."""
    stop = threading.Event()

    def fetch(file: RemoteFile) -> FileRecord:
        if stop.is_set():
            raise Stopped
        url = f"{client.asked.endpoint}/{client.asked.id}/resolve/{listing.commit}/{quote(file.name)}"
        return fetch_file(client, url, file, staged / file.name, on_bytes=meter.add, is_stopped=stop.is_set)

    # Small files first: that a model is gated shows only when a file is asked for.
    ordered = sorted(listing.files, key=lambda file: (file.size_bytes, file.name))
    records = [fetch(ordered[0])] if ordered else []
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="fetch-model") as pool:
        try:
            waiting = [pool.submit(fetch, file) for file in ordered[1:]]
            records += [future.result() for future in as_completed(waiting)]
        except BaseException:
            stop.set()
            raise
    return tuple(sorted(records, key=lambda record: record.name))


def _check_space(listing: HubListing, staged: Path, volume: Path, free_bytes: FreeBytes) -> None:
    present = 0
    for file in listing.files:
        target = staged / file.name
        for path in (target, target.with_name(target.name + PART_SUFFIX)):
            present += path.stat().st_size if path.is_file() else 0
    needed = max(0, listing.size_bytes - present) + _SPARE_BYTES
    check_free_space(volume, needed, free_bytes)


def check_free_space(volume: Path, needed_bytes: int, free_bytes: FreeBytes) -> None:
    """Refuse to begin what cannot end.

    Raises:
        ModelError: The volume has less free space than needed.
    """
    free = free_bytes(volume)
    if free < needed_bytes:
        raise ModelError(
            f"{volume} has {free / 1e9:.1f} GB free, the model needs {needed_bytes / 1e9:.1f} GB more",
            hint="free some space, run `stack warm --prune`, or set `model.volume` to a larger disk",
        )


def _check_selection(selection: Selection, asked: Asked) -> None:
    if unsafe := [name for name in selection.chosen if not is_safe_name(name)]:
        raise ModelError(f"`{asked.id}` lists a file outside of itself: {unsafe[0]!r}")
    if selection.weights:
        return
    formats = sorted({Path(name).suffix for name in selection.other_weights})
    found = f"only {', '.join(formats)}" if formats else "no weights at all"
    raise ModelError(
        f"`{asked.id}` at `{asked.revision}` has no safetensors ({found})",
        hint=f"choose another revision (see {asked.page}/discussions for a conversion) or another model",
    )

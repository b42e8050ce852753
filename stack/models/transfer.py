"""One file from the hub, by ranges, so that what was interrupted goes on where it stopped.

huggingface_hub 2.4.0 throws a partial file away when its process ends (`file_download.py`,
`_download_to_tmp_and_move`) and accepts a body of the right length with wrong bytes; here the partial file
stays beside its place as `<name>.part` and only a file with the hub's hash loses that suffix.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stack.errors import ModelError
from stack.models.hashing import compute_git_blob_sha1, compute_sha256
from stack.models.hub_client import HubClient, can_retry
from stack.models.hub_errors import build_http_model_error, build_transport_model_error, parse_retry_after
from stack.models.snapshot import FileRecord

if TYPE_CHECKING:
    import httpx2

PART_SUFFIX = ".part"

# The hub's storage refuses a plain request for more than 50 GB; a range of a larger file is served.
_RANGE_BYTES = 8 * 1024**3
_IDLE_ATTEMPTS = 5


@dataclass(frozen=True)
class RemoteFile:
    """One file as the hub lists it.

    Attributes:
        name: Its path in the repository.
        size_bytes: Its size.
        blob_id: Git's id of it (of the pointer, for a file in large-file storage).
        sha256: Its hash where the hub knows it: files in large-file storage.
    """

    name: str
    size_bytes: int
    blob_id: str
    sha256: str | None


class Stopped(Exception):
    """Another file of the same snapshot failed, or the user interrupted."""


def fetch_file(
    client: HubClient,
    url: str,
    file: RemoteFile,
    target: Path,
    *,
    on_bytes: Callable[[int], None],
    is_stopped: Callable[[], bool],
) -> FileRecord:
    """Bring one file to `target`, checked against the hub's hash, and give its record.

    A file that is already at `target` was checked when it came. After wrong bytes it is fetched once more.

    Raises:
        ModelError: The hub refuses, does not answer, or gives bytes that are not the file's.
        OSError: The disk refuses.
        Stopped: `is_stopped` said so.
    """
    if target.is_file() and target.stat().st_size == file.size_bytes:
        on_bytes(file.size_bytes)
        return FileRecord(file.name, file.size_bytes, file.sha256 or compute_sha256(target))
    part = target.with_name(target.name + PART_SUFFIX)
    part.parent.mkdir(parents=True, exist_ok=True)
    download = _Download(client, url, file, part, on_bytes, is_stopped)
    for _ in range(2):
        download.run()
        digest = compute_sha256(part)
        if _is_right(file, part, digest):
            with part.open("rb") as stream:
                os.fsync(stream.fileno())
            part.replace(target)
            return FileRecord(file.name, file.size_bytes, digest)
        on_bytes(-part.stat().st_size)
        part.unlink()
    raise ModelError(
        f"{client.asked.endpoint} gave wrong bytes for `{file.name}` of `{client.asked.id}` twice: "
        "the right length, another hash",
        hint="a proxy or mirror may alter downloads; try again, or set `model.endpoint` to the hub itself",
    )


class _Download:
    """The attempts for one file; `self.part` holds what came so far."""

    def __init__(
        self,
        client: HubClient,
        url: str,
        file: RemoteFile,
        part: Path,
        on_bytes: Callable[[int], None],
        is_stopped: Callable[[], bool],
    ) -> None:
        self.client = client
        self.url = url
        self.file = file
        self.part = part
        self.on_bytes = on_bytes
        self.is_stopped = is_stopped

    def run(self) -> None:
        """Fetch until the part has the file's size."""
        import httpx2  # noqa: PLC0415 (slow to import)
        from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

        position = self._begin()
        idle_attempts = 0
        while position < self.file.size_bytes or not self.part.exists():
            before = position
            reason, retry_after_seconds, failure = "the download was cut", None, None
            try:
                self._fetch_range(position)
            except httpx2.RequestError as error:
                failure = build_transport_model_error(error, self.client.asked)
                if isinstance(error, httpx2.TooManyRedirects):
                    raise failure from error
            except HfHubHTTPError as error:
                failure = build_http_model_error(error, self.client.asked)
                reason = f"the hub answers with status {error.response.status_code}"
                retry_after_seconds = parse_retry_after(error.response)
                if not can_retry(error.response, idle_attempts):
                    raise failure from error
            position = self.part.stat().st_size if self.part.exists() else 0
            if position == self.file.size_bytes or (failure is None and position > before):
                continue
            idle_attempts = 0 if position > before else idle_attempts + 1
            if idle_attempts >= _IDLE_ATTEMPTS:
                raise failure or ModelError(f"{self.client.asked.endpoint} gives no more of `{self.file.name}`")
            self.client.wait_to_retry(idle_attempts, f"{self.file.name}: {reason}", retry_after_seconds)

    def _begin(self) -> int:
        """Count what an earlier attempt left, or begin anew when it is too much."""
        size_bytes = self.part.stat().st_size if self.part.exists() else 0
        if size_bytes > self.file.size_bytes:
            self.part.unlink()
            return 0
        self.on_bytes(size_bytes)
        return size_bytes

    def _fetch_range(self, position: int) -> None:
        from huggingface_hub.utils import hf_raise_for_status  # noqa: PLC0415 (slow to import)

        headers = self.client.build_headers()
        if position or self.file.size_bytes > _RANGE_BYTES:
            end = min(position + _RANGE_BYTES, self.file.size_bytes) - 1
            headers["range"] = f"bytes={position}-{end}"
        session = self.client.get_session()
        # Redirects are followed from the hub anew each time: an address at the storage is signed and expires.
        with session.stream("GET", self.url, headers=headers, follow_redirects=True) as response:
            if response.status_code >= 400:
                response.read()
            hf_raise_for_status(response)
            self._write(response, position if response.status_code == 206 else 0)

    def _write(self, response: httpx2.Response, position: int) -> None:
        with self.part.open("r+b" if self.part.exists() else "wb") as stream:
            # A server that ignores ranges begins anew.
            dropped = stream.seek(0, os.SEEK_END) - position
            stream.truncate(position)
            stream.seek(position)
            if dropped:
                self.on_bytes(-dropped)
            room = self.file.size_bytes - position
            for chunk in response.iter_bytes():
                if self.is_stopped():
                    raise Stopped
                piece = chunk[:room]
                stream.write(piece)
                self.on_bytes(len(piece))
                room -= len(piece)
                if len(piece) < len(chunk):
                    # More than was announced is not the file; its hash will tell.
                    return


def _is_right(file: RemoteFile, path: Path, digest: str) -> bool:
    if file.sha256 is not None:
        return digest == file.sha256
    return compute_git_blob_sha1(path) == file.blob_id

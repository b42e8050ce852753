"""One blob from a registry into the archive: checked as it comes, taken up again where it broke off."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import httpx2

from stack.errors import ImageError
from stack.images.archive_layout import Blob
from stack.images.archive_store import CHUNK_BYTES, Archive
from stack.images.reference import ImageReference
from stack.images.registry import Registry
from stack.images.registry_errors import build_status_error, build_transport_error, is_worth_retrying
from stack.progress import ProgressEvent, Report

_LONGEST_PAUSE_SECONDS = 30.0


class Meter:
    """Adds up the bytes of blobs that come side by side.

    Args:
        report: Told the sum.
        task: The step's name.
        total_bytes: Bytes in all.
    """

    def __init__(self, report: Report, task: str, total_bytes: int) -> None:
        self.report, self.task = report, task
        self._total_bytes = total_bytes
        self._completed_bytes = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Count bytes (negative where some are thrown away) and report."""
        with self._lock:
            self._completed_bytes += count
            self.report(ProgressEvent(self.task, "", self._completed_bytes, self._total_bytes))


@dataclass(frozen=True)
class BlobSource:
    """Where the blobs of one image come from, and go to.

    Attributes:
        archive: Where they go to.
        registry: Whom to ask.
        asked: What to ask for.
        meter: Counts their bytes.
        is_stopped: Whether another blob failed or the user interrupted.
        retries: How often a blob is taken up again without a byte of progress.
        sleep: Waits for seconds.
    """

    archive: Archive
    registry: Registry
    asked: ImageReference
    meter: Meter
    is_stopped: Callable[[], bool]
    retries: int
    sleep: Callable[[float], None]


class _StoppedError(Exception):
    """Another blob failed, or the user interrupted; never leaves this module."""


class BlobFetch:
    """The attempts for one blob."""

    def __init__(self, source: BlobSource, blob: Blob) -> None:
        self._source, self._blob = source, blob
        self._position, self._digest = 0, hashlib.sha256()
        self._counted = 0

    def run(self) -> None:
        """Have the blob in the archive.

        Raises:
            ImageError: It cannot be had, or the registry serves other bytes.
            OSError: The disk refuses.
        """
        meter, blob = self._source.meter, self._blob
        with self._source.archive.claim(blob, meter.report, meter.task) as file:
            if file is None:
                meter.add(blob.size_bytes)
                return
            try:
                self._fetch_right(file)
            except _StoppedError:
                return
            self._source.archive.land(blob, file)

    def _fetch_right(self, file: BinaryIO) -> None:
        self._read_partial(file)
        was_begun = self._position > 0
        self._fetch(file)
        if was_begun and not self._is_right():
            # What an earlier run left may be damaged: the registry is blamed only for all of it.
            self._begin_anew(file)
            self._fetch(file)
        if not self._is_right():
            came = f"sha256:{self._digest.hexdigest()}"
            self._begin_anew(file)
            asked = self._source.asked
            raise ImageError(
                f"{asked.registry} serves other bytes for a blob of `{asked}` than it should: "
                f"{self._blob.digest} expected, {came} came",
                hint="do not use this registry or mirror until whoever runs it has explained that",
            )

    def _is_right(self) -> bool:
        return f"sha256:{self._digest.hexdigest()}" == self._blob.digest

    def _read_partial(self, file: BinaryIO) -> None:
        """Hash what an earlier run left; more than all of it is nothing of use."""
        if file.seek(0, os.SEEK_END) > self._blob.size_bytes:
            file.truncate(0)
        file.seek(0)
        while piece := file.read(CHUNK_BYTES):
            self._digest.update(piece)
        self._move(file.tell())

    def _begin_anew(self, file: BinaryIO) -> None:
        file.truncate(0)
        self._digest = hashlib.sha256()
        self._move(0)

    def _fetch(self, file: BinaryIO) -> None:
        """Fetch until the file has the blob's size."""
        attempt, asked = 0, self._source.asked
        while self._position < self._blob.size_bytes:
            before, pause = self._position, None
            try:
                pause = self._fetch_rest(file, attempt)
            except httpx2.HTTPError as err:
                is_stuck = self._position <= before and attempt >= self._source.retries
                if is_stuck or not is_worth_retrying(err):
                    raise build_transport_error(err, asked.registry) from err
            attempt = 0 if self._position > before else attempt + 1
            if attempt > self._source.retries:
                raise ImageError(f"{asked.registry} gives no more of {self._blob.digest} of `{asked}`")
            if self._position < self._blob.size_bytes:
                self._check_stopped()
                self._source.sleep(pause if pause is not None else min(_LONGEST_PAUSE_SECONDS, 0.5 * 2**attempt))

    def _fetch_rest(self, file: BinaryIO, attempt: int) -> float | None:
        """Fetch what is missing, as far as it comes; gives how long to wait where the registry says."""
        source = self._source
        response = source.registry.open_blob(source.asked, self._blob.digest, offset=self._position)
        try:
            if response.status_code == 200:
                self._begin_anew(file)
                self._write(file, response)
            elif response.status_code == 206 and _begins_at(response, self._position):
                self._write(file, response)
            elif response.status_code in (206, 416):
                # It does not go on where we are: the next attempt asks for all of it.
                self._begin_anew(file)
            else:
                pause = source.registry.read_pause(response, attempt)
                if pause is None or attempt >= source.retries:
                    raise build_status_error(response.status_code, str(source.asked), source.asked.registry)
                return pause
        finally:
            response.close()
            file.flush()
        return None

    def _write(self, file: BinaryIO, response: httpx2.Response) -> None:
        for chunk in response.iter_raw():
            self._check_stopped()
            # One byte more than announced is enough to see that these are other bytes.
            piece = chunk[: self._blob.size_bytes + 1 - self._position]
            file.write(piece)
            self._digest.update(piece)
            self._move(self._position + len(piece))
            if self._position > self._blob.size_bytes:
                return

    def _check_stopped(self) -> None:
        if self._source.is_stopped():
            raise _StoppedError

    def _move(self, position: int) -> None:
        self._position = position
        self._source.meter.add(position - self._counted)
        self._counted = position


def _begins_at(response: httpx2.Response, position: int) -> bool:
    return response.headers.get("content-range", "").startswith(f"bytes {position}-")

"""Write records with their answers to a file that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path
from types import TracebackType

from stack.errors import TraceError
from stack.traffic.record import Record, RecordedResponse
from stack.traffic.record_line import render_record


class ResponseWriter:
    """Takes answers in any order and writes them in the order of the records.

    What has come waits beside the file on disk, not in memory. Only this user may read either: they hold prompts.

    Args:
        path: The file to write.

    Raises:
        TraceError: It cannot be written there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[int, tuple[int, int]] = {}
        try:
            if path.is_dir():
                raise TraceError(f"{path} is a folder", hint="name a file for the answers")
            self._waiting = tempfile.TemporaryFile("w+b", dir=path.parent)  # noqa: SIM115
        except OSError as err:
            raise self._describe(err) from err

    def take(self, index: int, record: Record, response: RecordedResponse) -> None:
        """Take the answer to the record at a position.

        Raises:
            TraceError: The disk is full.
        """
        line = render_record(record, response).encode() + b"\n"
        try:
            start = self._waiting.seek(0, os.SEEK_END)
            self._waiting.write(line)
        except OSError as err:
            raise self._describe(err) from err
        self._places[index] = (start, len(line))

    def finish(self) -> None:
        """Put the file in its place, instead of one that is there already.

        Raises:
            TraceError: The disk is full, or the folder is gone.
        """
        temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                for _, (start, length) in sorted(self._places.items()):
                    self._waiting.seek(start)
                    file.write(self._waiting.read(length))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError as err:
            raise self._describe(err) from err
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def __enter__(self) -> ResponseWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.close()

    def _describe(self, err: OSError) -> TraceError:
        return TraceError(f"{self.path} cannot be written: {err.strerror}", hint=f"`df -h '{self.path.parent}'`")

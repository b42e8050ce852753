"""Files of records: OpenAI batch JSONL, with the arrival and the recorded answer beside each request.

Memory: an index of 24 bytes a record (while the file is checked some 150 more), and one line at a time.
"""

from __future__ import annotations

import math
import os
import stat
import weakref
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

from stack.errors import TraceError
from stack.progress import ProgressEvent, Report, ignore
from stack.traffic.record import Record
from stack.traffic.record_line import KNOWN_KEYS, LineError, parse_document, parse_record

MAX_LINE_BYTES = 64 * 2**20
"""Room for some images; a longer line is hardly a line of records, and would have to be held whole."""
_NAMED_PROBLEMS = 50
_REPORT_LINES = 5000
_BUILTIN = Path(__file__).with_name("builtin_records.jsonl")


class RecordFile(Sequence[Record]):
    """The records of a checked file, each read again when it is asked for.

    Attributes:
        path: The file.
        offsets: Each record's arrival in seconds, or None.
        unknown_keys: Keys that are passed over, with the number of lines that have them.
    """

    def __init__(self, path: Path, report: Report = ignore) -> None:
        self.path = path
        self._report = report
        self.unknown_keys: Counter[str] = Counter()
        self._starts, self._lengths = array("q"), array("q")
        self._offsets = array("d")
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as err:
            raise TraceError(f"{path} cannot be read: {err.strerror}") from err
        self._close = weakref.finalize(self, os.close, self._descriptor)
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            self.close()
            raise TraceError(f"{path} is no regular file", hint="write it to a file first: it is read twice")
        self._check()

    @property
    def offsets(self) -> list[float | None]:
        """Give each record's arrival."""
        return [None if math.isnan(offset) else offset for offset in self._offsets]

    def close(self) -> None:
        """Close the file; what forgets to is forgiven when it is gone itself."""
        self._close()

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        try:
            line = os.pread(self._descriptor, self._lengths[index], self._starts[index])
            return parse_record(parse_document(_decode(line)))
        except (OSError, LineError) as err:
            raise TraceError(f"{self.path} was changed while it was read: {err}") from err

    def _check(self) -> None:
        problems: list[str] = []
        count = 0
        names: set[int] = set()
        size_bytes = os.fstat(self._descriptor).st_size
        for number, start, line in _read_lines(self._descriptor):
            if number % _REPORT_LINES == 0:
                self._report(ProgressEvent("replay", "checking the file", start, size_bytes))
            try:
                self._take_line(start, line, names)
            except LineError as err:
                count += 1
                if len(problems) < _NAMED_PROBLEMS:
                    problems.append(f"line {number}: {err}")
        if not problems and not len(self):
            problems.append("it holds no record")
        if problems:
            self.close()
            more = f"\nand {count - len(problems)} more lines" if count > len(problems) else ""
            raise TraceError(
                f"{self.path} cannot be used\n" + "\n".join(problems) + more,
                hint='a line is {"custom_id": …, "method": "POST", "url": "/v1/chat/completions", "body": {…}}',
            )

    def _take_line(self, start: int, line: bytes, names: set[int]) -> None:
        document = parse_document(_decode(line))
        record = parse_record(document)
        # Hashes of 64 bits: a million names collide by chance once in 40 million files.
        name = hash(record.custom_id)
        if name in names:
            raise LineError("`custom_id` stands on an earlier line too")
        names.add(name)
        self.unknown_keys.update(set(document) - KNOWN_KEYS)
        self._starts.append(start)
        self._lengths.append(len(line))
        self._offsets.append(math.nan if record.offset_seconds is None else record.offset_seconds)


def load_records(path: Path, report: Report = ignore) -> RecordFile:
    """Give the records of a file; all lines are checked now, each is read again when it is asked for.

    Args:
        path: The file.
        report: Takes how far the check of a long file is.

    Raises:
        TraceError: Lines that cannot be used, all at once.
    """
    return RecordFile(path, report)


def load_builtin_records(*, is_pooling: bool = False) -> list[Record]:
    """Give the built-in greedy set, for engines that generate or (`is_pooling`) embed."""
    records = load_records(_BUILTIN)
    try:
        return [record for record in records if (record.url == "/v1/embeddings") == is_pooling]
    finally:
        records.close()


def read_offsets(records: Sequence[Record]) -> list[float | None]:
    """Give each record's arrival, of a file without reading it again."""
    return records.offsets if isinstance(records, RecordFile) else [record.offset_seconds for record in records]


def _read_lines(descriptor: int) -> Iterator[tuple[int, int, bytes]]:
    """Give the number, the start and the bytes of each line that is not blank; of one too long, its beginning."""
    number, start = 0, 0
    with os.fdopen(descriptor, "rb", buffering=2**20, closefd=False) as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            length = len(line)
            last = line
            while length > MAX_LINE_BYTES and last and not last.endswith(b"\n"):
                last = file.readline(MAX_LINE_BYTES)
                length += len(last)
            if line.strip():
                yield number, start, line
            start += length


def _decode(line: bytes) -> str:
    if len(line) > MAX_LINE_BYTES:
        raise LineError(f"longer than {MAX_LINE_BYTES // 2**20} MiB")
    try:
        return line.decode("utf-8-sig").strip()
    except UnicodeDecodeError as err:
        raise LineError(f"no UTF-8 (byte {err.start + 1})") from err

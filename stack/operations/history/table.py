"""Runs as a table, and one run in full, as text. Pure.

Each cell has two parts. Where the lines are long enough they stand beside each other, else below each other: nothing is
left out at 80 columns, and a pipe gets one line a run.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Sequence

from stack.history.query import BOOT, Entry
from stack.history.records import BootRecord, compare_phases
from stack.operations.history.document import read_argv, read_checks, read_failed
from stack.operations.history.runs import RunDetail
from stack.operations.paragraphs import wrap_paragraph

Cell = tuple[str, str]

HEADER = ("RUN", "COMMIT", "MODEL", "BOOT", "RESULT")
_GAP = "  "
_MODEL = HEADER.index("MODEL")
_LEAST_MODEL_CHARS = 10
_LEAST_RESULT_CHARS = 18
"""As long as the longest name of a check, so that none is broken."""
_SHORT_DIGITS = 7


def render_table(
    entries: Sequence[Entry], *, width: int | None, now: datetime.datetime, zone: datetime.tzinfo | None = None
) -> list[str]:
    """Give the lines of a table.

    Args:
        entries: The runs.
        width: Characters that a line may have; None for any number, as in a pipe.
        now: The time; what began in its year is told without the year.
        zone: The time zone in which times are told; None for the machine's.
    """
    hosts = {entry.boot.start.host.get("id") for entry in entries if entry.boot is not None} - {None}
    year = now.astimezone(zone).year
    rows = [_build_cells(entry, zone, year, has_hosts=len(hosts) > 1) for entry in entries]
    beside = [[*(" ".join(filter(None, cell)) for cell in row[:-1]), ", ".join(filter(None, row[-1]))] for row in rows]
    widths = [max(map(len, column)) for column in zip(HEADER, *beside, strict=True)]
    if width is None or sum(widths) + len(_GAP) * (len(HEADER) - 1) <= width:
        return [_join(row, widths) for row in (HEADER, *beside)]
    return _render_narrow(rows, width)


def _render_narrow(rows: Sequence[Sequence[Cell]], width: int) -> list[str]:
    columns = list(zip(HEADER, *rows, strict=True))
    widths = [max(len(head), *(len(part) for cell in cells for part in cell)) for head, *cells in columns[:-1]]
    left = width - len(_GAP) * len(widths) - sum(widths) + widths[_MODEL]
    widths[_MODEL] = min(widths[_MODEL], max(left - _LEAST_RESULT_CHARS, _LEAST_MODEL_CHARS))
    rest = max(left - widths[_MODEL], _LEAST_RESULT_CHARS)
    lines = [_join(HEADER, [*widths, rest])]
    for row in rows:
        parts = [[_shorten(part, size) for part in cell] for cell, size in zip(row, widths, strict=False)]
        parts.append([line for part in row[-1] if part for line in wrap_paragraph(part, rest)])
        lines += [_join(line, [*widths, rest]) for line in itertools.zip_longest(*parts, fillvalue="")]
    return lines


def _join(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(cell.ljust(size) for cell, size in zip(cells, widths, strict=True)).rstrip()


def _shorten(text: str, size: int) -> str:
    # The end of a name tells more than its beginning: `-Instruct`, a directory's last part.
    return text if len(text) <= size else f"…{text[len(text) - size + 1 :]}"


def _build_cells(entry: Entry, zone: datetime.tzinfo | None, year: int, *, has_hosts: bool) -> list[Cell]:
    boot, began = entry.boot, entry.started_at.astimezone(zone)
    when = f"{began:%m-%d %H:%M}" if began.year == year else f"{began:%Y-%m-%d}"
    result = describe_result(entry)
    if boot is None:
        return [(entry.name, when), ("", ""), ("", ""), ("", ""), result]
    start = boot.start
    commit = f"{start.commit[:_SHORT_DIGITS]} {start.commit_level}" if start.commit else "unknown"
    model = start.model.rpartition("/")[2] or "unknown"
    host = f" host {start.host['id']}" if has_hosts and "id" in start.host else ""
    took = (_say(boot.total_seconds) if boot.total_seconds is not None else "", _find_slowest(boot) or "")
    return [
        (entry.name, when),
        # The rest of a development version is its commit, which stands beside it.
        (commit, (start.version or "").partition("+")[0]),
        (model, f"@{short_revision(start.revision)} {start.device}{host}"),
        took if entry.kind == BOOT else (f"boot-{boot.id}", ""),
        result,
    ]


def describe_result(entry: Entry) -> Cell:
    """Say how a run ended: a boot by itself and by its smoke, anything else by its verdict."""
    if entry.run is not None:
        said = entry.run.report.get("said")
        return ("passed" if entry.run.passed else "failed", said if isinstance(said, str) else "")
    smoke = ""
    if entry.smoke is not None:
        failed = ", ".join(read_failed(entry.smoke))
        smoke = "smoke passed" if entry.smoke.passed else f"smoke failed: {failed}".removesuffix(": ")
    if entry.kind != BOOT or entry.boot is None:
        return (smoke, "")
    return (entry.boot.outcome or "unfinished", smoke)


def render_run(detail: RunDetail, *, zone: datetime.tzinfo | None = None) -> list[str]:
    """Give the lines of one run: its commit first."""
    entry = detail.entry
    lines = [f"{entry.name}: {', '.join(filter(None, describe_result(entry)))}", ""]
    rows = [("started", entry.started_at.astimezone(zone).isoformat(sep=" ", timespec="seconds"))]
    if entry.boot is not None:
        rows = [*_render_identity(entry.boot), *rows, *_render_places(detail)]
    size = max(len(name) for name, _ in rows)
    lines += [f"{name:<{size}}  {text}" for name, text in rows]
    if entry.boot is not None and entry.boot.phases:
        lines += ["", *_render_phases(entry.boot, detail.earlier)]
    if entry.smoke is not None and read_checks(entry.smoke.report):
        lines += ["", f"smoke-{entry.smoke.id}", *_render_checks(entry)]
    return lines


def short_revision(revision: str | None) -> str:
    """Give the first digits of a revision."""
    return (revision or "unknown").removeprefix("sha256:")[:_SHORT_DIGITS]


def _render_identity(boot: BootRecord) -> list[tuple[str, str]]:
    start = boot.start
    return [
        ("commit", f"{start.commit or 'unknown'} ({start.commit_level})"),
        *([("", start.rests_on)] if start.rests_on else []),
        ("version", start.version or "unknown"),
        ("image", start.image_digest or start.image_id),
        ("model", f"{start.model} @ {start.revision or 'unknown'}"),
        ("device", start.device),
        *([("host", ", ".join(f"{name} {value}" for name, value in start.host.items()))] if start.host else []),
    ]


def _render_places(detail: RunDetail) -> list[tuple[str, str]]:
    start = detail.entry.boot.start if detail.entry.boot is not None else None
    argv = read_argv(detail.entry)
    return [
        *([("args", " ".join(argv))] if argv else []),
        *([("lock", f"sha256 {start.lock_sha256}")] if start is not None and start.lock_sha256 else []),
        *([("log", str(detail.log_path))] if detail.log_path else []),
        *([("related", ", ".join(detail.related))] if detail.related else []),
    ]


def _render_phases(boot: BootRecord, earlier: Sequence[BootRecord]) -> list[str]:
    before = f", beside boot-{earlier[0].id}" if earlier else ""
    total = f"{_say(boot.total_seconds)} " if boot.total_seconds is not None else ""
    lines = [f"phases: {total}in all, caches {boot.cache_state}{before}"]
    for delta in compare_phases(boot.phases, earlier[0].phases if earlier else {}):
        now = _say(delta.seconds) if delta.seconds is not None else "-"
        then = f"  ({_say(delta.previous_seconds)})" if delta.previous_seconds is not None else ""
        lines.append(f"  {delta.phase:<14}{now:>8}{then}")
    return lines


def _render_checks(entry: Entry) -> list[str]:
    checks = read_checks(entry.smoke.report) if entry.smoke is not None else []
    size = max((len(str(item.get("check"))) for item in checks), default=0)
    lines = []
    for item in checks:
        lines.append(f"  {item.get('status', ''):4}  {item.get('check', ''):{size}}  {item.get('message', '')}")
        if item.get("hint") and item.get("status") in ("fail", "warn"):
            lines.append(f"  {'':{size + 6}}  hint: {item['hint']}")
    return lines


def _find_slowest(boot: BootRecord) -> str | None:
    if not boot.phases:
        return None
    phase = max(boot.phases, key=lambda name: boot.phases[name])
    return f"{phase} {_say(boot.phases[phase])}"


def _say(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"

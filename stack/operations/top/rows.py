"""What `stack top` draws: one frame as rows for a terminal of some width and height. Pure.

A row never wraps. What has no room beside flows into the next row of its section, columns of tables go from the right,
and where the terminal is too low the last rows give way, which the last one says.
"""

from __future__ import annotations

from stack.operations.top.run import Frame
from stack.operations.top.sections import Row, build_activity, build_alerts, build_engines, build_gpus, build_latency
from stack.operations.top.words import describe_age, join_lines

_ALERT_ROWS, _TALL_ALERT_ROWS, _TALL = 3, 10, 34


def build_rows(frame: Frame, width: int, height: int | None = None) -> list[Row]:
    """Give a frame as rows.

    Args:
        frame: What was seen.
        width: How many characters a row may have.
        height: How many rows there may be; None takes all.
    """
    most = _ALERT_ROWS if height is not None and height < _TALL else _TALL_ALERT_ROWS
    blocks = [_build_title(frame, width), build_alerts(frame.alerts, frame.at, most)]
    if frame.live is not None:
        blocks += [
            build_activity(frame.live, width),
            build_latency(frame.live, width),
            build_engines(frame.live, width),
        ]
    blocks.append(build_gpus(frame.gpus))
    filled = [block for block in blocks if block]
    rows = [row for place, block in enumerate(filled) for row in ([Row("")] if place > 1 else []) + block]
    return [Row(_crop(row.text, width), row.tone) for row in fit_height(rows, height)]


def fit_height(rows: list[Row], height: int | None) -> list[Row]:
    """Give as many rows as there is room for: blank ones go first, then the last ones."""
    if height is None or len(rows) <= height:
        return rows
    said = [row for row in rows if row.text]
    if len(said) <= height:
        # The blank rows that there is still room for stay where they help most: at the top.
        spare, kept = height - len(said), []
        for row in rows:
            if row.text or spare > 0:
                kept.append(row)
                spare -= not row.text
        return kept
    kept = said[: max(0, height - 1)]
    return [*kept, Row(f"... {len(said) - len(kept)} more rows; a taller terminal or --json shows them", "quiet")]


def _build_title(frame: Frame, width: int) -> list[Row]:
    runs, time = frame.runs, f"{frame.at:%H:%M:%S} UTC"
    room = max(0, width - len(time) - 1)
    version = f"vLLM {runs.version}" if runs.version else "vLLM"
    commit = f"commit {runs.commit[:12]} ({runs.commit_level})" if runs.commit else ""
    told = filter(None, [version, commit, runs.device, _describe_uptime(frame)])
    rows = [
        Row(f"{_crop(f'stack top  {runs.project or frame.url}', room):<{room}} {time}", "title"),
        Row(", ".join(told)),
    ]
    if runs.model is None and frame.live is not None:
        rows.append(Row(", ".join(dict.fromkeys(part.model or "" for part in frame.live.parts))))
    if runs.model:
        revision = f" @ {runs.revision.removeprefix('sha256:')[:12]}" if runs.revision else ""
        served = f", served as `{runs.served_name}`" if runs.served_name else ""
        rows.append(Row(f"{runs.model}{revision}{served}"))
    if runs.project is not None:
        rows.append(_describe_smoke(frame))
    trouble = describe_trouble(frame)
    return rows if trouble is None else [*rows, trouble]


def describe_trouble(frame: Frame) -> Row | None:
    """Give why there are no figures, or only some; None where there are."""
    if frame.silence is not None:
        return Row(f"engine does not answer since {frame.silence.since:%H:%M:%S}: {frame.silence.why}", "bad")
    if frame.live is None or frame.live.total.running is None:
        return Row("the page has none of vLLM's metrics: another service, or --disable-log-stats", "bad")
    if frame.live.restart is not None:
        return Row("engine was started anew since the last look; measuring", "warn")
    return Row("engine sleeps", "warn") if frame.live.total.is_asleep else None


def _describe_uptime(frame: Frame) -> str:
    if frame.live is None:
        return ""
    started = frame.live.started_at
    if started is None and frame.runs.started_at is not None:
        started = frame.runs.started_at.timestamp()
    return f"up {describe_age(frame.at.timestamp() - started)}" if started is not None else ""


def _describe_smoke(frame: Frame) -> Row:
    passed, at = frame.runs.smoke_passed, frame.runs.smoke_at
    if passed is None or at is None:
        return Row("smoke not run since the boot", "quiet")
    age = describe_age((frame.at - at).total_seconds())
    return Row(f"smoke passed {age} ago") if passed else Row(f"smoke FAILED {age} ago", "bad")


def _crop(text: str, width: int) -> str:
    text = join_lines(text)
    return text if len(text) <= width else f"{text[: max(0, width - 3)]}..."[: max(0, width)]

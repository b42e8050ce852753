"""The bench of the history that another is compared with, and what that comes to. Pure but for the reading."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stack.errors import ConfigError, Problem
from stack.history.records import RunRecord
from stack.history.store import History
from stack.telemetry.other_runs import StoredBench
from stack.traffic.bench_compare import Judged, build_interval, describe_interval, judge_figure
from stack.traffic.bench_load import Load, parse_load

KIND, LAST = "bench", "last"
_LOOKED_AT = 200
_REVISION_DIGITS = 12
_RUN = re.compile(r"(?:bench-)?([1-9]\d{0,8})")
# One without a letter is taken for a run's number where there is such a run.
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
THROUGHPUT, LATENCY = "output_tokens_per_second", "e2e_seconds.p50"
COMPARED = (THROUGHPUT, "ttft_seconds.p50", "ttft_seconds.p95", "itl_seconds.p50", LATENCY)


def find_baseline(history: History | None, asked: str, like: Mapping[str, Any]) -> RunRecord | None:
    """Give the run to compare with; None where `last` is asked and nothing like it was run.

    Args:
        history: The history, or None where there is none yet.
        asked: `bench-12`, `12`, `last`, or the first digits of a commit.
        like: What the new run has in common with it: `preset` (None for any), `is_sweep`, `device`, `model`, `host`.

    Raises:
        ConfigError: There is no such run, or it cannot be compared with this one.
    """
    runs = history.list_runs(KIND, _LOOKED_AT) if history is not None else []
    if asked == LAST:
        fit = (run for run in runs if find_obstacle(run.report, like) is None)
        return next((run for run in fit if find_doubt(run.report, run.kind) is None), None)
    is_run, is_commit = _RUN.fullmatch(asked), _COMMIT.fullmatch(asked.lower())
    found = [run for run in runs if is_run and run.id == int(is_run[1])]
    if not found and is_commit:
        found = [run for run in runs if str(_read(run.report, "engine", "commit") or "").startswith(asked.lower())]
    if not is_run and not is_commit:
        said = f"`{asked}` names no bench: that is `last`, `bench-12`, or seven digits of a commit or more"
        raise ConfigError([Problem("--compare", said)], hint="`stack history --kind bench` lists them")
    if not found:
        said = f"the history has no bench {'of commit ' if is_commit else ''}{asked}"
        raise ConfigError([Problem("--compare", said)], hint="`stack history --kind bench` lists them")
    fit = next((run for run in found if find_obstacle(run.report, like) is None), None)
    if fit is None:
        why = find_obstacle(found[0].report, like)
        raise ConfigError([Problem("--compare", f"bench-{found[0].id} cannot be compared with this one: {why}")])
    return fit


def explain_no_baseline(history: History | None, like: Mapping[str, Any]) -> str:
    """Tell why `last` found nothing: what keeps the newest run from being compared."""
    newest = next(iter(history.list_runs(KIND, 1)), None) if history is not None else None
    if newest is None:
        return "no bench is in the history yet"
    name = f"bench-{newest.id}"
    return f"of {name}, the newest: {find_obstacle(newest.report, like) or find_doubt(newest.report, name)}"


def find_obstacle(old: Mapping[str, Any], like: Mapping[str, Any]) -> str | None:
    """Tell why a run cannot be compared with what is asked for now, or None where it can."""
    if like["preset"] is not None and old.get("preset") != like["preset"]:
        return f"its preset is {old.get('preset')}, not {like['preset']}"
    if bool(old.get("sweep")) != like["is_sweep"]:
        return "only one of them is a sweep (--sweep)"
    for name, what in (("device", "device"), ("model", "model"), ("revision", "model's revision")):
        then, now = _read(old, "model" if name in ("model", "revision") else "engine", name), like[name]
        if then != now:
            return f"its {what} is {then}, not {now}"
    then, now = _read(old, "host", "id"), like["host"].get("id")
    if then is None or then != now:
        return f"it ran on another host ({then or 'unknown'}, this one is {now or 'unknown'})"
    return None


def read_load(old: Mapping[str, Any]) -> Load | None:
    """Give the load of a run, or None where another version wrote it otherwise."""
    return parse_load(old.get("load") or {})


def compare_benches(old: RunRecord, new: Mapping[str, Any]) -> dict[str, Any]:
    """Give how two benches compare; the verdict is that of the main figure alone.

    What was asked for decides which that is: tokens a second, or, where requests arrive at a rate of their own, how
    long an answer takes.
    """
    main = find_main_figure(new)
    reason = (
        find_doubt(old.report, f"bench-{old.id}") or find_doubt(new, "this run") or _find_other_load(old.report, new)
    )
    judged = _judge(old.report, new, main, reason)
    return {
        "with": f"bench-{old.id}",
        "commit": _read(old.report, "engine", "commit"),
        "figure": main,
        "verdict": judged.verdict,
        "said": judged.said,
        "repeats_wanted": judged.repeats_wanted,
        # Told, not judged: of five figures one would look like a change every other time.
        "figures": {name: _build_figure(read_values(old.report, name), read_values(new, name)) for name in COMPARED},
    }


def find_main_figure(document: Mapping[str, Any]) -> str:
    """Give the figure that a bench is judged by."""
    is_paced = not document.get("sweep") and (document.get("load") or {}).get("rate") is not None
    return LATENCY if is_paced else THROUGHPUT


def find_doubt(document: Mapping[str, Any], name: str) -> str | None:
    """Tell what makes a run's figures no ground for a verdict, or None."""
    if document.get("failed"):
        return f"{document['failed']} requests of {name} failed"
    if document.get("foreign_requests"):
        return f"the engine had other requests during {name}"
    return None


def list_doubts(document: Mapping[str, Any]) -> Iterator[str]:
    """Give what makes the figures say less than they seem to."""
    count = len(document["repeats"])
    if document["failed"]:
        yield f"{document['failed']} requests failed: {'; '.join(document['errors']) or 'see `stack logs engine`'}"
    if document["foreign_requests"]:
        yield f"the engine had {document['foreign_requests']} requests of others meanwhile: figures are too low"
    if document["is_interrupted"]:
        yield "interrupted: this is what had come until then, and the history does not have it"
    elif count < 3:
        yield "fewer than three repeats tell nothing about noise, and are not compared"


def _find_other_load(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    # Of a sweep each has its own rate: where that lies is the very question.
    left_out = {"rate", "prompts"} if new.get("sweep") else set()
    then, now = ({k: v for k, v in (one.get("load") or {}).items() if k not in left_out} for one in (old, new))
    parted = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
    return f"the loads differ ({', '.join(parted)})" if parted else None


def _judge(old: Mapping[str, Any], new: Mapping[str, Any], name: str, reason: str | None) -> Judged:
    if reason is not None:
        return Judged("no verdict", None, f"no verdict: {reason}")
    return judge_figure(read_values(old, name), read_values(new, name), is_more_better=name == THROUGHPUT)


def read_values(document: Mapping[str, Any], name: str) -> Sequence[float]:
    """Give a figure of each repeat."""
    repeats = document.get("repeats") or []
    return [float(one["figures"][name]) for one in repeats if name in one.get("figures", {})]


def read_stored_bench(report: Mapping[str, Any]) -> tuple[dict[tuple[str, str], float], StoredBench | None]:
    """Give what the run metrics tell of a bench: its latencies, and its speed."""
    figures = report.get("figures") or {}
    latencies = {
        (name, percentile): float(figures[f"{name}_seconds.{percentile}"]["median"])
        for name in ("ttft", "itl", "e2e")
        for percentile in ("p50", "p95", "p99")
        if f"{name}_seconds.{percentile}" in figures
    }
    if THROUGHPUT not in figures:
        return latencies, None
    revision = str(_read(report, "model", "revision") or "unknown").removeprefix("sha256:")[:_REVISION_DIGITS]
    model = f"{_read(report, 'model', 'model')}@{revision}"
    preset = f"{report.get('preset')} sweep" if report.get("sweep") else str(report.get("preset"))
    return latencies, StoredBench(preset, model, float(figures[THROUGHPUT]["median"]))


def _build_figure(old: Sequence[float], new: Sequence[float]) -> dict[str, Any] | None:
    interval = build_interval(old, new)
    if interval is None:
        return None
    told = {name: round(value, 4) for name, value in vars(interval).items()}
    # The ratio is of all pairs: it is not this one's median over that one's.
    return told | {"before": statistics.median(old), "said": describe_interval(interval)}


def _read(document: Mapping[str, Any], part: str, name: str) -> Any:
    return (document.get(part) or {}).get(name)

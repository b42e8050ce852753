"""The document of `stack bench`, and its text. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stack.operations.bench.client import Run
from stack.operations.bench.history import THROUGHPUT, find_main_figure, list_doubts
from stack.operations.bench.plan import Plan, describe_step
from stack.operations.bench.target import BenchTarget
from stack.operations.paragraphs import wrap_paragraph
from stack.traffic.bench_knee import Knee, Step
from stack.traffic.bench_load import build_load_document, describe_load, parse_load
from stack.traffic.bench_result import build_figures, build_repeat_document

SCHEMA_VERSION = 1
HEADER = ["LATENCY", "MEAN", "P50", "P95", "P99", "SPREAD OF P50"]
_LATENCIES = {"ttft": "TTFT", "tpot": "TPOT", "itl": "ITL", "e2e": "E2E"}
_RATES = {
    THROUGHPUT: "output tok/s",
    "total_tokens_per_second": "total tok/s",
    "requests_per_second": "requests/s",
    "good_requests_per_second": "good requests/s",
}
_NAMES = _RATES | {
    f"{key}_seconds.{which}": f"{name} {which}" for key, name in _LATENCIES.items() for which in ("p50", "p95")
}
_WIDTH = 100


def build_document(project: str, target: BenchTarget, preset: str, plan: Plan, runs: Sequence[Run]) -> dict[str, Any]:
    """Give what was measured as JSON says it.

    - `load`: what each repeat sent; `seed`, and the next numbers for later repeats, made its prompts.
    - `repeats`: each run of `vllm bench serve`; `figures`: over them, `median`, `least`, `most`, `spread_ratio`.
      Names end with their unit and statistic: `ttft_seconds.p95`.
    - `good_requests_per_second`: those within every bound of `[slo]`.
    - `sweep`: `steps` with `rate`, and the `knee` with its evidence; the repeats were measured there.
    - `compared`: the run it was compared with, the verdict, and each figure's ratio with its interval; else null.
    - `said`: how it ended, in one line; `run`: its number in the history, null where that does not have it.
    - `foreign_requests`: requests of others that the engine had meanwhile.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "project": project,
        "engine": _build_engine(target),
        "model": {"model": target.engine.model, "revision": target.engine.revision},
        "host": dict(target.host),
        "preset": preset,
        "load": build_load_document(plan.load),
        "seconds": plan.seconds,
        "probe_requests_per_second": plan.answered_per_second,
        "sweep": _build_sweep(plan.steps, plan.knee) if plan.knee is not None else None,
        "repeats": [
            build_repeat_document(run.measured) | {"seed": run.seed, "foreign_requests": run.foreign} for run in runs
        ],
        "figures": build_figures([run.measured for run in runs]),
        "completed": sum(run.measured.completed for run in runs),
        "failed": sum(run.measured.failed for run in runs),
        "errors": list(dict.fromkeys(error for run in runs for error in run.errors)),
        "foreign_requests": sum(run.foreign for run in runs),
    }


def _build_engine(target: BenchTarget) -> dict[str, Any]:
    engine, status = target.engine, target.status
    return {
        "commit": engine.commit,
        "commit_level": engine.commit_level,
        "version": engine.version,
        "image_id": engine.image_id,
        "device": engine.device,
        "served_model": status.served_name,
        "max_model_len": target.max_model_len,
        "boot": status.boot.id if status.boot is not None else None,
    }


def _build_sweep(steps: Sequence[Step], knee: Knee) -> dict[str, Any]:
    return {
        "steps": [vars(step) for step in steps],
        "knee": {"rate": knee.step.rate if knee.step else None, "is_found": knee.is_found, "why": knee.why},
    }


def describe_outcome(document: Mapping[str, Any]) -> str:
    """Give a bench in one line."""
    if not document["repeats"]:
        return "interrupted before the first repeat ended" if document["is_interrupted"] else "nothing was measured"
    figures = document["figures"]
    said = f"{figures[THROUGHPUT]['median']:.4g} output tok/s"
    if "ttft_seconds.p95" in figures:
        said += f", TTFT p95 {figures['ttft_seconds.p95']['median']:.3g} s"
    sweep, compared = document["sweep"], document.get("compared")
    if sweep is not None and sweep["knee"]["rate"] is not None:
        said += f" at the knee of {sweep['knee']['rate']:g} requests/s"
    said += f"; {document['failed']} requests failed" if document["failed"] else ""
    return said + (f"; {compared['verdict']} against {compared['with']}" if compared else "")


def render_rows(document: Mapping[str, Any]) -> list[list[str]]:
    """Give the latencies as rows below `HEADER`: medians over the repeats."""
    figures = document["figures"]
    rows = []
    for key, name in _LATENCIES.items():
        values = [figures.get(f"{key}_seconds.{which}") for which in ("mean", "p50", "p95", "p99")]
        if None not in values:
            middles = [_say_seconds(value["median"]) for value in values if value]
            rows.append([name, *middles, _say_spread(figures[f"{key}_seconds.p50"])])
    return rows


def render_head(document: Mapping[str, Any]) -> list[str]:
    """Give what was measured, and the rates."""
    engine, model = document["engine"], document["model"]
    commit = f"{engine['commit'] or 'unknown commit'} ({engine['commit_level']})"
    load, revision = parse_load(document["load"]), (model["revision"] or "unknown").removeprefix("sha256:")
    lines = [
        f"vLLM {engine['version'] or ''} {commit}".replace("  ", " "),
        f"model  {model['model']} @ {revision[:12]} on {engine['device']}",
        *wrap_paragraph(describe_load(load) if load else "", _WIDTH, f"load   {document['preset']}: ", "       "),
    ]
    if document["sweep"] is not None:
        lines += ["", *_render_sweep(document["sweep"])]
    if document["repeats"]:
        lines += ["", *(_render_rate(document, name) for name in _RATES if name in document["figures"])]
    return lines


def render_tail(document: Mapping[str, Any]) -> list[str]:
    """Give what must be known of the figures, and the comparison; the verdict comes last."""
    return [line for part in _list_notes(document) for line in wrap_paragraph(part, _WIDTH, indent="  ")]


def _list_notes(document: Mapping[str, Any]) -> Iterator[str]:
    yield from list_doubts(document)
    compared = document.get("compared")
    if compared is None:
        return
    yield f"against {compared['with']} (commit {(compared['commit'] or 'unknown')[:12]}), repeats of one boot each:"
    for name, figure in compared["figures"].items():
        if name != compared["figure"] and figure is not None:
            yield f"  {_NAMES[name]}: {figure['said']}"
    yield f"{_NAMES[compared['figure']]}: {compared['said']}"


def _render_sweep(sweep: Mapping[str, Any]) -> list[str]:
    knee = sweep["knee"]
    lines = [describe_step(Step(**step)) for step in sweep["steps"]]
    said = f"knee at {knee['rate']:g} requests a second" if knee["rate"] is not None else "no knee"
    return [*lines, *wrap_paragraph(f"{said}: {knee['why']}", _WIDTH, indent="  ")]


def _render_rate(document: Mapping[str, Any], name: str) -> str:
    figure = document["figures"][name]
    each = ", ".join(f"{one['figures'][name]:.4g}" for one in document["repeats"])
    mark = "" if name != find_main_figure(document) or len(document["repeats"]) < 2 else f"  ({_say_spread(figure)})"
    return f"{_RATES[name]:<16} {figure['median']:>9.4g}   each: {each}{mark}"


def _say_seconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _say_spread(figure: Mapping[str, Any]) -> str:
    ratio = figure["spread_ratio"]
    return "-" if ratio is None else f"spread {ratio:.1%}"

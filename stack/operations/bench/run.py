"""`stack bench`: run `vllm bench serve` of the running engine's image against the stack, and judge its figures."""

from __future__ import annotations

import datetime
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.containers.one_shot import remove_leftovers
from stack.errors import ConfigError, Problem, StackError
from stack.history.records import RunRecord
from stack.operations.annotations.send import annotate_run
from stack.operations.bench.client import TASK, BenchClient, Run
from stack.operations.bench.document import build_document, describe_outcome
from stack.operations.bench.history import (
    KIND,
    compare_benches,
    explain_no_baseline,
    find_baseline,
    read_load,
)
from stack.operations.bench.plan import Plan, describe_time, plan_bench, soak_seconds
from stack.operations.bench.target import BenchTarget, read_target
from stack.operations.history.open import open_project_history
from stack.operations.run_metrics import write_metrics
from stack.operations.session import Session, hold_project, wait_for_others
from stack.operations.write import demand_writable, write_whole
from stack.progress import ProgressEvent
from stack.traffic.bench_load import Load, build_load, describe_load

DEFAULT_PRESET = "chat"
_LOCK = "bench.lock"


@dataclass(frozen=True)
class BenchOptions:
    """What was asked for.

    Attributes:
        preset: The name of the load, or None for that of the run it is compared with, else `chat`.
        repeats: How often the load is measured.
        seconds: About how long one repeat takes.
        rate: Requests a second that arrive, whether others were answered or not; None: so many are kept under way.
        is_sweep: Whether the rate is raised to the knee, and measured there.
        minutes: How long a soak takes in all, or None for the preset's own.
        compare: A run's number, `last` or a commit to compare with, or None.
        save_path: Where the document is written too, or None.
    """

    preset: str | None = None
    repeats: int = 3
    seconds: float = 30.0
    rate: float | None = None
    is_sweep: bool = False
    minutes: float | None = None
    compare: str | None = None
    save_path: Path | None = None


def run(session: Session, options: BenchOptions) -> dict[str, Any]:
    """Measure the running engine and give the document: `is_passed`, `figures`, `compared`, `run` (its number).

    An interrupt ends it: what was measured until then is in the document, and not in the history.

    Raises:
        ConfigError: There is nothing that it can be compared with as asked.
        NotRunningError: No engine runs.
        ServiceApiError: It does not answer.
        CommandError: The client could not be run, or gave no result.
        StackError: The document could not be written where it should be.
    """
    if options.save_path is not None:
        demand_writable(options.save_path)
    wait_for_others(session, TASK)
    with hold_project(session, TASK, name=_LOCK):
        for name in remove_leftovers(session.connect(), session.project, TASK):
            session.say(f"removed the container {name}, which a killed run left")
        target = read_target(session)
        baseline = _find_baseline(session, target, options)
        document = _measure(session, target, options, baseline)
    if options.save_path is not None:
        write_whole(options.save_path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        session.say(f"the document is in {options.save_path}")
    return document


def _measure(
    session: Session, target: BenchTarget, options: BenchOptions, baseline: RunRecord | None
) -> dict[str, Any]:
    preset = options.preset or (baseline.report["preset"] if baseline is not None else DEFAULT_PRESET)
    started, began = datetime.datetime.now(datetime.UTC), time.monotonic()
    # Another one each time: the engine would know prompts that it has seen, and answer them from its cache.
    seed = int(started.timestamp()) % 1_000_000 * 1000
    client = BenchClient(session, target, _read_bounds(session))
    load = _choose_load(session, target, options, preset, baseline)
    seconds = soak_seconds(preset, options.minutes, options.repeats, options.seconds)
    if baseline is not None and load.prompts:
        # A closed loop without a probe has no other sign of how long it takes.
        taken = [one["duration_seconds"] for one in baseline.report["repeats"]]
        seconds = float(max(baseline.report["seconds"], *taken))
    runs: list[Run] = []
    plan, is_interrupted = Plan(load, seconds), False
    try:
        plan = plan_bench(
            client, load, preset=preset, seconds=seconds, is_sweep=options.is_sweep, seed=seed, say=session.say
        )
        session.say(f"repeats: {options.repeats}, {describe_time(options.repeats, plan.repeat_seconds)}")
        for number in range(options.repeats):
            said = f"repeat {number + 1} of {options.repeats}"
            runs.append(client.run(plan.load, seed=seed + number, said=said, seconds=plan.repeat_seconds))
    except KeyboardInterrupt:
        is_interrupted = True
    document = build_document(session.project, target, preset, plan, runs)
    document |= {"seed": seed, "duration_seconds": round(time.monotonic() - began, 3), "is_interrupted": is_interrupted}
    has_all = runs and not is_interrupted
    document |= _judge(document, None)
    # What took so long is kept before it is compared: nothing that comes later can lose it.
    number = _note(session, target, started, document) if has_all else None
    if baseline is not None and has_all:
        document |= _judge(document, compare_benches(baseline, document))
    if number is not None:
        _publish(session, number, started, document)
    document["run"] = number
    session.report(ProgressEvent(TASK, document["said"], state="done" if document["is_passed"] else "failed"))
    return document


def _find_baseline(session: Session, target: BenchTarget, options: BenchOptions) -> RunRecord | None:
    if options.compare is None:
        return None
    like = {
        "preset": options.preset,
        "is_sweep": options.is_sweep,
        "device": target.engine.device,
        "model": target.engine.model,
        "revision": target.engine.revision,
        "host": target.host,
    }
    history = open_project_history(session) if session.paths.history.is_file() else None
    found = find_baseline(history, options.compare, like)
    if found is None:
        session.say(f"nothing to compare with: {explain_no_baseline(history, like)}")
    else:
        session.say(f"compared with bench-{found.id} of {found.started_at:%Y-%m-%d %H:%M} UTC")
    return found


def _choose_load(
    session: Session, target: BenchTarget, options: BenchOptions, preset: str, baseline: RunRecord | None
) -> Load:
    """Give the load; of a run that it is compared with the very same, so that nothing but the engine differs."""
    told = read_load(baseline.report) if baseline is not None else None
    if baseline is not None and told is not None and not options.is_sweep and options.rate in (None, told.rate):
        if target.max_model_len is not None and told.context_tokens > target.max_model_len:
            raise _build_misfit(baseline, told, target.max_model_len)
        session.say(f"as it was measured then: {describe_load(told)}")
        return told
    load = build_load(preset, target.engine.device, target.max_model_len, options.rate)
    whole = build_load(preset, target.engine.device, None, options.rate)
    if load != whole:
        session.say(
            f"{preset} is made shorter, to fit the engine's {target.max_model_len} tokens: {describe_load(load)}"
        )
    return load


def _build_misfit(baseline: RunRecord, told: Load, max_model_len: int) -> ConfigError:
    said = (
        f"a request of bench-{baseline.id} takes {told.context_tokens} tokens with its answer, "
        f"and this engine has room for {max_model_len}"
    )
    hint = "raise `engine.args.max-model-len`, or measure without --compare: the load is then made to fit"
    return ConfigError([Problem("--compare", said)], hint=hint)


def _read_bounds(session: Session) -> dict[str, float]:
    """Give the longest good latencies of `[slo]`, as vLLM names them; its goodput counts what keeps to all of them."""
    slo = session.config.slo
    return {"ttft": slo.ttft.seconds, "tpot": slo.itl.seconds, "e2el": slo.e2e.seconds} if slo.enabled else {}


def _judge(document: dict[str, Any], compared: dict[str, Any] | None) -> dict[str, Any]:
    sweep = document["sweep"]
    is_slower = compared is not None and compared["verdict"] == "slower"
    has_knee = sweep is None or sweep["knee"]["rate"] is not None
    is_passed = bool(document["repeats"]) and not (
        document["is_interrupted"] or document["failed"] or is_slower or not has_knee
    )
    judged = {"compared": compared, "is_passed": is_passed}
    return judged | {"said": describe_outcome(document | judged)}


def _note(session: Session, target: BenchTarget, started: datetime.datetime, document: dict[str, Any]) -> int | None:
    boot_id = target.status.boot.id if target.status.boot is not None else None
    try:
        return open_project_history(session).note_run(KIND, started, boot_id, document["is_passed"], document)
    except StackError as err:
        # The result stands without it.
        session.say(f"this bench is not in the history: {err.message}")
        return None


def _publish(session: Session, number: int, started: datetime.datetime, document: dict[str, Any]) -> None:
    try:
        history = open_project_history(session)
        if document["compared"] is not None:
            history.revise_run(number, document["is_passed"], document)
        write_metrics(session, history)
    except StackError as err:
        session.say(f"bench-{number} is not compared in the history, or not in the metrics: {err.message}")
    annotate_run(
        session,
        kind=KIND,
        title=f"bench {document['preset']}: {'passed' if document['is_passed'] else 'failed'}",
        text=document["said"],
        tags=[str(document["preset"])],
        started=started,
        ended=datetime.datetime.now(datetime.UTC),
    )

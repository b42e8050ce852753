"""`stack demo`: mixed traffic against the running engine, so that every panel moves."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from stack.errors import NotRunningError, StackError
from stack.operations.access import read_api_key
from stack.operations.annotations.kinds import annotate_demo
from stack.operations.demo.measure import Measured, measure
from stack.operations.demo.report import build_checks
from stack.operations.demo.tally import DemoTally
from stack.operations.demo.tour import render_tour
from stack.operations.demo.watch import DemoWatch, wait_idle
from stack.operations.diagnose.around import read_max_num_seqs
from stack.operations.history.open import open_project_history
from stack.operations.run_metrics import write_metrics
from stack.operations.session import Session, wait_for_others
from stack.operations.status.read import Status, read_status
from stack.progress import ProgressEvent
from stack.telemetry.exposition import Exposition, fetch_exposition
from stack.traffic.demo_phases import PHASES
from stack.traffic.demo_plan import DemoPlan, Limits, build_plan
from stack.traffic.demo_texts import load_demo_texts
from stack.traffic.record import Record
from stack.traffic.replay_client import Observation, ReplayState, ReplayTarget, replay
from stack.traffic.response_file import ResponseWriter
from stack.traffic.schedule import build_schedule

SCHEMA_VERSION = 1
_TASK = "demo"
_REPORT_SECONDS = 5.0
_ANSWER_SECONDS = 120.0
_IDLE_SECONDS = 10.0
# However long the measuring took, every phase is seen.
_LEAST_SHARE = 0.5


@dataclass(frozen=True)
class DemoOptions:
    """What was asked for.

    Attributes:
        minutes: How long, the measuring before it included.
        seed: The same engine speed and seed give the same requests at the same times.
        save_path: Where requests and answers are written as a trace, or None.
    """

    minutes: float = 2.0
    seed: int = 0
    save_path: Path | None = None


def run(
    session: Session, options: DemoOptions, *, show: Callable[[Sequence[str]], None] = lambda lines: None
) -> dict[str, Any]:
    """Run the demo and give its document; an interrupt ends it, and what had come until then is in the document.

    Args:
        session: The run of the tool.
        options: What was asked for.
        show: Takes the lines that say what to look at, before it begins.

    Raises:
        NotRunningError: No engine runs.
        ServiceApiError: It does not answer, or gives no text.
        TraceError: The trace cannot be written.
    """
    wait_for_others(session, _TASK)
    status = read_status(session)
    if not status.is_serving or "engine" not in status.ports:
        raise NotRunningError("engine", session.project)
    target = ReplayTarget(
        f"http://127.0.0.1:{status.ports['engine']}",
        api_key=read_api_key(session.config, session.paths),
        asks_scores=False,
        timeout_seconds=_ANSWER_SECONDS,
    )
    started, began = datetime.datetime.now(datetime.UTC), time.monotonic()
    with ExitStack() as held:
        # A file that cannot be written is said before anything is sent.
        writer = held.enter_context(ResponseWriter(options.save_path)) if options.save_path else None
        http = held.enter_context(closing(httpx2.Client(trust_env=False)))
        measured = measure(session, status, target, nonce=int(started.timestamp()))
        plan = _build_plan(status, options, measured, time.monotonic() - began)
        show(render_tour(plan.spans, _find_urls(status)))
        tally, state = DemoTally(plan), ReplayState()
        is_interrupted = _send(session, target, plan, tally, state, writer, http)
        left = wait_idle(lambda: _fetch(http, target), _IDLE_SECONDS)
        if writer is not None:
            _finish(session, writer, is_whole=not is_interrupted and not state.gave_up)
    document = _build_document(session, status, options, measured, state)
    document |= tally.build_document() | {
        "left_running": left,
        "gave_up": state.gave_up,
        "is_interrupted": is_interrupted,
        "duration_seconds": round(time.monotonic() - began, 3),
    }
    document["is_passed"] = tally.is_passed and not state.gave_up and not is_interrupted
    _note(session, status, started, document)
    return document


def _build_plan(status: Status, options: DemoOptions, measured: Measured, spent_seconds: float) -> DemoPlan:
    asked = options.minutes * 60
    argv = [str(word) for word in status.found["engine"].attributes["Config"].get("Cmd") or []]
    limits = Limits(max(asked - spent_seconds, _LEAST_SHARE * asked), options.seed, read_max_num_seqs(argv))
    return build_plan(PHASES, measured.engine, measured.pace, limits, load_demo_texts())


def _send(
    session: Session,
    target: ReplayTarget,
    plan: DemoPlan,
    tally: DemoTally,
    state: ReplayState,
    writer: ResponseWriter | None,
    http: httpx2.Client,
) -> bool:
    """Send all; tell whether an interrupt ended it."""
    told = time.monotonic()

    def describe() -> str:
        failed = tally.whole.outcomes["failed"]
        return f"{state.ended} of {state.total} requests ended" + (f", {failed} failed" if failed else "")

    def tell(at: int) -> None:
        phase = plan.spans[at].phase
        session.report(ProgressEvent(_TASK, f"{phase.name}: {phase.does}; {describe()}"))

    def take(record: Record, observation: Observation) -> None:
        nonlocal told
        tally.take(observation)
        if writer is not None:
            writer.take(observation.index, record, observation.response)
        if time.monotonic() - told >= _REPORT_SECONDS:
            told = time.monotonic()
            session.report(ProgressEvent(_TASK, describe()))

    is_interrupted = False
    try:
        with DemoWatch(plan, tally.peaks, lambda: _fetch(http, target), tell):
            replay(target, plan, schedule=build_schedule(plan.offsets), take=take, state=state)
    except KeyboardInterrupt:
        is_interrupted = True
    session.report(ProgressEvent(_TASK, describe(), state="failed" if is_interrupted else "done"))
    return is_interrupted


def _fetch(http: httpx2.Client, target: ReplayTarget) -> Exposition:
    return fetch_exposition(http, f"{target.base_url}/metrics", timeout_seconds=2.0)


def _find_urls(status: Status) -> dict[str, str]:
    watchers = [one for one in status.services if one.name in ("grafana", "prometheus") and one.state == "running"]
    return {one.name: one.url for one in watchers if one.url is not None}


def _finish(session: Session, writer: ResponseWriter, *, is_whole: bool) -> None:
    if not is_whole:
        session.say(f"{writer.path} is not written: not every request came to an end")
        return
    writer.finish()
    session.say(f"requests and answers are in {writer.path}: `stack replay {writer.path}` sends them again")


def _build_document(
    session: Session, status: Status, options: DemoOptions, measured: Measured, state: ReplayState
) -> dict[str, Any]:
    engine, pace = status.engine, measured.pace
    return {
        "schema_version": SCHEMA_VERSION,
        "project": session.project,
        "engine": {
            "commit": engine.commit if engine else None,
            "served_model": measured.engine.model,
            "boot": status.boot.id if status.boot else None,
        },
        "minutes": options.minutes,
        "seed": options.seed,
        "pace": {
            "route": measured.engine.route,
            "max_model_len": measured.engine.max_model_len,
            "itl_seconds": round(pace.itl_seconds, 6),
            "loaded_itl_seconds": round(pace.loaded_itl_seconds, 6),
            "tokens_per_second": round(pace.tokens_per_second, 3),
            "prefill_tokens_per_second": round(pace.prefill_tokens_per_second, 3),
        },
        "records": {"total": state.total, "sent": state.sent, "ended": state.ended},
    }


def _note(session: Session, status: Status, started: datetime.datetime, document: dict[str, Any]) -> None:
    try:
        history = open_project_history(session)
        boot_id = status.boot.id if status.boot is not None else None
        report = {**document, "checks": build_checks(document)}
        history.note_run(_TASK, started, boot_id, document["is_passed"], report)
        write_metrics(session, history)
        annotate_demo(session, document, started)
    except StackError as err:
        # The result stands without it.
        session.say(f"this demo is not in the history, or not in the metrics: {err.message}")

"""`stack replay`: send recorded requests to the running engine, and compare what comes back."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

from stack.checks.near_tie import compare_greedy
from stack.errors import NotRunningError, StackError
from stack.operations.access import read_api_key
from stack.operations.annotations.kinds import annotate_replay
from stack.operations.engine_client import build_engine
from stack.operations.history.open import open_project_history
from stack.operations.replay.options import ReplayOptions, build_replay_schedule, describe_schedule
from stack.operations.replay.report import SCHEMA_VERSION, Tally
from stack.operations.run_metrics import write_metrics
from stack.operations.session import Session, wait_for_others
from stack.operations.status.read import Status, read_status
from stack.progress import ProgressEvent
from stack.traffic.comparison import compare_record
from stack.traffic.engine_http import EngineApiError
from stack.traffic.record import Record
from stack.traffic.record_file import RecordFile, load_records
from stack.traffic.replay_client import Observation, ReplayState, ReplayTarget, replay
from stack.traffic.response_file import ResponseWriter
from stack.traffic.schedule import Schedule

_REPORT_SECONDS = 5.0
_HISTORY_ROWS = 50


def run(session: Session, options: ReplayOptions) -> dict[str, Any]:
    """Replay a file and give the report; an interrupt ends it, and what had come until then is in the report.

    Raises:
        TraceError: The file cannot be used, or the answers cannot be written.
        NotRunningError: No engine runs.
        ServiceApiError: It does not answer at all.
    """
    with ExitStack() as held:
        records = held.enter_context(closing(load_records(options.path, session.report)))
        schedule = build_replay_schedule(options, records)
        _say_what_is_passed_over(session, records)
        wait_for_others(session, "replay")
        status = read_status(session)
        if not status.is_serving or "engine" not in status.ports:
            raise NotRunningError("engine", session.project)
        target = build_target(session, status, options)
        writer = held.enter_context(ResponseWriter(options.save_path)) if options.save_path else None
        started, began = datetime.datetime.now(datetime.UTC), time.monotonic()
        tally, state = Tally(with_texts=options.with_texts), ReplayState()
        session.report(ProgressEvent("replay", f"{len(records)} requests, {describe_schedule(schedule, options)}"))
        is_interrupted = _send(session, target, records, schedule, tally, state, writer)
        if not tally.is_answered and not is_interrupted:
            raise EngineApiError(target.base_url, "none of the requests was answered", hint="`stack logs engine`")
        if writer is not None:
            _finish(session, writer, state, is_interrupted)
    document = _build_document(session, status, options, schedule, state, tally, target)
    document |= {"duration_seconds": round(time.monotonic() - began, 3), "is_interrupted": is_interrupted}
    document["is_passed"] = _judge(document, tally, options)
    _note(session, status, started, document)
    return document


def _send(
    session: Session,
    target: ReplayTarget,
    records: RecordFile,
    schedule: Schedule,
    tally: Tally,
    state: ReplayState,
    writer: ResponseWriter | None,
) -> bool:
    """Send all and compare each answer as it comes; tell whether an interrupt ended it."""
    tell = _Teller(session, state, tally)

    def take(record: Record, observation: Observation) -> None:
        tally.take(compare_record(record, record.response, observation.response, compare_greedy), observation)
        if writer is not None:
            writer.take(observation.index, record, observation.response)
        tell()

    is_interrupted = False
    try:
        replay(target, records, schedule=schedule, take=take, state=state)
    except KeyboardInterrupt:
        is_interrupted = True
    session.report(ProgressEvent("replay", tell.describe(), state="failed" if is_interrupted else "done"))
    return is_interrupted


def build_target(session: Session, status: Status, options: ReplayOptions) -> ReplayTarget:
    """Give the running engine as a target, with the model names that it serves.

    Raises:
        ServiceApiError: It does not answer.
    """
    port = status.ports["engine"]
    with closing(build_engine(session, port, status.served_name)) as engine:
        served = [card.id for card in engine.fetch_models()]
    return ReplayTarget(
        f"http://127.0.0.1:{port}",
        api_key=read_api_key(session.config, session.paths),
        served_model=options.served_model or status.served_name or next(iter(served), None),
        known_models=frozenset() if options.served_model else frozenset(served),
        asks_scores=options.asks_scores,
        timeout_seconds=options.timeout_seconds,
    )


def _say_what_is_passed_over(session: Session, records: RecordFile) -> None:
    if records.unknown_keys:
        named = ", ".join(f"`{key}` ({count})" for key, count in records.unknown_keys.most_common(5))
        session.say(f"keys that mean nothing here are passed over: {named}")


class _Teller:
    """Says how far a replay is, at most every few seconds."""

    def __init__(
        self, session: Session, state: ReplayState, tally: Tally, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._session, self._state, self._tally, self._clock = session, state, tally, clock
        self._told = clock()

    def __call__(self) -> None:
        if self._clock() - self._told >= _REPORT_SECONDS:
            self._told = self._clock()
            self._session.report(ProgressEvent("replay", self.describe()))

    def describe(self) -> str:
        state, counts = self._state, self._tally.counts
        bad = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("differs", "failed") if counts[verdict])
        return f"{state.ended} of {state.total} answered" + (f", {bad}" if bad else "")


def _finish(session: Session, writer: ResponseWriter, state: ReplayState, is_interrupted: bool) -> None:
    if is_interrupted or state.gave_up:
        session.say(f"{writer.path} is not written: not every request came to an end")
        return
    writer.finish()
    session.say(f"requests and answers are in {writer.path}; it holds prompts")


def _build_document(
    session: Session,
    status: Status,
    options: ReplayOptions,
    schedule: Schedule,
    state: ReplayState,
    tally: Tally,
    target: ReplayTarget,
) -> dict[str, Any]:
    engine = status.engine
    return {
        "schema_version": SCHEMA_VERSION,
        "file": str(options.path),
        "project": session.project,
        "engine": {
            "commit": engine.commit if engine else None,
            "served_model": status.served_name,
            "boot": status.boot.id if status.boot else None,
        },
        "schedule": {
            "kind": schedule.kind,
            "said": describe_schedule(schedule, options),
            "speed": options.speed or 1.0,
            "concurrency": schedule.concurrency,
        },
        "records": {"total": state.total, "sent": state.sent, "ended": state.ended},
        "renamed": dict(state.renamed),
        "served_model": target.served_model,
        "asks_scores": target.asks_scores,
        "max_latency_ratio": options.max_latency_ratio,
        "gave_up": state.gave_up,
        **tally.build_document(),
    }


def _judge(document: dict[str, Any], tally: Tally, options: ReplayOptions) -> bool:
    ratio, largest = tally.find_latency_ratio(), options.max_latency_ratio
    is_slow = largest is not None and ratio is not None and ratio > largest
    return tally.is_passed and not is_slow and not document["gave_up"] and not document["is_interrupted"]


def _note(session: Session, status: Status, started: datetime.datetime, document: dict[str, Any]) -> None:
    kept = [{key: value for key, value in row.items() if key != "texts"} for row in document["rows"][:_HISTORY_ROWS]]
    left_out = document["rows_left_out"] + len(document["rows"]) - len(kept)
    try:
        history = open_project_history(session)
        boot_id = status.boot.id if status.boot is not None else None
        report = {**document, "rows": kept, "rows_left_out": left_out}
        history.note_run("replay", started, boot_id, document["is_passed"], report)
        write_metrics(session, history)
        annotate_replay(session, document, started)
    except StackError as err:
        # The result stands without it.
        session.say(f"this replay is not in the history, or not in the metrics: {err.message}")

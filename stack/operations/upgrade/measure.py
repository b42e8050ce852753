"""Measure the engine that runs: answers, scores, metrics and speed, in the same way before and after a change."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

from stack.assets import asset_path
from stack.checks.report import build_document
from stack.errors import NotRunningError, ServiceApiError
from stack.operations.access import read_api_key
from stack.operations.engine_client import build_engine
from stack.operations.session import Session
from stack.operations.smoke import run as smoke
from stack.operations.status.read import Status, read_status
from stack.operations.upgrade.compare import Measured
from stack.operations.upgrade.metrics import Query, build_inventory, list_panels, parse_rules
from stack.operations.upgrade.speed import Speed, run_load
from stack.progress import ProgressEvent
from stack.telemetry.contract.inventory import Inventory, mark_later
from stack.telemetry.contract.kept import load_kept_inventories
from stack.telemetry.contract.load import load_query_file
from stack.telemetry.exposition import Exposition, parse_exposition
from stack.traffic.record import Record, RecordedResponse
from stack.traffic.replay_client import ReplayTarget, replay
from stack.traffic.schedule import build_schedule

_RUNNING = "vllm:num_requests_running"
_LOOKS_AGAIN_SECONDS = (0.3, 0.7, 2.0)
_TASK = "measure"
# Of the built-in set each answer is its own batch, so that nothing but the engine makes a difference; a file may hold
# thousands, and where batches move a score, a near tie is told apart.
_CONCURRENCY = 8
_FEW = 32
# The service is away from its users while the new engine is measured.
_TIMEOUT_SECONDS = 120.0


def run_smoke(session: Session) -> dict[str, Any]:
    """Give the report of a smoke test of the engine that runs, as JSON.

    Raises:
        StackError: It cannot be tested.
    """
    return build_document(smoke.run(session))


def measure_engine(
    session: Session,
    report: Mapping[str, Any],
    records: Sequence[Record],
    *,
    is_pooling: bool = False,
    is_brief: bool = False,
) -> Measured:
    """Measure the engine that runs.

    Args:
        session: The run.
        report: The report of its smoke test.
        records: What is sent to it.
        is_pooling: Whether it embeds, and so generates nothing.
        is_brief: Send nothing more: what smoke found is enough.

    Raises:
        NotRunningError: It does not run.
        StackError: It does not answer, or not in a way that can be read.
    """
    status = read_status(session)
    if not status.is_serving or status.boot is None:
        raise NotRunningError("engine", session.project)
    if is_brief:
        return Measured(status.boot, report)
    answers = _replay(session, status, records)
    speed = Speed(()) if is_pooling else _measure_speed(session, status)
    # Last: then both engines have seen the same requests, and what is exported at first use is there.
    metrics = build_inventory(_fetch_page(session, status))
    session.report(ProgressEvent(_TASK, "answers, speed and metrics", state="done"))
    return Measured(status.boot, report, answers, metrics, speed)


def load_queries() -> list[Query]:
    """Give every query of this stack's rules and dashboards."""
    rules = [parse_rules(path.read_text()) for path in sorted(asset_path("prometheus", "rules").glob("*.yaml"))]
    paths = sorted(asset_path("grafana", "dashboards").glob("*.json"))
    panels = list_panels([load_query_file(path) for path in paths])
    return [*(query for found in rules for query in found), *panels]


def find_later_series(version: str | None) -> Mapping[str, str]:
    """Give the series that came with a later release than a version, and that release, by the shipped inventories."""
    return mark_later(Inventory(""), version, load_kept_inventories()).later if version is not None else {}


def is_in_use(fetch: Callable[[], Exposition], sleep: Callable[[float], None] = time.sleep) -> bool:
    """Tell whether others' requests run.

    The gauge is of the last step: just after an answer, and on a busy machine for longer, it still counts ours.
    """
    for pause_seconds in (0.0, *_LOOKS_AGAIN_SECONDS):
        sleep(pause_seconds)
        if not fetch().total(_RUNNING):
            return False
    return True


def _replay(session: Session, status: Status, records: Sequence[Record]) -> tuple[RecordedResponse | None, ...]:
    if not records:
        return ()
    session.report(ProgressEvent(_TASK, f"sending {len(records)} records"))
    name = status.served_name
    target = ReplayTarget(
        f"http://127.0.0.1:{status.ports['engine']}",
        read_api_key(session.config, session.paths),
        name,
        frozenset({name} if name else ()),
        timeout_seconds=_TIMEOUT_SECONDS,
    )
    concurrency = 1 if len(records) <= _FEW else _CONCURRENCY
    schedule = build_schedule([record.offset_seconds for record in records], concurrency=concurrency)
    found = {item.index: item.response for item in replay(target, records, schedule=schedule)}
    return tuple(found.get(index) for index in range(len(records)))


def _measure_speed(session: Session, status: Status) -> Speed:
    is_disturbed = is_in_use(lambda: _fetch_page(session, status))
    session.report(ProgressEvent(_TASK, "a short load"))
    with closing(build_engine(session, status.ports["engine"], status.served_name)) as engine:
        try:
            return Speed(run_load(engine), is_disturbed)
        except ServiceApiError as err:
            # What is wrong with it, smoke and the records tell better: here it has no speed.
            session.say(f"the load was not measured: {err.message}")
            return Speed((), is_disturbed)


def _fetch_page(session: Session, status: Status) -> Exposition:
    with closing(build_engine(session, status.ports["engine"], status.served_name)) as engine:
        return parse_exposition(engine.fetch_metrics(), url=f"{engine.base_url}/metrics")

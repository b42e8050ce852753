"""Faults that `stack verify` makes on purpose: what must come back by itself is killed, and looked at afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING

import httpx2

from stack.checks.finding import Outcome
from stack.checks.near_tie import compare_greedy
from stack.containers.daemon import ServiceState, read_services
from stack.containers.kill import kill_processes, restart_container
from stack.errors import NotReadyError, NotRunningError, ServiceApiError
from stack.operations.engine_client import build_engine
from stack.operations.session import Session
from stack.operations.status.read import Status, read_status
from stack.operations.up.run import run_up
from stack.progress import ProgressEvent
from stack.telemetry.prometheus_api import PrometheusApi
from stack.traffic.engine_answers import Answer

if TYPE_CHECKING:
    from stack.operations.verify.steps import Chain

# What vLLM's processes call themselves (`VLLM::EngineCore`), and what runs them before they do.
_ENGINE = ("python*", "vllm*", "VLLM*", "pt_main*")
_PROMETHEUS = ("prometheus*",)
# compose/engine/serve.sh counts crashes in a row; this one says nothing about the engine, and is not counted.
_SETTLE = ": >/tmp/stack-settled"
_RESTART_SECONDS = 120.0
_READY_SECONDS = 60.0
_POLL_SECONDS = 0.5
_TOLD_SECONDS = 5.0
# What was scraped a moment ago may still be written.
_PAST_SECONDS = 10.0
_PROMPT = "The capital of France is"
_TOKENS = 16
_NOT_FOUND = 404


def kill_engine(chain: Chain) -> Outcome:
    """Kill the engine's processes; Docker must start it again, and it must answer as before."""
    session = chain.session
    status = read_status(session)
    if not status.is_serving:
        raise NotRunningError("engine", session.project)
    before, began = _ask(session, status), time.monotonic()
    session.say("fault: the engine's processes are killed now; requests fail until it has booted again")
    _kill(chain, status.states["engine"], _ENGINE, _SETTLE)
    # Follows the boot that Docker began, to its first token.
    run_up(session)
    seconds = time.monotonic() - began
    after = _ask(session, read_status(session))
    said = f"Docker started it again; it served after {seconds:.0f} s"
    if before is None or after is None:
        return Outcome("pass", f"{said}; a model that embeds gives no text to compare")
    parting = compare_greedy(before.tokens, after.tokens)
    if not parting.is_fine:
        return Outcome("fail", f"{said}, and answers otherwise than before: {parting.describe()}", "stack smoke")
    return Outcome("pass", f"{said} and gives {parting.describe()}; `stack status` tells of the restart for 10 minutes")


def kill_prometheus(chain: Chain) -> Outcome:
    """Kill Prometheus; it must come back with what it had scraped, and scrape again."""
    session = chain.session
    status = read_status(session)
    state = status.states.get("prometheus")
    if state is None or state.state != "running" or "prometheus" not in status.ports:
        return Outcome("skip", "there is no Prometheus in this stack")
    with httpx2.Client(trust_env=False) as http:
        api = PrometheusApi(http, f"http://127.0.0.1:{status.ports['prometheus']}")
        moment, before = _find_past(chain, api)
        session.say("fault: Prometheus is killed now; nothing is scraped until it is back")
        began = time.monotonic()
        _kill(chain, state, _PROMETHEUS)
        _wait(chain, "prometheus", api.is_ready, _READY_SECONDS)
        seconds = time.monotonic() - began
        # Started by hand its count of restarts begins anew, so that no check takes this one for trouble.
        restart_container(session.connect(), state.container_id)
        _wait(chain, "prometheus", lambda: _is_scraping(api), _READY_SECONDS)
        after = _read_counts(api, moment)
    if after != before:
        return Outcome(
            "fail", f"it was back after {seconds:.0f} s, and lost what it had scraped", "stack logs prometheus"
        )
    return Outcome(
        "pass", f"Docker started it again after {seconds:.0f} s; all {sum(before.values()):.0f} series are there"
    )


def _ask(session: Session, status: Status) -> Answer | None:
    """Give the answer to a fixed request; None of a model that generates nothing."""
    with closing(build_engine(session, status.ports["engine"], status.served_name)) as engine:
        try:
            return engine.run_completion(_PROMPT, max_tokens=_TOKENS, temperature=0, logprobs=2)
        except ServiceApiError as err:
            if getattr(err, "status_code", None) == _NOT_FOUND:
                return None
            raise


def _kill(chain: Chain, state: ServiceState, names: tuple[str, ...], before: str = "") -> None:
    """Kill a service's processes and wait until Docker has started its container again.

    Raises:
        NotReadyError: It has not.
    """
    client = chain.session.connect()
    kill_processes(client, state.container_id, names, before=before)

    def is_back() -> bool:
        now = read_services(client, chain.session.project).get(state.name)
        return now is not None and now.restart_count > state.restart_count and now.state == "running"

    _wait(chain, state.name, is_back, _RESTART_SECONDS)


def _wait(
    chain: Chain,
    service: str,
    is_met: Callable[[], bool],
    limit_seconds: float,
    *,
    state: str = "killed",
    said: str = "it did not come back after it was killed",
) -> None:
    began, told = time.monotonic(), 0.0
    while not is_met():
        waited = time.monotonic() - began
        if waited > limit_seconds:
            raise NotReadyError(service, waited, state, said, hint=f"stack logs {service}; `stack up` starts it")
        if waited - told >= _TOLD_SECONDS:
            told = waited
            chain.session.report(ProgressEvent("fault", f"waiting for {service}, {waited:.0f} s"))
        chain.sleep(_POLL_SECONDS)


def _find_past(chain: Chain, api: PrometheusApi) -> tuple[float, Mapping[str, float]]:
    """Give a moment that has passed and how many series each job had then; a young Prometheus is waited for.

    Raises:
        NotReadyError: It scrapes nothing, so nothing would show whether it lost what it had.
    """
    found: dict[float, Mapping[str, float]] = {}

    def has_past() -> bool:
        moment = time.time() - _PAST_SECONDS
        counts = _read_counts(api, moment)
        found.update({moment: counts} if counts else {})
        return bool(counts)

    _wait(chain, "prometheus", has_past, _READY_SECONDS, state="running", said="it has scraped nothing yet")
    return next(iter(found.items()))


def _read_counts(api: PrometheusApi, moment: float) -> Mapping[str, float]:
    """Give how many series each job had at a moment that has passed."""
    found = api.query('count by (job) ({job=~".+"})', at_seconds=moment)
    return {series.labels["job"]: series.value for series in found}


def _is_scraping(api: PrometheusApi) -> bool:
    try:
        targets = api.fetch_targets()
    except ServiceApiError:
        return False
    return bool(targets) and all(target.health == "up" for target in targets)

"""No dashboard, rule or alert asks for what this engine does not export."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from stack.checks.smoke.check import Check, Outcome, SmokeContext
from stack.checks.smoke.contract import Contract, QueryState

# Two scrapes at the default interval of 5 s.
_PATIENCE_SECONDS = 11.0
_POLL_SECONDS = 0.25
_SHOWN = 3
_SHOWN_CHARS = 160
_REASONS = 40
_HINT = "`stack dashboards check` shows each place, and what to ask for instead"


def run(context: SmokeContext) -> Outcome:
    """Look when what smoke sent has been scraped; what is empty without a reason gets one more scrape."""
    contract = context.target.contract
    if contract is None:
        return Outcome("skip", "what the dashboards ask for is not known here")
    began = context.clock()
    has_arrived = _wait(context, contract, began)
    states = contract.look()
    while _may_fill(states) and context.clock() - began < _PATIENCE_SECONDS:
        context.sleep(_PATIENCE_SECONDS / 4)
        states = contract.look()
    return _judge(states, context.target.prometheus_skip, has_arrived=has_arrived)


def _wait(context: SmokeContext, contract: Contract, began: float) -> bool:
    while not contract.has_arrived():
        if context.clock() - began >= _PATIENCE_SECONDS:
            return False
        context.sleep(_POLL_SECONDS)
    return True


def _judge(states: Sequence[QueryState], prometheus_skip: str, *, has_arrived: bool) -> Outcome:
    counts = Counter(state.outcome for state in states)
    reasons = Counter(state.reason for state in states if state.outcome == "conditional")
    wrong = [*_select(states, "dead", "error"), *_select(states, "empty")]
    data = {
        "outcomes": dict(counts),
        "wrong": [{**vars(state)} for state in wrong],
        "conditional": dict(reasons.most_common(_REASONS)),
    }
    if wrong:
        said = "; ".join(_describe(state) for state in wrong[:_SHOWN])
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        hints = list(dict.fromkeys(state.hint for state in wrong if state.hint))[:_SHOWN]
        return Outcome("fail", said + more, "; ".join([*hints, _HINT]), data)
    if counts["named"]:
        said = f"all names in {len(states)} queries are known; no query was run: {prometheus_skip}"
        return Outcome("pass", said, data=data)
    said = f"{counts['ok']} of {len(states)} queries are well, {counts['conditional']} wait for what is not there yet"
    if not has_arrived:
        return Outcome("warn", f"{said}; what smoke sent has not been scraped yet", "`stack logs prometheus`", data)
    return Outcome("pass", said, data=data)


def _may_fill(states: Sequence[QueryState]) -> bool:
    """Tell whether another scrape can change the verdict: what is dead stays so."""
    return bool(_select(states, "empty")) and not _select(states, "dead", "error")


def _select(states: Sequence[QueryState], *outcomes: str) -> list[QueryState]:
    return [state for state in states if state.outcome in outcomes]


def _describe(state: QueryState) -> str:
    query = " ".join(state.query.split())
    query = query if len(query) <= _SHOWN_CHARS else f"{query[: _SHOWN_CHARS - 1]}…"
    return f"{state.outcome}: {state.place}: {state.reason}, in `{query}`"


CHECK = Check("dashboards", run, order=190, lane="side", model="any")

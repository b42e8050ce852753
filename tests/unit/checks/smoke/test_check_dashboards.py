"""What the dashboards ask for is judged query by query, once what smoke sent has been scraped."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

from stack.checks.finding import Outcome
from stack.checks.smoke import check_dashboards
from stack.checks.smoke.check import SmokeContext
from stack.checks.smoke.contract import QueryState
from stack.checks.smoke.target import ModelFacts, SmokeTarget

WELL = QueryState("grafana/dashboards/overview.json: panel `Up` (A)", "up", "ok")
QUIET = QueryState("prometheus/rules/alerts.yaml: record `x`", "rate(x[5m])", "conditional", "nothing happened yet")
DEAD = QueryState(
    "grafana/dashboards/kv.json: panel `KV` (A)", "vllm:gone", "dead", "`vllm:gone` does not exist", "`b`"
)
EMPTY = QueryState(
    "grafana/dashboards/kv.json: panel `KV` (B)", "vllm:a", "empty", "`vllm:a` has not reached Prometheus"
)
NAMED = QueryState("grafana/dashboards/kv.json: panel `KV` (C)", "vllm:b", "named")


class Asked:
    """A contract whose looks give one list after another, the last one for ever."""

    def __init__(self, *looks: Sequence[QueryState], scraped_after: int = 0) -> None:
        self.looks, self.looked, self.waited, self.scraped_after = looks, 0, 0, scraped_after

    def has_arrived(self) -> bool:
        self.waited += 1
        return self.waited > self.scraped_after

    def look(self) -> Sequence[QueryState]:
        assert self.waited > 0, "it looks before it waited"
        self.looked += 1
        return self.looks[min(self.looked, len(self.looks)) - 1]


def run(contract: Asked | None) -> Outcome:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    model = ModelFacts("demo", "r")
    target = SmokeTarget(engine=SimpleNamespace(), served_name="demo", model=model, contract=contract)
    return check_dashboards.run(SmokeContext(target, clock=lambda: now[0], sleep=sleep))


def test_queries_that_are_well_or_wait_for_something_pass() -> None:
    outcome = run(Asked([WELL, WELL, QUIET]))
    assert (outcome.status, outcome.message) == ("pass", "2 of 3 queries are well, 1 wait for what is not there yet")
    assert outcome.data["conditional"] == {"nothing happened yet": 1}


def test_a_dead_query_fails_with_its_file_its_panel_and_what_to_ask_for_instead() -> None:
    outcome = run(Asked([WELL, DEAD]))
    assert outcome.status == "fail"
    assert outcome.message == (
        "dead: grafana/dashboards/kv.json: panel `KV` (A): `vllm:gone` does not exist, in `vllm:gone`"
    )
    assert outcome.hint == "`b`; `stack dashboards check` shows each place, and what to ask for instead"


def test_nothing_is_waited_for_where_a_query_is_dead() -> None:
    contract = Asked([EMPTY, DEAD])
    assert run(contract).message.startswith("dead: ")
    assert contract.looked == 1


def test_more_than_three_are_counted() -> None:
    outcome = run(Asked([DEAD] * 5))
    assert outcome.message.endswith("; and 2 more")
    assert len(outcome.data["wrong"]) == 5


def test_what_is_empty_for_no_reason_gets_time_and_fails_when_it_stays_so() -> None:
    late = Asked([WELL, EMPTY], [WELL, EMPTY], [WELL, WELL])
    assert (run(late).status, late.looked) == ("pass", 3)
    outcome = run(Asked([WELL, EMPTY]))
    assert outcome.status == "fail"
    assert "`vllm:a` has not reached Prometheus" in outcome.message


def test_it_looks_when_what_smoke_sent_was_scraped_and_warns_when_it_was_not() -> None:
    soon = Asked([WELL], scraped_after=8)
    assert (run(soon).status, soon.waited) == ("pass", 9)
    outcome = run(Asked([WELL], scraped_after=1000))
    assert outcome.status == "warn"
    assert "has not been scraped yet" in outcome.message


def test_without_prometheus_it_says_what_was_not_done() -> None:
    outcome = run(Asked([NAMED, NAMED]))
    assert outcome.status == "pass"
    assert outcome.message == (
        "all names in 2 queries are known; no query was run: there is no Prometheus in this stack"
    )


def test_where_nothing_is_known_of_dashboards_it_is_skipped() -> None:
    assert run(None).status == "skip"

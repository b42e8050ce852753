"""What each step of the chain says of what it did."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stack.checks.finding import Finding, Report
from stack.errors import NotRunningError
from stack.operations.verify import steps as verify_steps
from stack.operations.verify.steps import Chain, bring_up, check_boards, measure, try_answers


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Chain:
    services = [SimpleNamespace(name="prometheus", state="running")]
    status: Any = SimpleNamespace(is_serving=True, services=services)
    monkeypatch.setattr(verify_steps, "read_status", lambda session: status)
    history = SimpleNamespace(last_smoke=lambda: SimpleNamespace(id=3))
    monkeypatch.setattr(verify_steps, "open_project_history", lambda session: history)
    session: Any = SimpleNamespace(project="demo")
    return Chain(session, "chat", was_serving=False)


def put(monkeypatch: pytest.MonkeyPatch, name: str, result: Any) -> list[Any]:
    asked: list[Any] = []

    def call(*arguments: Any, **options: Any) -> Any:
        asked.append((arguments, options))
        return result

    monkeypatch.setattr(verify_steps, name, call)
    return asked


def test_an_up_tells_what_it_did_and_which_boot_it_was(monkeypatch: pytest.MonkeyPatch, chain: Chain) -> None:
    plan = SimpleNamespace(steps=[SimpleNamespace(name="services"), SimpleNamespace(name="boot")])
    put(monkeypatch, "run_up", SimpleNamespace(plan=plan, boot=SimpleNamespace(boot_id=4, total_seconds=31.44)))
    assert bring_up(chain).message == "services, boot; first token after 31.4 s"
    assert chain.runs == {"up": "boot-4"}
    put(monkeypatch, "run_up", SimpleNamespace(plan=SimpleNamespace(steps=[]), boot=None))
    assert "nothing to do" in bring_up(chain).message


def test_a_smoke_that_failed_names_what_failed(monkeypatch: pytest.MonkeyPatch, chain: Chain) -> None:
    wrong = Finding("canaries", "fail", "Berlin is not first", hint="`stack explain`")
    put(monkeypatch, "run_smoke", Report([Finding("metrics", "pass", ""), wrong]))
    outcome = try_answers(chain)
    assert (outcome.status, outcome.message, outcome.hint) == (
        "fail", "canaries: Berlin is not first", "`stack explain`",
    )  # fmt: skip
    put(monkeypatch, "run_smoke", Report([Finding("metrics", "pass", ""), Finding("grafana", "skip", "")]))
    assert (try_answers(chain).message, chain.runs) == ("1 passed, 1 skipped", {"smoke": "smoke-3"})


def test_dashboards_are_held_to_a_number_or_a_reason_where_prometheus_runs(
    monkeypatch: pytest.MonkeyPatch, chain: Chain
) -> None:
    answers = [
        SimpleNamespace(outcome=name, query=SimpleNamespace(place="a.json"), reason="x") for name in ("ok", "empty")
    ]
    checked = SimpleNamespace(
        queries=[1, 2], answers=answers, faults=[], is_passed=False, failing_outcomes=("dead", "error", "empty")
    )
    asked = put(monkeypatch, "check_dashboards", checked)
    outcome = check_boards(chain)
    assert (outcome.status, outcome.message) == ("fail", "2 queries: 1 ok, 1 empty; a.json: x")
    assert asked[0][1]["is_strict"] is True


def test_dashboards_of_a_stack_that_does_not_run_are_not_judged_by_a_file(
    monkeypatch: pytest.MonkeyPatch, chain: Chain
) -> None:
    monkeypatch.setattr(verify_steps, "read_status", lambda session: SimpleNamespace(is_serving=False))
    with pytest.raises(NotRunningError):
        check_boards(chain)


def test_a_bench_is_short_and_an_interrupt_of_it_ends_the_chain(monkeypatch: pytest.MonkeyPatch, chain: Chain) -> None:
    asked: list[Any] = []
    document: dict[str, Any] = {"is_passed": True, "run": 9, "is_interrupted": False, "repeats": []}

    def run(session: Any, options: Any) -> dict[str, Any]:
        asked.append(options)
        return document

    monkeypatch.setattr(verify_steps.bench, "run", run)
    outcome = measure(chain)
    assert (outcome.status, outcome.message, chain.runs) == ("pass", "nothing was measured", {"bench": "bench-9"})
    assert (asked[0].preset, asked[0].repeats) == ("chat", 1)
    document["is_interrupted"] = True
    with pytest.raises(KeyboardInterrupt):
        measure(chain)

"""Smoke must name the panel that went dead, and the whole chain must leave a stack as well as it found it.

The fake engine and a real Prometheus. The bench is left out: its client is vLLM's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.scenarios.engine import misbehave
from tests.scenarios.harness import Stack, start
from tests.scenarios.projects import build_small_stack, render_small_config

SCRAPED_OFTEN = "[services.prometheus]\nscrape-interval-seconds = 1\n"
NO_BENCH = ("verify", "--skip", "bench")


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    config = render_small_config(fake_engine, after=SCRAPED_OFTEN, watchers=["prometheus"])
    return build_small_stack(make_stack, "verify", config)


@pytest.fixture(scope="module")
def first(stack: Stack) -> dict[str, Any]:
    """The chain on a stack that did not run: the only one that breaks something without being asked to."""
    return stack.run(*NO_BENCH, "--report", "page.html", "--junit", "junit.xml", "--json").demand().json()


def statuses(document: dict[str, Any]) -> dict[str, str]:
    return {check["check"]: check["status"] for check in document["checks"]}


def test_the_whole_chain_passes_on_a_stack_that_it_brought_up(stack: Stack, first: dict[str, Any]) -> None:
    assert statuses(first) == {
        "up": "pass",
        "smoke": "pass",
        "dashboards": "pass",
        "bench": "skip",
        "engine-killed": "pass",
        "prometheus-killed": "pass",
    }, first["checks"]
    assert (first["is_passed"], first["was_serving"], first["exit_code"]) == (True, False, 0)
    engine, prometheus = (stack.containers()[name] for name in ("engine", "prometheus"))
    assert engine["RestartCount"] == 1
    assert prometheus["State"]["Running"] and prometheus["RestartCount"] == 0


def test_its_report_is_one_page_that_begins_with_the_commit_and_a_file_for_ci(
    stack: Stack, first: dict[str, Any]
) -> None:
    assert list(first)[:2] == ["schema_version", "commit"]
    page = (stack.folder / "page.html").read_text()
    assert page.index(first["commit"] or "unknown") < page.index("engine-killed")
    assert "http://" not in page.replace("http://www.w3.org", "") or stack.url("engine") not in page
    cases = {case.get("name") for case in ElementTree.parse(stack.folder / "junit.xml").getroot().iter("testcase")}
    assert set(statuses(first)) < cases


def test_it_is_kept_beside_the_boot_that_it_made(stack: Stack, first: dict[str, Any]) -> None:
    kept = {item["name"] for item in stack.run("history", "--json").demand().json()["runs"]}
    assert {f"verify-{first['run']}", first["runs"]["up"]} <= kept


def test_a_metric_that_the_engine_lost_fails_smoke_with_the_panel_and_keeps_no_step_back(
    stack: Stack, first: dict[str, Any]
) -> None:
    misbehave(stack, "lost-metric")
    try:
        document = stack.run(*NO_BENCH, "--no-faults", "--json").demand(1).json()
    finally:
        misbehave(stack)
    found = {check["check"]: check for check in document["checks"]}
    assert (found["smoke"]["status"], found["dashboards"]["status"]) == ("fail", "fail")
    panel = "grafana/dashboards/kv-cache.json: row `What is full`, panel `KV cache in use, rank by rank` (A)"
    assert found["smoke"]["message"].startswith(f"dashboards: dead: {panel}: `vllm:kv_cache_usage_perc` does not exist")
    assert "stack dashboards check" in found["smoke"]["hint"]
    kept = stack.run("history", document["runs"]["smoke"], "--json").demand().json()
    assert [one["check"] for one in kept["checks"] if one["status"] == "fail"] == ["dashboards"]


def test_a_stack_that_served_before_is_not_broken_unasked_and_stays_up(stack: Stack, first: dict[str, Any]) -> None:
    before = stack.containers()["engine"]["State"]["StartedAt"]
    done = stack.run(*NO_BENCH, "--skip", "smoke", "--down", "--json").demand()
    assert {name: statuses(done.json())[name] for name in ("engine-killed", "prometheus-killed")} == {
        "engine-killed": "skip",
        "prometheus-killed": "skip",
    }
    assert "it is left running" in done.err
    after = stack.containers()["engine"]["State"]
    assert after["Running"] and after["StartedAt"] == before


def test_an_interrupt_ends_it_with_a_report_of_what_had_run(stack: Stack, first: dict[str, Any]) -> None:
    import signal

    with start(stack, *NO_BENCH, "--no-faults", "--report", "interrupted.html") as verify:
        verify.wait_said("running the checks")
        assert verify.end(signal.SIGINT) == 130
    page = (stack.folder / "interrupted.html").read_text()
    assert "not run: it was interrupted before" in page

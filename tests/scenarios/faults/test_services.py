"""A watcher that is not well must cost the engine nothing: it serves on, and `up` says what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.scenarios.harness import Stack, run_docker, services_of
from tests.scenarios.projects import build_small_stack, render_small_config


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    stack = build_small_stack(make_stack, "watched", render_small_config(fake_engine, watchers=["prometheus"]))
    stack.run("up", "--no-smoke").demand()
    return stack


@pytest.mark.fault(
    "a service is paused by hand",
    "`stack status` is degraded and names the command; `stack up` lets it go on, and the engine serves all the while",
)
def test_a_paused_service_goes_on_with_up_and_the_engine_is_not_touched(stack: Stack) -> None:
    before = stack.containers()["engine"]["State"]["StartedAt"]
    run_docker("pause", stack.containers()["prometheus"]["Id"])
    document = stack.status()
    assert document["state"] == "degraded"
    assert [(item["service"], item["message"]) for item in document["reasons"]] == [("prometheus", "is paused")]
    done = stack.run("up", "--no-smoke").demand()
    assert "prometheus is paused" in done.err
    assert stack.status()["state"] == "up"
    assert stack.containers()["engine"]["State"]["StartedAt"] == before


@pytest.mark.fault(
    "the engine is paused by hand", "`stack up` lets it go on; smoke and chat end with an error instead of waiting"
)
def test_a_paused_engine_goes_on_with_up(stack: Stack) -> None:
    run_docker("pause", stack.containers()["engine"]["Id"])
    assert stack.status()["state"] == "degraded"
    stack.run("smoke").demand(5)
    stack.run("chat", "hello").demand(5)
    stack.run("up", "--no-smoke").demand()
    assert stack.status()["state"] == "up"


@pytest.mark.fault(
    "Grafana cannot live",
    "`stack up` ends well with a warning that says so; the engine serves, and the state is degraded",
)
def test_a_grafana_that_cannot_live_costs_the_engine_nothing(stack: Stack, fake_engine: str) -> None:
    before = stack.containers()
    # Any image that is no Grafana will do: its container ends at once.
    image = before["prometheus"]["Config"]["Image"]
    after = f'[services.grafana]\nimage = "{image}"\n'
    stack.write_config(render_small_config(fake_engine, after=after, watchers=["prometheus", "grafana"]))
    done = stack.run("up", "--no-smoke").demand()
    assert "warning: Grafana: " in done.err
    document = stack.status()
    assert document["state"] == "degraded"
    assert {item["service"] for item in document["reasons"]} == {"grafana"}
    assert services_of(document)["engine"]["state"] == "running"
    assert stack.containers()["engine"]["State"]["StartedAt"] == before["engine"]["State"]["StartedAt"]

"""Objectives become windows, guards and alerts; what could never fire is not written."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.telemetry.slo_promql import HISTOGRAMS, LatencyObjective
from stack.telemetry.slo_rules import BURNS, Objectives, build_alert_name, render_slo_rules

TTFT = LatencyObjective("ttft", 2.5, 0.95)
OBJECTIVES = Objectives("14d", 20, 0.99, (TTFT, LatencyObjective("itl", 0.2, 0.95), LatencyObjective("e2e", 60, 0.95)))
NAMES = ("availability", *HISTOGRAMS)


def read(objectives: Objectives) -> list[dict]:
    return [rule for group in yaml.safe_load(render_slo_rules(objectives))["groups"] for rule in group["rules"]]


def find_alerts(objectives: Objectives, name: str) -> list[dict]:
    return [rule for rule in read(objectives) if rule.get("alert") == build_alert_name(name)]


def test_the_shorter_window_is_a_twelfth_of_the_longer_one():
    minutes = {"m": 1, "h": 60, "d": 1440}
    for burn in BURNS:
        for longer, shorter, _ in burn.pairs:
            lengths = [int(text[:-1]) * minutes[text[-1]] for text in (longer, shorter)]
            assert lengths[0] == 12 * lengths[1]


@pytest.mark.parametrize("name", NAMES)
def test_every_objective_has_a_page_and_a_ticket(name):
    page, ticket = find_alerts(OBJECTIVES, name)
    assert (page["labels"], ticket["labels"]) == (
        {"severity": "critical", "slo": name}, {"severity": "warning", "slo": name},
    )  # fmt: skip
    assert re.findall(r"ratio_rate(\w+)\{", page["expr"]) == ["1h", "5m", "6h", "30m"]
    assert re.findall(r"ratio_rate(\w+)\{", ticket["expr"]) == ["1d", "2h", "3d", "6h"]


def test_thresholds_are_the_factor_times_the_budget():
    (page, ticket) = find_alerts(OBJECTIVES, "ttft")
    assert re.findall(r"\} > ([\d.]+)", page["expr"]) == ["0.72", "0.72", "0.3", "0.3"]
    assert re.findall(r"\} > ([\d.]+)", ticket["expr"]) == ["0.15", "0.15", "0.05", "0.05"]


def test_every_pair_of_windows_needs_the_least_number_of_requests_in_its_longer_one():
    for alert in find_alerts(replace(OBJECTIVES, minimum_requests=33), "e2e"):
        longer = re.findall(r"increase(\w+)\{slo=\"e2e\"\} >= 33\)", alert["expr"])
        assert longer == re.findall(r"\(model_slo:vllm_slo_errors:ratio_rate(\w+)\{", alert["expr"])


def test_a_bound_is_named_as_the_engine_names_its_buckets():
    text = render_slo_rules(replace(OBJECTIVES, latencies=[LatencyObjective("ttft", 1, 0.95)]))
    assert 'vllm:time_to_first_token_seconds_bucket{le=\\"1.0\\"}' in text
    assert "inter_token" not in text


@pytest.mark.parametrize(
    ("target", "page", "ticket"), [(0.9, ["6h"], ["1d", "3d"]), (0.8, [], ["1d", "3d"]), (0.6, [], ["3d"])]
)
def test_a_pair_that_more_than_everything_would_have_to_fail_for_is_left_out(target, page, ticket):
    alerts = find_alerts(replace(OBJECTIVES, latencies=[replace(TTFT, target=target)]), "ttft")
    found = {alert["labels"]["severity"]: re.findall(r"\(model\S+ratio_rate(\w+)\{", alert["expr"]) for alert in alerts}
    assert (found.get("critical", []), found.get("warning", [])) == (page, ticket)


def test_another_window_changes_the_budget_and_no_alert_s_condition():
    before, after = read(OBJECTIVES), read(replace(OBJECTIVES, window="30d"))
    changed = [new for old, new in zip(before, after, strict=True) if old.get("expr") != new.get("expr")]
    assert {rule["record"] for rule in changed} == {"model_slo:vllm_slo_errors:ratio_window"}
    assert all("[30d]" in rule["expr"] and "14d" not in rule["expr"] for rule in changed)


def test_no_group_is_judged_so_seldom_that_its_series_are_forgotten():
    groups = yaml.safe_load(render_slo_rules(OBJECTIVES))["groups"]
    assert {group["name"]: group.get("interval") for group in groups} == {
        "slo-objectives": None, "slo-fast": "30s", "slo-slow": "2m", "slo-window": "4m", "slo-alerts": "30s",
    }  # fmt: skip


@settings(derandomize=True, deadline=None, database=None, max_examples=50)
@given(st.floats(0.5, 0.99999), st.integers(1, 10**6), st.floats(0.001, 10_000))
def test_whatever_the_objectives_no_threshold_is_beyond_reach(target, minimum, seconds):
    objectives = Objectives("7d", minimum, target, [LatencyObjective("itl", seconds, target)])
    bounds = [float(text) for rule in read(objectives) for text in re.findall(r"\} > ([\d.e-]+)", rule["expr"])]
    assert bounds and all(0 < bound <= 1 for bound in bounds)

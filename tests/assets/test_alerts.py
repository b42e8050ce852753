"""Alerts: each tested in every way, each in the runbook, on metrics that exist, none that is always true or latches."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

import pytest

from stack.assets import asset_path
from stack.cli import cli
from stack.config.schema import StackConfig
from stack.operations.slo.objectives import build_objectives
from stack.telemetry.exposition import parse_exposition
from stack.telemetry.run_metrics import (
    BootRun,
    ImageExpiry,
    ReadyGpu,
    RunIdentity,
    SmokeRun,
    render_boot_deadline,
    render_gpu_metrics,
    render_run_metrics,
)
from stack.telemetry.slo_rules import render_slo_rules
from tests.assets.rule_files import (
    INVENTORIES,
    PROMETHEUS,
    find_names,
    find_promtool,
    find_scraped,
    find_selectors,
    load_cases,
    load_rules,
)

SLO = load_rules("slo.yaml")
ALERTS = load_rules("alerts.yaml") + [rule for rule in SLO if "alert" in rule]
IDS = [f"{rule['alert']}-{rule['labels']['severity']}" for rule in ALERTS]
# An objective has a page and a ticket of one name.
NAMES = list(dict.fromkeys(rule["alert"] for rule in ALERTS))
RECORDING = load_rules("recording.yaml") + load_rules("gpu.yaml") + [rule for rule in SLO if "record" in rule]
RECORDED: dict[str, list[str]] = {}
for _rule in RECORDING:
    RECORDED.setdefault(_rule["record"], []).append(_rule["expr"])
QUIET = load_cases("quiet.yaml")
OWN = load_cases("alerts.yaml", "alerts-long.yaml", "slo.yaml")
# Only from 0.32 on.
YOUNG = {"vllm:admission_rejections_total"}
# Those of services that are not here, by who says so.
EXPORTERS = {
    # NVIDIA/dcgm-exporter etc/default-counters.csv, which names the commented ones too.
    "DCGM_FI_DEV_FB_FREE", "DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_ROW_REMAP_FAILURE", "DCGM_FI_DEV_THERMAL_VIOLATION",
    "DCGM_FI_DEV_XID_ERRORS", "DCGM_EXP_CLOCK_EVENTS_COUNT", "DCGM_EXP_XID_ERRORS_COUNT",
    # node-exporter, collector filesystem.
    "node_filesystem_avail_bytes", "node_filesystem_readonly", "node_filesystem_size_bytes",
    # Prometheus itself.
    "prometheus_rule_evaluation_failures_total", "up",
}  # fmt: skip
OUR_METRICS = render_run_metrics(
    RunIdentity("a" * 40, "claimed", "0.32.0", "m", "r", "sha256:" + "b" * 64, "cuda"),
    [BootRun(1.7e9, 40, {"load": 30.0}, is_cache_warm=True)],
    SmokeRun(1.7e9, 6, {"baseline": 1}, {"again": 0.1}),
    ImageExpiry("docker.io/vllm/vllm-openai:nightly", 1.7e9),
)
OUR_METRICS += render_gpu_metrics([ReadyGpu(0, "GPU-a", "RTX", 1)]) + render_boot_deadline(1.7e9)
RUNBOOK = (PROMETHEUS / "runbook.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))


def of_case(case: dict[str, Any]) -> str:
    return case["name"].partition(":")[0]


def find_checks(case: dict[str, Any], alert: str) -> list[list[Any]]:
    return [check["exp_alerts"] for check in case.get("alert_rule_test", []) if check["alertname"] == alert]


@pytest.mark.parametrize("alert", NAMES)
class TestCases:
    def test_it_is_tested_where_it_fires(self, alert):
        fired = [case["name"] for case in OWN if any(find_checks(case, alert)) and of_case(case) == alert]
        assert [name for name in fired if "firing" in name]

    def test_it_is_tested_where_something_only_looks_like_it_or_where_it_ends_or_waits(self, alert):
        assert [case for case in OWN if of_case(case) == alert and [] in find_checks(case, alert)]

    @pytest.mark.parametrize("name", ["healthy", "idle", "counter reset", "absent", "NaN"])
    def test_it_is_silent_on_every_quiet_page(self, alert, name):
        (case,) = [case for case in QUIET if case["name"] == name]
        checks = find_checks(case, alert)
        assert checks
        assert not any(checks)


@pytest.mark.parametrize("rule", ALERTS, ids=IDS)
class TestAlert:
    @pytest.mark.parametrize("name", ["healthy", "idle", "counter reset", "NaN"])
    def test_a_quiet_page_has_every_series_that_it_reads(self, rule, name):
        (case,) = [case for case in QUIET if case["name"] == name]
        there = {series["series"].partition("{")[0] for series in case["input_series"]}
        assert find_scraped(rule["expr"], RECORDED) <= there

    def test_it_says_what_how_bad_and_where_to_read_on(self, rule):
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert not rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["description"].endswith(".")

    def test_its_metrics_exist(self, rule):
        known = EXPORTERS | YOUNG | parse_exposition(OUR_METRICS).names
        for inventory in INVENTORIES:
            names = parse_exposition(inventory.read_text(encoding="utf-8")).names
            assert find_scraped(rule["expr"], RECORDED) <= known | names

    def test_its_look_back_holds_two_scrapes_at_the_longest_interval(self, rule):
        ranges = re.findall(r"\[(\d+)([smhd])\]", rule["expr"])
        assert all(int(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit] >= 60 for number, unit in ranges)

    def test_it_does_not_latch_on_what_is_kept_until_a_restart(self, rule):
        # The gauge keeps the last Xid; counters never fall: both may only be read through a change.
        for name in find_names(rule["expr"]):
            if name == "DCGM_FI_DEV_XID_ERRORS" or name.endswith("_total"):
                assert re.search(rf"(rate|increase|changes)\({name}\b", rule["expr"]), name

    def test_no_two_engines_or_models_are_mixed_up(self, rule):
        # What is not summed by model, instance or board is one target's own, or the stack's, of which there is one.
        for labels in re.findall(r"(?:sum|max|count|avg) by \(([^)]*)\)", rule["expr"]):
            assert {"model_name", "instance", "UUID"} & set(labels.split(", "))
        for name in re.findall(r"\b(?:sum|max|min|avg|count)\((\w[\w:]*)", rule["expr"]):
            assert name.startswith("stack_") or rule["alert"] == "StackSmokeStale"


def test_the_metrics_of_only_some_versions_are_said_to_be_so():
    names = [parse_exposition(path.read_text(encoding="utf-8")).names for path in INVENTORIES]
    assert {name for name in YOUNG if any(name in one for one in names)} == YOUNG
    assert not [name for name in YOUNG if all(name in one for one in names)]


def test_gpu_memory_that_is_full_and_a_full_kv_cache_are_no_alerts_alone():
    for rule in ALERTS:
        assert "DCGM_FI_DEV_FB_USED" not in rule["expr"]
        if "kv_cache_usage" in rule["expr"]:
            assert "preemptions" in rule["expr"] or "changes" in rule["expr"]


def test_the_dcgm_exporter_exports_what_alerts_and_rules_read():
    counters = asset_path("compose", "dcgm-exporter", "counters.csv").read_text(encoding="utf-8")
    exported = {line.split(",")[0].strip() for line in counters.splitlines() if line and not line.startswith("#")}
    read = set().union(*(find_names(rule["expr"]) for rule in [*ALERTS, *RECORDING]))
    assert {name for name in read if name.startswith("DCGM_")} <= exported


def test_the_file_of_the_objectives_is_that_of_the_defaults():
    written = (PROMETHEUS / "rules" / "slo.yaml").read_text(encoding="utf-8")
    rendered = render_slo_rules(build_objectives(StackConfig()))
    if os.environ.get("STACK_TEST_WRITE_GOLDEN") == "1":
        (PROMETHEUS / "rules" / "slo.yaml").write_text(rendered, encoding="utf-8")
    assert written == rendered, "STACK_TEST_WRITE_GOLDEN=1 writes it"


@pytest.mark.parametrize("record", sorted({rule["record"] for rule in SLO if "record" in rule}))
def test_every_rule_of_the_objectives_has_a_test_of_its_value(record):
    cases = load_cases("slo.yaml")
    (busy,) = [case for case in cases if case["name"] == "busy"]
    assert [check for check in busy["promql_expr_test"] if record in check["expr"] and check["exp_samples"]]
    assert {"idle", "counter reset", "absent", "NaN"} <= {case["name"] for case in cases}


def test_objectives_of_any_kind_make_rules_that_prometheus_takes(tmp_path):
    promtool = find_promtool()
    slo = {"availability": 0.9999, "window": "30d", "minimum-requests": 1, "ttft": {"seconds": 0.001, "target": 0.5}}
    config = StackConfig.model_validate({"slo": slo})
    (tmp_path / "slo.yaml").write_text(render_slo_rules(build_objectives(config)), encoding="utf-8")
    argv = [promtool, "check", "rules", "--lint-fatal", str(tmp_path / "slo.yaml")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class TestRunbook:
    def test_every_alert_has_a_heading_and_every_heading_an_alert(self):
        assert list(SECTIONS) == NAMES

    @pytest.mark.parametrize("rule", ALERTS, ids=IDS)
    def test_the_link_of_an_alert_leads_to_its_heading(self, rule):
        assert rule["annotations"]["runbook_url"] == f"prometheus/runbook.md#{rule['alert'].lower()}"

    @pytest.mark.parametrize("alert", NAMES)
    def test_a_section_says_what_it_means_what_it_does_how_to_look_and_what_to_do(self, alert):
        assert re.findall(r"^\*\*(\w+)\.\*\* ", SECTIONS[alert], re.MULTILINE) == [
            "Meaning", "Impact", "Diagnosis", "Mitigation",
        ]  # fmt: skip

    @pytest.mark.parametrize("alert", NAMES)
    def test_its_diagnosis_names_a_command_a_query_or_a_panel(self, alert):
        (diagnosis,) = re.findall(r"\*\*Diagnosis\.\*\* (.*?)^\*\*", SECTIONS[alert], re.MULTILINE | re.DOTALL)
        assert "`" in diagnosis or "Panel:" in diagnosis

    def test_the_commands_of_ours_exist_with_their_options(self):
        told = re.findall(r"`stack ([a-z]+)([^`|<]*)", RUNBOOK)
        assert len(told) > 20
        for name, arguments in told:
            command = cli.get_command(None, name)
            assert command is not None, name
            known = {option for parameter in command.params for option in parameter.opts}
            assert set(re.findall(r"(?<!\S)--[a-z-]+", arguments)) <= known, f"{name}{arguments}"

    def test_the_panels_exist(self):
        text = (asset_path("grafana", "dashboards") / "overview.json").read_text(encoding="utf-8")
        told = re.findall(r'Panel: \*Overview\*, "([^"]+)"', RUNBOOK)
        assert told
        assert [title for title in told if f'"title": "{title}"' not in text] == []

    def test_links_within_it_lead_somewhere(self):
        assert set(re.findall(r"\(#(\w+)\)", RUNBOOK)) <= {name.lower() for name in SECTIONS}

    def test_the_recorded_series_that_it_names_are_recorded(self):
        assert set(re.findall(r"\b(?:model|gpu)\w*:\w+:\w+", RUNBOOK)) <= set(RECORDED)


def test_no_matcher_of_an_alert_can_never_match():
    pages = [parse_exposition(path.read_text(encoding="utf-8")) for path in INVENTORIES]
    for rule in ALERTS:
        for selector in find_selectors(rule["expr"]):
            if not (selector.name or "").startswith("vllm:"):
                continue
            labels = set().union(*(set(sample.labels) for page in pages for sample in page.select(selector.name)))
            asked = {matcher.name for matcher in selector.matchers.matchers}
            assert asked <= labels | {"job", "instance"}, (rule["alert"], asked - labels)

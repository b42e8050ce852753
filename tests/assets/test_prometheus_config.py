"""Prometheus' files: accepted by promtool, their targets reachable in Compose, every rule tested and used."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess

import pytest
import yaml

from stack.assets import asset_path
from stack.telemetry.exposition import parse_exposition
from stack.telemetry.scrape import OPTIONAL_TARGETS, render_prometheus_config, render_targets
from tests.assets.rule_files import INVENTORIES, PROMETHEUS, find_names, find_promtool, load_cases, load_rules
from tests.fixtures.panels import load_panels

CONFIG = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text(encoding="utf-8"))
RULES = yaml.safe_load((PROMETHEUS / "rules" / "recording.yaml").read_text(encoding="utf-8"))
RECORDED = load_rules("recording.yaml")
GPU_RECORDED = load_rules("gpu.yaml")


@pytest.fixture(scope="module")
def promtool() -> str:
    return find_promtool()


def run(*argv) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in argv], capture_output=True, text=True, check=False)


@pytest.fixture
def mounted(tmp_path):
    """Prometheus' folder as a container sees it, with the targets of a full stack."""
    folder = tmp_path / "prometheus"
    shutil.copytree(PROMETHEUS, folder)
    (folder / "targets").mkdir()
    for name, text in render_targets(OPTIONAL_TARGETS).items():
        (folder / "targets" / name).write_text(text)
    return folder


def test_promtool_accepts_the_config_with_the_targets_of_a_full_stack(promtool, mounted):
    done = run(promtool, "check", "config", mounted / "prometheus.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout
    assert f"{len(list((PROMETHEUS / 'rules').glob('*.yaml')))} rule files found" in done.stdout


def test_promtool_accepts_the_config_of_a_stack_with_an_alertmanager(promtool, mounted):
    path = mounted / "prometheus.yaml"
    text = render_prometheus_config(path.read_text(), scrape_interval_seconds=5, has_alertmanager=True)
    path.write_text(text)
    done = run(promtool, "check", "config", path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seconds", [1, 20])
def test_promtool_accepts_other_scrape_intervals(promtool, mounted, seconds):
    path = mounted / "prometheus.yaml"
    path.write_text(render_prometheus_config(path.read_text(), scrape_interval_seconds=seconds))
    assert run(promtool, "check", "config", path).returncode == 0


def test_promtool_accepts_the_rules(promtool):
    done = run(promtool, "check", "rules", "--lint-fatal", *sorted((PROMETHEUS / "rules").glob("*.yaml")))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_pass_their_unit_tests(promtool):
    done = run(promtool, "test", "rules", *sorted((PROMETHEUS / "tests").glob("*.yaml")))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["recording.yaml", "gpu.yaml"])
class TestCases:
    def test_every_rule_has_a_unit_test_of_its_value(self, name):
        checks = [check for case in load_cases(name) for check in case["promql_expr_test"] if check["exp_samples"]]
        for rule in load_rules(name):
            assert [check for check in checks if rule["record"] in check["expr"]], rule["record"]

    def test_rules_are_tested_idle_after_a_reset_absent_and_with_nan(self, name):
        assert {"busy", "idle", "counter reset", "absent", "NaN"} <= {case["name"] for case in load_cases(name)}


@pytest.mark.parametrize("rule", RECORDED, ids=lambda rule: rule["record"])
class TestRule:
    def test_its_name_is_level_metric_operation_and_the_level_is_the_labels_kept(self, rule):
        level, metric, operation = rule["record"].split(":")
        assert metric.startswith("vllm_")
        assert re.fullmatch(r"sum|max|(ratio|mean|p\d\d)_rate\d+[mhd]|(rate|increase)\d+m", operation)
        kept = level.replace("model", "model_name", 1)
        by = re.findall(r"by \(([^)]*)\)", rule["expr"])
        assert all("_".join(labels.split(", ")) == kept for labels in by)

    @pytest.mark.parametrize("inventory", INVENTORIES, ids=lambda path: path.stem)
    def test_it_parses_and_its_metrics_exist(self, rule, inventory):
        names = parse_exposition(inventory.read_text(encoding="utf-8")).names
        names |= {other["record"] for other in RECORDED}
        found = find_names(rule["expr"])
        assert found
        assert found <= names

    def test_a_dashboard_an_alert_or_another_rule_uses_it(self, rule):
        queries = [query.expr for query in load_panels()]
        others = [other["expr"] for other in [*RECORDED, *load_rules("alerts.yaml")] if other is not rule]
        assert any(rule["record"] in expr for expr in itertools.chain(queries, others))


def test_gpu_rules_record_one_name_for_every_vendor_with_its_unit():
    for rule in GPU_RECORDED:
        level, metric, operation = rule["record"].split(":")
        assert level in ("gpu", "instance")
        assert re.fullmatch(r"gpu_\w+_(ratio|bytes|watts|celsius|hertz)|gpu_devices", metric)
        assert operation in ("max", "count", "rate5m")
        assert level == "instance" or "DCGM_FI_DEV_" in rule["expr"] and "(amd_)?gpu_" in rule["expr"]
        assert "DCGM_FI_PROF" not in rule["expr"], "GeForce boards have no profiling fields"


def test_a_rule_comes_after_the_rules_that_it_reads_in_its_group():
    for group in RULES["groups"]:
        seen = []
        for rule in group["rules"]:
            read = [other["record"] for other in RECORDED if other["record"] in rule["expr"]]
            assert set(read) <= set(seen), rule["record"]
            seen.append(rule["record"])


def test_the_jobs_are_those_that_dashboards_and_smoke_know():
    assert [job["job_name"] for job in CONFIG["scrape_configs"]] == [
        "vllm",
        "prometheus",
        "node",
        "alertmanager",
        "grafana",
        "dcgm",
    ]


def test_only_keys_that_prometheus_2_42_and_3_both_know_are_used():
    # Source: the configuration pages of Prometheus 2.42 and 3.5; what 3 added or dropped is not in here.
    allowed = {
        "job_name",
        "static_configs",
        "file_sd_configs",
        "metric_relabel_configs",
        "scrape_interval",
        "metrics_path",
    }
    assert set(CONFIG) == {"global", "rule_files", "scrape_configs"}
    assert set(CONFIG["global"]) == {"scrape_interval", "evaluation_interval"}
    assert set().union(*CONFIG["scrape_configs"]) <= allowed


def test_every_optional_job_reads_the_file_that_is_rendered_for_it():
    read = {
        path.removeprefix("targets/")
        for job in CONFIG["scrape_configs"]
        for source in job.get("file_sd_configs", [])
        for path in source["files"]
    }
    assert read == set(render_targets(()))


def compose_services() -> dict[str, dict]:
    services: dict[str, dict] = {}
    for path in sorted(asset_path("compose").glob("compose*.yaml")):
        for name, service in (yaml.safe_load(path.read_text(encoding="utf-8")).get("services") or {}).items():
            services.setdefault(name, {}).update(service)
    return services


def names_reachable(services: dict[str, dict], source: str, target: str) -> set[str]:
    """The names under which one service finds another on a network where containers may talk."""
    shared = set(services[source]["networks"]) & set(services[target]["networks"]) - {"edge"}
    ambiguous = set(services[source]["networks"]) & set(services[target]["networks"]) != shared
    aliases = {alias for name in shared for alias in (services[target]["networks"][name] or {}).get("aliases", [])}
    return aliases if ambiguous else aliases | ({target} if shared else set())


def test_every_target_is_a_name_that_prometheus_can_reach():
    services = compose_services()
    addresses = {"engine": "engine.metrics:8000"}
    for job in CONFIG["scrape_configs"]:
        if job["job_name"] == "vllm":
            assert job["static_configs"][0]["targets"] == [addresses["engine"]]
    for service, text in zip(OPTIONAL_TARGETS, render_targets(OPTIONAL_TARGETS).values(), strict=True):
        addresses[service] = json.loads(text)[0]["targets"][0]
    for service, address in addresses.items():
        assert address.split(":")[0] in names_reachable(services, "prometheus", service), service


def test_the_data_source_is_a_name_that_grafana_can_reach():
    path = asset_path("grafana", "provisioning", "datasources", "prometheus.yaml")
    url = yaml.safe_load(path.read_text(encoding="utf-8"))["datasources"][0]["url"]
    host, port = url.removeprefix("http://").split(":")
    assert host in names_reachable(compose_services(), "grafana", "prometheus")
    assert port == "9090"

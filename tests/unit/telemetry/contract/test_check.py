"""Each fault is found once where it stands, and what is right passes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from stack.errors import ServiceApiError
from stack.telemetry.contract.check import check_files, run_queries
from stack.telemetry.contract.inventory import (
    Inventory,
    SeriesFacts,
    build_inventory,
    build_name_inventory,
    load_inventory,
    mark_later,
    merge_inventories,
    render_inventory,
)
from stack.telemetry.contract.load import load_query_file
from stack.telemetry.contract.query import RULES, Fault, QueryFile
from stack.telemetry.exposition import parse_exposition
from stack.telemetry.prometheus_api import Series

ROOT = Path(__file__).resolve().parents[4]
PAGE = (ROOT / "tests" / "fixtures" / "metrics" / "vllm-0.32.0.txt").read_text()
INVENTORY = build_inventory(parse_exposition(PAGE), "vLLM 0.32.0")
TTFT = "vllm:time_to_first_token_seconds"
E2E = "vllm:e2e_request_latency_seconds"


def check(path: Path, **more: Any) -> list[Fault]:
    return list(check_files([load_query_file(path)], INVENTORY, scrape_interval_seconds=15, **more))


def build_panel(title: str, expr: str, *, unit: str = "", steps: Sequence[float] = (), **more: Any) -> dict[str, Any]:
    defaults = {"unit": unit, "thresholds": {"steps": [{"value": None}, *({"value": step} for step in steps)]}}
    return {"title": title, "fieldConfig": {"defaults": defaults}, "targets": [{"refId": "A", "expr": expr}]} | more


def write_panel(folder: Path, expr: str, *, unit: str = "", title: str = "Panel", steps: Sequence[float] = ()) -> Path:
    path = folder / "board.json"
    panel = build_panel(title, expr, unit=unit, steps=steps)
    path.write_text(json.dumps({"uid": "x", "title": "Board", "panels": [panel]}))
    return path


BROKEN = [
    ("syntax", "rate(vllm:prompt_tokens_total[5m)", {}),
    ("dead-metric", "vllm:gpu_cache_usage_perc", {}),
    ("dead-metric", "rate(vllm:num_preemptions[5m])", {}),
    ("dead-label", 'vllm:kv_cache_usage_perc{modelname="x"}', {}),
    ("dead-metric", '{__name__=~"vllm:gpu_cache.*"}', {}),
    ("dead-label", "sum by (source) (vllm:kv_cache_usage_perc)", {}),
    ("foreign-label", 'vllm:kv_cache_usage_perc{model="x"}', {}),
    ("other-spelling", "vllm_num_requests_running", {}),
    ("dead-value", 'rate(vllm:request_success_total{finished_reason="stopped"}[5m])', {}),
    ("dead-value", 'rate(vllm:request_success_total{finished_reason=~"fail.*"}[5m])', {}),
    ("dead-value", f'rate({TTFT}_bucket{{le="0.7"}}[5m])', {}),
    ("conditional", "rate(vllm:spec_decode_num_drafts_total[5m])", {}),
    ("conditional", "vllm:kv_cache_usage_perc or vllm:gpu_cache_usage_perc", {}),
    ("not-checked", "node_load1", {}),
    ("not-checked", 'vllm:kv_cache_usage_perc{namespace="x"}', {}),
    ("not-understood", 'vllm:kv_cache_usage_perc{model_name="$nobody"}', {}),
    ("rate-over-gauge", "rate(vllm:num_requests_running[5m])", {}),
    ("counter-without-rate", "vllm:num_preemptions_total > 0", {}),
    ("counter-without-rate", f"sum by (le) ({TTFT}_bucket)", {}),
    ("counter-as-total", "sum(vllm:generation_tokens_total)", {}),
    ("quantile-without-le", f"histogram_quantile(0.9, sum by (model_name) (rate({TTFT}_bucket[5m])))", {}),
    ("quantile-per-series", f"histogram_quantile(0.9, rate({TTFT}_bucket[5m]))", {}),
    ("average-of-quantiles", f"avg(histogram_quantile(0.9, sum by (le, engine) (rate({TTFT}_bucket[5m]))))", {}),
    ("sum-as-latency", "sum(rate(vllm:request_queue_time_seconds_sum[5m]))", {"unit": "s", "title": "Queue time"}),
    ("interval-in-rate", "rate(vllm:prompt_tokens_total[$__interval])", {}),
    (
        "unguarded-ratio",
        "sum(rate(vllm:prefix_cache_hits_total[5m])) / sum(rate(vllm:prefix_cache_queries_total[5m]))",
        {},
    ),
    ("unguarded-ratio", "avg(vllm:num_requests_waiting) / avg(vllm:num_requests_running) > 3", {}),
    ("range-too-short", "rate(vllm:prompt_tokens_total[20s])", {}),
    ("wrong-unit", f"histogram_quantile(0.9, sum by (le) (rate({TTFT}_bucket[5m])))", {"unit": "ms"}),
    ("wrong-unit", "vllm:kv_cache_usage_perc", {"unit": "percent"}),
    ("threshold-off-buckets", f"histogram_quantile(0.9, sum by (le) (rate({E2E}_bucket[5m])))", {"steps": [0.1]}),
    ("threshold-off-buckets", f"histogram_quantile(0.9, sum by (le) (rate({E2E}_bucket[5m]))) > 100000", {}),
]


@pytest.mark.parametrize(
    ("rule", "expr", "panel"), BROKEN, ids=[f"{rule}-{at}" for at, (rule, *_) in enumerate(BROKEN)]
)
def test_each_fault_is_found_and_no_other(tmp_path: Path, rule: str, expr: str, panel: dict[str, Any]) -> None:
    faults = check(write_panel(tmp_path, expr, **panel))
    assert [fault.rule for fault in faults] == [rule], [str(fault) for fault in faults]
    assert faults[0].place.file.endswith("board.json") and faults[0].place.ref == "A"
    assert faults[0].line == 1 or rule == "wrong-unit"


def test_every_rule_has_a_broken_example() -> None:
    elsewhere = {"unreadable", "duplicate-uid", "fixed-datasource", "all-with-equal"}
    assert {rule for rule, *_ in BROKEN} | elsewhere == set(RULES)


def test_a_broken_copy_of_a_shipped_dashboard_is_caught_fault_by_fault(tmp_path: Path) -> None:
    """Each fault once, in a row that is shut, in the copy of a board that is right."""
    shipped = ROOT / "grafana" / "dashboards" / "overview.json"
    planted = {f"{rule} {at}": (rule, expr, panel) for at, (rule, expr, panel) in enumerate(BROKEN)}
    board = json.loads(shipped.read_text())
    elsewhere = {"type": "prometheus", "uid": "PBFA97CFB590B2093"}
    broken = [
        build_panel(name, expr, **{key: value for key, value in panel.items() if key != "title"})
        | ({"title": f"{panel['title']} {name}"} if "title" in panel else {})
        for name, (_, expr, panel) in planted.items()
    ]
    fixed = build_panel("fixed-datasource", "vllm:num_requests_running", datasource=elsewhere)
    row = {"type": "row", "title": "Broken", "collapsed": True, "panels": [*broken, fixed]}
    board["panels"].append(row)
    copy = tmp_path / "copy.json"
    copy.write_text(json.dumps(board))
    rules = [*(ROOT / "prometheus" / "rules").glob("*.yaml")]
    files = [load_query_file(path, ["prometheus"]) for path in (shipped, copy, *rules)]
    found = check_files(files, INVENTORY, scrape_interval_seconds=15)
    of_copy = [fault for fault in found if fault.place.file == str(copy) and fault.place.row in ("Broken", None)]
    assert [fault.rule for fault in of_copy if fault.place.row is None] == ["duplicate-uid"]
    told = [(fault.place.name, fault.rule) for fault in of_copy if fault.place.row == "Broken"]
    wanted = [(panel["title"], rule) for panel, (rule, *_) in zip(broken, planted.values(), strict=True)]
    assert sorted(told) == sorted([*wanted, ("fixed-datasource", "fixed-datasource")])
    # What was right in the original is right in the copy.
    others = [str(fault) for fault in found if fault not in of_copy and fault.severity != "note"]
    assert others == []


@pytest.mark.parametrize(
    ("expr", "unit"),
    [
        (f"histogram_quantile(0.9, sum by (le) (rate({TTFT}_bucket[$__rate_interval])))", "s"),
        (f"1000 * histogram_quantile(0.9, sum by (le) (rate({TTFT}_bucket[5m])))", "ms"),
        (f"histogram_quantile(0.9, sum by (le) (rate({TTFT}_bucket[5m]))) * 1000", "ms"),
        (f"sum(rate({TTFT}_sum[5m])) / (sum(rate({TTFT}_count[5m])) > 0)", "s"),
        (f'sum(rate({TTFT}_bucket{{le="0.5"}}[5m])) / (sum(rate({TTFT}_count[5m])) > 0)', "percentunit"),
        ("vllm:kv_cache_usage_perc", "percentunit"),
        ("vllm:kv_cache_usage_perc * 100", "percent"),
        ('sum by (finished_reason) (rate(vllm:request_success_total{model_name=~"$model"}[5m]))', "reqps"),
        ("changes(process_start_time_seconds[30m])", ""),
        ("absent(vllm:num_requests_running)", ""),
        ('count(vllm:prompt_tokens_total{job="vllm",instance=~".+"})', ""),
        ("time() - process_start_time_seconds", "s"),
        ("max_over_time(vllm:num_requests_running[$__interval])", ""),
        ("label_replace(vllm:num_requests_running, 'a', '$1', 'engine', \"(.*)\")", ""),
        ('count(vllm:num_requests_running{engine="$one"})', ""),
        ("$by (vllm:num_requests_running)", ""),
        ("histogram_quantile(0.9, sum(rate(native_seconds[5m])))", ""),
        (f"avg(histogram_quantile(0.9, sum by (le) (rate({TTFT}_bucket[5m]))))", "s"),
        (f"count(histogram_quantile(0.9, sum by (le, engine) (rate({TTFT}_bucket[5m]))) > 1)", ""),
        (f"1000 * histogram_quantile(0.9, sum by (le) (rate({TTFT}_bucket[5m]))) > 9000", "ms"),
        (f"rate({TTFT}_sum[5m]) / (rate({TTFT}_count[5m]) + 1e-9)", "s"),
        (f"rate({TTFT}_sum[5m]) / rate({TTFT}_count[5m]) >= 0", "s"),
        ("rate(process_cpu_seconds_total[5m]) / count(vllm:num_requests_running)", "percentunit"),
        ("rate(process_cpu_seconds_total[5m]) / on (instance) machine_cores", "percentunit"),
        ("exporter_download_speed_bytes", "Bps"),
        ("rate(vllm:request_queue_time_seconds_sum[5m])", "percentunit"),
        ("rate(other_seconds_total[20s])", ""),
    ],
)
def test_what_is_right_has_no_fault(tmp_path: Path, expr: str, unit: str) -> None:
    path = write_panel(tmp_path, expr, unit=unit)
    document = json.loads(path.read_text())
    document["templating"] = {
        "list": [
            {"name": "model", "type": "query", "includeAll": True, "query": "x"},
            {"name": "one", "type": "query", "query": "x", "current": {"value": "elsewhere"}},
            {"name": "by", "type": "custom", "query": "sum,avg"},
        ]
    }
    path.write_text(json.dumps(document))
    faults = [fault for fault in check(path) if fault.rule != "not-checked"]
    assert [str(fault) for fault in faults if fault.place.kind == "panel"] == []


def test_the_shipped_dashboards_and_rules_keep_the_contract() -> None:
    paths = [*(ROOT / "grafana" / "dashboards").glob("*.json"), *(ROOT / "prometheus" / "rules").glob("*.yaml")]
    files = [load_query_file(path, ["prometheus"]) for path in paths]
    assert sum(len(file.queries) for file in files) > 50
    faults = check_files(files, INVENTORY, scrape_interval_seconds=15)
    assert [str(fault) for fault in faults if fault.severity != "note"] == []


def test_a_dead_name_tells_what_replaced_it_and_since_when(tmp_path: Path) -> None:
    [fault] = check(write_panel(tmp_path, "max(vllm:gpu_cache_usage_perc)"))
    assert str(fault).endswith("1:5: `vllm:gpu_cache_usage_perc` does not exist since vLLM 0.12 [dead-metric]")
    assert fault.hint is not None and "vllm:kv_cache_usage_perc" in fault.hint


def test_the_position_is_that_of_the_query_as_it_was_written(tmp_path: Path) -> None:
    [fault] = check(write_panel(tmp_path, "up\n  + vllm:gpu_cache_usage_perc"))[1:]
    assert (fault.line, fault.column) == (2, 5)


def test_a_rule_file_is_read_and_what_it_records_exists_elsewhere(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "groups:\n- name: a\n  rules:\n"
        "  - record: instance:vllm_tokens:rate1m\n    expr: sum(rate(vllm:generation_tokens_total[1m]))\n"
        "  - alert: Slow\n    expr: instance:vllm_tokens:rate1m < 1 and vllm:num_requests_swapped > 0\n"
    )
    board = write_panel(tmp_path, "instance:vllm_tokens:rate1m")
    files = [load_query_file(rules), load_query_file(board)]
    faults = check_files(files, INVENTORY, scrape_interval_seconds=15)
    assert [(fault.place.name, fault.rule) for fault in faults] == [("Slow", "dead-metric")]
    custom = tmp_path / "custom.yaml"
    custom.write_text("kind: PrometheusRule\nspec:\n  groups:\n  - name: a\n    rules: [{alert: A, expr: up == 0}]\n")
    assert [query.text for query in load_query_file(custom).queries] == ["up == 0"]


def test_collapsed_rows_old_rows_variables_and_annotations_are_read(tmp_path: Path) -> None:
    target = {"refId": "A", "expr": "up"}
    board = {
        "uid": "x", "title": "t",
        "panels": [{"type": "row", "title": "Row", "panels": [{"title": "inside", "targets": [target]}]}],
        "rows": [{"title": "Old", "panels": [{"title": "older", "targets": [target], "yaxes": [{"format": "ms"}]}]}],
        "templating": {"list": [
            {"name": "v", "type": "query", "query": {"query": "label_values(vllm:num_requests_running, engine)"}},
            {"name": "n", "type": "query", "query": "label_values(job)"},
            {"name": "r", "type": "query", "query": "query_result(count(up))"},
        ]},
        "annotations": {"list": [{"name": "boots", "expr": "changes(up[5m]) > 0"}]},
    }  # fmt: skip
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"dashboard": board, "meta": {}}))
    file = load_query_file(path)
    assert [(query.place.kind, query.place.name, query.place.row, query.text) for query in file.queries] == [
        ("panel", "inside", "Row", "up"),
        ("panel", "older", "Old", "up"),
        ("variable", "v", None, "vllm:num_requests_running"),
        ("variable", "r", None, "count(up)"),
        ("annotation", "boots", None, "changes(up[5m]) > 0"),
    ]
    assert file.queries[1].unit == "ms"


def test_what_is_not_understood_is_said(tmp_path: Path) -> None:
    perses = tmp_path / "perses.yaml"
    perses.write_text(json.dumps({"kind": "Dashboard", "spec": {"layouts": [], "panels": {"0": {}}}}))
    library = tmp_path / "lib.json"
    library.write_text(json.dumps({"uid": "l", "panels": [{"title": "p", "libraryPanel": {"name": "GPU"}}]}))
    other = tmp_path / "other.json"
    other.write_text('{"a": 1}')
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    rules: list[str] = []
    for path in (perses, library, other, broken, tmp_path / "missing.yaml"):
        rules += [fault.rule for fault in check(path)]
    assert rules == ["not-understood"] * 3 + ["unreadable"] * 2
    assert "Perses" in check(perses)[0].message and "`GPU`" in check(library)[0].message


def test_a_second_uid_and_a_written_data_source_are_told(tmp_path: Path) -> None:
    first = write_panel(tmp_path, "up")
    second = tmp_path / "second.json"
    document = json.loads(first.read_text())
    document["panels"][0]["datasource"] = {"type": "prometheus", "uid": "P123"}
    second.write_text(json.dumps(document))
    files = [load_query_file(path) for path in (first, second)]
    faults = check_files(
        files, merge_inventories(INVENTORY, build_name_inventory(["up"], "x")), scrape_interval_seconds=15
    )
    assert [fault.rule for fault in faults] == ["duplicate-uid", "fixed-datasource"]
    assert load_query_file(second, ["P123"]).faults == ()


def test_another_language_is_left_alone(tmp_path: Path) -> None:
    path = write_panel(tmp_path, '{job="vllm"} |= "error"')
    document = json.loads(path.read_text())
    document["panels"][0]["targets"][0]["datasource"] = {"type": "loki", "uid": "${loki}"}
    path.write_text(json.dumps(document))
    assert load_query_file(path) == QueryFile(str(path), uids=("x",))


def test_an_inventory_survives_being_kept(tmp_path: Path) -> None:
    path = tmp_path / "vllm.json"
    path.write_text(render_inventory(INVENTORY, version="0.32.0", commit=None))
    kept = load_inventory(path)
    assert kept.source == "vLLM 0.32.0"
    assert kept.series == {name: facts for name, facts in INVENTORY.series.items() if INVENTORY.covers(name)}
    assert kept.series[f"{TTFT}_bucket"].bounds[:3] == (0.001, 0.005, 0.01)
    assert kept.series["vllm:request_success_total"].labels == {"model_name", "engine", "finished_reason"}


def test_running_tells_ok_empty_conditional_dead_and_error(tmp_path: Path) -> None:
    exprs = ["up", "vllm:kv_cache_usage_perc", "vllm:lora_requests_info", "vllm:gpu_cache_usage_perc", "boom"]
    panels = [{"title": expr, "targets": [{"refId": "A", "expr": expr}]} for expr in exprs]
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"uid": "x", "panels": panels}))
    file = load_query_file(path)
    faults = check_files([file], INVENTORY, scrape_interval_seconds=15)

    def ask(expr: str) -> tuple[Series, ...]:
        if expr == "boom":
            raise ServiceApiError("prometheus", "http://x", "refused")
        return (Series({}, ((0.0, 1.0),)),) if expr == "up" else ()

    answers = run_queries(file.queries, faults, ask, clock=lambda: 1.0)
    assert [answer.outcome for answer in answers] == ["ok", "empty", "conditional", "dead", "error"]


def test_only_its_own_names_are_judged_by_an_inventory() -> None:
    assert INVENTORY.covers("vllm:anything") and not INVENTORY.covers("node_load1")
    assert isinstance(INVENTORY, Inventory)


def test_a_name_that_came_with_a_later_version_is_no_fault_of_an_older_engine() -> None:
    shipped = {
        version: Inventory(version, {f"vllm:{letter}": SeriesFacts("gauge") for letter in letters})
        for version, letters in {"0.9.0": "a", "0.10.0": "ab", "0.11.1": "bc"}.items()
    }
    assert mark_later(Inventory("x"), "0.9.2.dev3", shipped).later == {"vllm:b": "0.10.0", "vllm:c": "0.11.1"}
    assert mark_later(Inventory("x"), "0.10.0", shipped).later == {"vllm:c": "0.11.1"}
    assert mark_later(Inventory("x"), "0.12.0", shipped).later == {}
    # Of unknown age: what such an engine lacks must not be excused.
    assert mark_later(Inventory("x"), "0.1.dev1+gdee37d891", shipped).later == {}
    assert mark_later(Inventory("x"), "dev", shipped).later == {}


def test_a_prometheus_that_remembers_a_name_does_not_make_the_engine_export_it() -> None:
    both = merge_inventories(INVENTORY, build_name_inventory(["vllm:lost", "up"], "Prometheus"))
    assert "vllm:lost" not in both.series
    assert "up" in both.series


def test_a_name_of_an_exporter_that_answers_is_dead_and_of_one_that_is_not_there_conditional(tmp_path: Path) -> None:
    file = load_query_file(write_panel(tmp_path, "node_lod1"))

    def judge(*names: str) -> list[str]:
        faults = check_files([file], build_name_inventory(names, "Prometheus"), scrape_interval_seconds=15)
        return [fault.rule for fault in faults]

    assert judge("up") == ["conditional"]
    assert judge("up", "node_load1") == ["dead-metric"]


def test_an_alert_whose_parts_have_numbers_is_well_while_it_does_not_fire(tmp_path: Path) -> None:
    rules = [{"alert": "Full", "expr": "vllm:kv_cache_usage_perc > 0.9"}, {"alert": "Lost", "expr": "up > 9"}]
    path = tmp_path / "rules.yaml"
    path.write_text(json.dumps({"groups": [{"name": "group", "rules": rules}]}))
    file = load_query_file(path)

    def ask(expr: str) -> tuple[Series, ...]:
        return (Series({}, ((0.0, 0.5),)),) if expr.startswith("vllm:") and ">" not in expr else ()

    answers = list(run_queries(file.queries, [], ask))
    assert [answer.outcome for answer in answers] == ["ok", "empty"]
    assert answers[0].reason == "it does not fire: `vllm:kv_cache_usage_perc{}` is nowhere `> 0.9` now"


def test_names_of_any_web_service_are_not_held_against_an_engine_that_nobody_asks_for(tmp_path: Path) -> None:
    expr = 'histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket{app="shop"}[5m]))) > 60'
    assert check(write_panel(tmp_path, expr)) == []
    both = check(write_panel(tmp_path, f"{expr} or vllm:num_requests_running"))
    assert [fault.rule for fault in both] == ["not-checked", "threshold-off-buckets"]


def test_an_alert_may_look_at_each_engine_and_needs_no_guard(tmp_path: Path) -> None:
    quantile = f"histogram_quantile(0.9, rate({TTFT}_bucket[5m])) > 5"
    ratio = f"rate({TTFT}_sum[5m]) / rate({TTFT}_count[5m]) > 5"
    path = tmp_path / "rules.yaml"
    rules = [{"alert": "Slow", "expr": expr} for expr in (quantile, ratio)]
    path.write_text(json.dumps({"groups": [{"name": "g", "rules": rules}]}))
    assert check(path) == []
    assert [query.place.ref for query in load_query_file(path).queries] == ["g", "g, 2"]


def test_a_variable_takes_labels_of_a_counter_and_they_must_exist(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    texts = ("label_values(vllm:prompt_tokens_total, model_name)", "label_values(vllm:prompt_tokens_total, modelname)")
    items = [{"name": f"v{at}", "type": "query", "query": text} for at, text in enumerate(texts)]
    path.write_text(json.dumps({"panels": [], "templating": {"list": items}}))
    assert [(fault.place.name, fault.rule) for fault in check(path)] == [("v1", "dead-label")]


def test_a_panel_that_asks_in_long_steps_may_use_them_as_a_range(tmp_path: Path) -> None:
    path = write_panel(tmp_path, "rate(vllm:prompt_tokens_total[$__interval])")
    assert [fault.rule for fault in check(path)] == ["interval-in-rate"]
    document = json.loads(path.read_text())
    document["panels"][0]["interval"] = "1m"
    path.write_text(json.dumps(document))
    assert check(path) == []


def test_all_of_a_variable_needs_a_regex(tmp_path: Path) -> None:
    path = write_panel(
        tmp_path, 'vllm:num_requests_running{engine="$engine"} + vllm:num_requests_running{engine=~"$engine"}'
    )
    document = json.loads(path.read_text())
    document["templating"] = {"list": [{"name": "engine", "type": "custom", "query": "0,1", "multi": True}]}
    path.write_text(json.dumps(document))
    [fault] = check(path)
    assert (fault.rule, fault.column, fault.hint) == ("all-with-equal", 35, 'write `=~"$engine"`')

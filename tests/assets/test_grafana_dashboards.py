"""The dashboards: generated from their source, readable, and asking only for what is there."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import promql_parser
import pytest

from stack.assets import asset_path
from stack.telemetry.contract.names import load_names
from stack.telemetry.contract.variables import Standing, substitute
from stack.telemetry.exposition import parse_exposition
from stack.telemetry.other_runs import StoredBench, StoredRun, render_other_runs
from stack.telemetry.run_metrics import (
    BootRun,
    ImageExpiry,
    ReadyGpu,
    RunIdentity,
    SmokeRun,
    render_gpu_metrics,
    render_run_metrics,
)
from tests.assets.rule_files import load_rules
from tests.fixtures.panels import WAITS_FOR, load_panels, name_panel

GRAFANA = asset_path("grafana")
FOLDER = GRAFANA / "dashboards"
PATHS = sorted(FOLDER.glob("*.json"))
INVENTORIES = sorted((Path(__file__).resolve().parents[1] / "fixtures" / "metrics").glob("vllm-*.txt"))
GRID_COLUMNS = 24
NARROWEST, NARROWEST_DRAWING = 4, 6
# Of a title in Grafana's font: its letters, and what is left for the corner's buttons.
SCREEN_PIXELS, LETTER_PIXELS, TITLE_MARGIN_PIXELS = 1248, 7, 40
UNITS = {
    "none", "short", "s", "percentunit", "reqps", "string", "suffix: tok/s", "suffix: tokens", "suffix: nats/token",
    "suffix: ×", "bytes", "Bps", "celsius", "watt", "hertz", "cps",
}  # fmt: skip
TARGET_LABELS = {"job", "instance"}
# Scraped pages of the services beside the engine, cut down to what is asked of them.
PAGES = sorted((Path(__file__).resolve().parents[1] / "fixtures" / "metrics").glob("service-*.txt"))
GPU_LABELS = ("gpu", "UUID", "modelName", "clock_event", "xid")
# What an engine has only under a condition, with its labels; a row that is shut asks for it and names the condition.
# Source: vLLM 0.32.0, vllm/v1/metrics/loggers.py, vllm/v1/spec_decode/metrics.py, vllm/tool_parsers/.
CONDITIONAL = {
    "vllm:lora_requests_info": ("max_lora", "running_lora_adapters", "waiting_lora_adapters"),
    "vllm:spec_decode_num_drafts_total": ("model_name", "engine"),
    "vllm:spec_decode_num_draft_tokens_total": ("model_name", "engine"),
    "vllm:spec_decode_num_accepted_tokens_total": ("model_name", "engine"),
    "vllm:spec_decode_num_accepted_tokens_per_pos_total": ("model_name", "engine", "position"),
    "vllm:kv_block_lifetime_seconds_bucket": ("model_name", "engine", "le"),
    "vllm:kv_block_idle_before_evict_seconds_bucket": ("model_name", "engine", "le"),
    "vllm:tool_call_parser_invocations_total": ("model_name", "engine", "mode", "outcome", "request_type"),
}
# Source: ROCm/device-metrics-exporter, "List of Available Metrics"; its config may put `amd_` before its names.
AMD_NAMES = ("gpu_ecc_uncorrect_total", "pcie_replay_count")
# A text for "no data" that says of what the row's condition is about.
OF_A_ROW = {"No LoRA", "No speculative decoding", "No KV block metrics", "No tool call parser", "Not on this GPU"}


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def rows_of(board) -> list[dict]:
    return [panel for panel in board["panels"] if panel["type"] == "row"]


def everything_in(board) -> list[dict]:
    """Every panel and row, with what is in rows that are shut."""
    return [inner for panel in board["panels"] for inner in (panel, *panel.get("panels", ()))]


def panels_of(board) -> list[dict]:
    """Every panel that shows data of Prometheus."""
    return [panel for panel in everything_in(board) if panel["type"] not in ("row", "text", "annolist")]


def assert_filled(panels: list[dict], top: int) -> None:
    """Every cell from a line down belongs to one panel."""
    cells = Counter(
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )
    bottom = max(place["y"] + place["h"] for place in (panel["gridPos"] for panel in panels))
    assert set(cells.values()) == {1}
    assert set(cells) == set(itertools.product(range(GRID_COLUMNS), range(top, bottom)))


ANY_MODEL = {"model_name": Standing(".*")}
PANELS = [pytest.param(panel, id=f"{path.stem}: {panel['title']}") for path in PATHS for panel in panels_of(load(path))]
QUERIES = [pytest.param(query.expr, id=name_panel(query)) for query in load_panels()]


@pytest.fixture(scope="module")
def known() -> dict[str, list[dict[str, str]]]:
    """Every series that every known vLLM has, and our own: name -> the label sets it comes with."""
    boot = BootRun(1, 1, {"load": 1}, is_cache_warm=True)
    run = render_run_metrics(
        RunIdentity(*"abcdefg"), [boot], SmokeRun(1, 1, {"services": 1}, {"default-1": 0.1}), ImageExpiry("a", 1)
    )
    latencies = {("ttft", "p50"): 1, ("ttft", "p95"): 1, ("ttft", "p99"): 1}
    bench = StoredRun("bench", 2, True, "a", latencies, StoredBench("chat", "demo@1", 99.5))
    run += render_other_runs([StoredRun("replay", 1, True, "a", latencies), bench])
    run += render_gpu_metrics([ReadyGpu(0, "GPU-a", "RTX", 1)])
    pages = [parse_exposition(path.read_text(encoding="utf-8")) for path in INVENTORIES]
    everywhere = frozenset.intersection(*(page.names for page in pages))
    series = {name: [{}] for name in ("up", "scrape_duration_seconds", "scrape_samples_scraped")}
    series["ALERTS"] = [{"alertname": "", "severity": "", "alertstate": state} for state in ("pending", "firing")]
    newest = pages[-1].names - everywhere
    for page in (*pages, parse_exposition(run), *(parse_exposition(path.read_text()) for path in PAGES)):
        for sample in page.samples:
            if sample.name in everywhere | newest or not sample.name.startswith(("vllm:", "http_")):
                series.setdefault(sample.name, []).append(dict(sample.labels))
    for name, labels in (*CONDITIONAL.items(), *((name, GPU_LABELS) for name in dcgm_names())):
        series[name] = [dict.fromkeys(labels, "")]
    for name in AMD_NAMES:
        series[name] = series[f"amd_{name}"] = [dict.fromkeys(("gpu_id", "card_model"), "")]
    for rule in itertools.chain.from_iterable(map(load_rules, ("recording.yaml", "gpu.yaml", "slo.yaml"))):
        if "record" in rule:
            bounds = {
                labels["le"]
                for node in selectors_in(rule["expr"])
                for labels in series.get(node.name, ())
                if "le" in labels
            }
            series.setdefault(rule["record"], []).extend(label_sets_of(rule, bounds))
    return series


def dcgm_names() -> list[str]:
    """What our dcgm-exporter is told to export."""
    path = asset_path("compose", "dcgm-exporter") / "counters.csv"
    return re.findall(r"^(DCGM_\w+),", path.read_text(encoding="utf-8"), re.MULTILINE)


def label_sets_of(rule: dict, bounds: set[str]) -> list[dict[str, str]]:
    """The label sets of what a rule records, with every value that the engine gives a label."""
    labels = dict.fromkeys(labels_of(rule), "") | rule.get("labels", {})
    fixed = {label: values for (name, label), values in load_names().values.items() if name in rule["expr"]}
    fixed["le"] = bounds
    choices = [[(label, value) for value in fixed.get(label, [labels[label]])] for label in labels]
    return [dict(pairs) for pairs in itertools.product(*choices)]


def labels_of(rule: dict) -> list[str]:
    level = rule["record"].split(":")[0]
    if level == "gpu":
        return ["instance", "gpu", "UUID", "modelName"]
    level = level.replace("model", "model_name", 1)
    return re.findall(r"model_name|finished_reason|reason|slo|instance|(?<=_)le", level)


def selectors_in(expr: str) -> list[promql_parser.VectorSelector]:
    found = []

    def visit(node) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(expr), visit)
    return found


def generate(*argv, script=GRAFANA / "generate.py", **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error", str(script), *argv],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(GRAFANA, tmp_path / "grafana", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "grafana"


def test_the_committed_dashboards_are_what_the_source_makes():
    done = generate("--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_dashboard_that_was_edited_by_hand_is_found_and_written_anew(copied):
    path = copied / "dashboards" / "overview.json"
    wanted = path.read_text()
    path.write_text(wanted.replace("Overview", "Mine"))
    (copied / "dashboards" / "stray.json").write_text("{}")
    done = generate("--check", script=copied / "generate.py")
    assert done.returncode == 1
    assert done.stderr == "overview.json differs from its source\nstray.json differs from its source\n"
    assert generate(script=copied / "generate.py").returncode == 0
    assert path.read_text() == wanted
    assert sorted(item.name for item in path.parent.iterdir()) == [item.name for item in PATHS]


def test_the_generator_refuses_other_arguments():
    assert generate("--chekc").returncode == 2


@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_same_source_makes_the_same_bytes(seed):
    assert generate("--check", PYTHONHASHSEED=seed).returncode == 0


def test_there_is_an_overview():
    assert "overview" in [path.stem for path in PATHS]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
class TestDashboard:
    def test_the_file_is_called_as_the_uid(self, path):
        assert load(path)["uid"] == path.stem

    def test_it_is_read_only_and_of_the_classic_schema(self, path):
        board = load(path)
        assert board["editable"] is False
        assert board["schemaVersion"] == 42
        assert not {"apiVersion", "spec", "elements", "__inputs"} & set(board)
        assert board.get("id") is None

    def test_it_begins_with_the_question_that_it_answers(self, path):
        board = load(path)
        head = board["panels"][0]
        assert (head["type"], head["title"]) == ("text", board["description"])
        assert head["title"].endswith("?")
        assert head["options"]["content"]

    def test_it_leads_to_the_others_with_the_time_and_the_model(self, path):
        (link,) = load(path)["links"]
        assert (link["type"], link["tags"], link["keepTime"], link["includeVars"]) == (
            "dashboards",
            ["stack"],
            True,
            True,
        )
        assert "stack" in load(path)["tags"]
        assert "placement" not in link, "it would be hidden in a menu"

    def test_panels_have_numbers_and_titles_of_their_own(self, path):
        panels = everything_in(load(path))
        assert sorted(panel["id"] for panel in panels) == list(range(1, len(panels) + 1))
        repeated = [title for title, count in Counter(panel["title"] for panel in panels).items() if count > 1]
        assert repeated == []

    def test_panels_fill_the_grid_without_overlap(self, path):
        panels = load(path)["panels"]
        assert_filled(panels, 0)
        for row in rows_of(load(path)):
            if row["panels"]:
                assert_filled(row["panels"], row["gridPos"]["y"] + 1)

    def test_a_row_is_shut_if_and_only_if_it_names_a_condition(self, path):
        for row in rows_of(load(path)):
            assert row["collapsed"] is row["title"].startswith("Only with ") is bool(row["panels"])
            for panel in row["panels"]:
                assert panel["fieldConfig"]["defaults"]["noValue"] in OF_A_ROW

    def test_what_is_there_under_a_condition_is_asked_for_in_a_row_that_is_shut(self, path):
        asked = [
            (panel["title"], node.name)
            for panel in load(path)["panels"]
            for target in panel.get("targets", ())
            for node in selectors_in(substitute(target["expr"], ANY_MODEL))
        ]
        assert [item for item in asked if item[1] in CONDITIONAL] == []

    def test_what_only_newer_engines_have_says_so(self, path):
        pages = [parse_exposition(inventory.read_text(encoding="utf-8")).names for inventory in INVENTORIES]
        lacking = pages[-1] - frozenset.intersection(*pages)
        for panel in panels_of(load(path)):
            for target in panel["targets"]:
                nodes = selectors_in(substitute(target["expr"], ANY_MODEL))
                if {node.name for node in nodes} & lacking:
                    assert panel["fieldConfig"]["defaults"]["noValue"] == "Not of this version"

    def test_no_panel_is_too_narrow_for_1280_pixels(self, path):
        for panel in everything_in(load(path)):
            narrowest = NARROWEST if panel["type"] == "stat" else NARROWEST_DRAWING
            assert panel["gridPos"]["w"] >= narrowest, panel["title"]

    def test_no_title_is_cut_at_1280_pixels(self, path):
        for panel in panels_of(load(path)):
            room = panel["gridPos"]["w"] * SCREEN_PIXELS / GRID_COLUMNS - TITLE_MARGIN_PIXELS
            assert len(panel["title"]) * LETTER_PIXELS <= room, panel["title"]

    def test_it_marks_what_happened_to_the_stack(self, path):
        (query,) = load(path)["annotations"]["list"]
        assert query["enable"] is True
        assert query["datasource"] == {"type": "grafana", "uid": "-- Grafana --"}
        assert (query["target"]["type"], query["target"]["tags"]) == ("tags", ["stack"])

    def test_its_variables_show_everything_at_first_and_exist(self, path, known):
        for variable in load(path)["templating"]["list"]:
            assert variable["current"]["value"] == "$__all"
            assert variable["allValue"] == ".*"
            metric, label = re.fullmatch(r"label_values\((\S+), (\w+)\)", variable["query"]).groups()
            assert all(label in labels for labels in known[metric])


def test_the_overview_lists_what_happened_with_what_to_do_about_it():
    (panel,) = [panel for panel in everything_in(load(FOLDER / "overview.json")) if panel["type"] == "annolist"]
    assert panel["options"]["tags"] == ["stack"]
    assert panel["options"]["onlyFromThisDashboard"] is False
    assert panel["description"].startswith("Good: ")
    assert "\n\nOtherwise: " in panel["description"]


def test_what_is_computed_twice_is_a_recording_rule():
    asked = Counter(target["expr"] for path in PATHS for panel in panels_of(load(path)) for target in panel["targets"])
    twice = [substitute(expr, ANY_MODEL) for expr, count in asked.items() if count > 1]
    assert [expr for expr in twice if not isinstance(promql_parser.parse(expr), promql_parser.VectorSelector)] == []


@pytest.mark.parametrize("panel", PANELS)
class TestPanel:
    def test_it_has_a_unit_that_is_known(self, panel):
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS

    def test_it_says_what_good_is_and_what_to_do_otherwise(self, panel):
        good, otherwise = panel["description"].split("\n\n")
        assert good.startswith("Good: ")
        assert otherwise.startswith("Otherwise: ")
        assert good.endswith(".")
        assert otherwise.endswith(".")

    def test_it_has_thresholds_that_rise_from_everything(self, panel):
        steps = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
        assert steps[0] is None
        assert steps[1:] == sorted(set(steps[1:]))

    def test_it_has_a_word_for_no_data(self, panel):
        assert panel["fieldConfig"]["defaults"]["noValue"] in {*WAITS_FOR, "Not scraped"}

    def test_its_series_have_names(self, panel):
        assert all(target["legendFormat"] for target in panel["targets"])
        if panel["type"] in ("timeseries", "barchart"):
            assert panel["options"]["legend"]["showLegend"] is True

    def test_it_asks_the_one_data_source(self, panel):
        asked = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert asked == [{"type": "prometheus", "uid": "prometheus"}] * len(asked)

    def test_it_asks_over_time_only_where_it_draws_time(self, panel):
        over_time = panel["type"] in ("timeseries", "heatmap", "state-timeline")
        for target in panel["targets"]:
            assert (target["range"], target["instant"]) == (over_time, not over_time)

    def test_its_queries_have_letters(self, panel):
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(panel["targets"])])

    def test_its_rates_follow_the_scrape_interval_and_the_view(self, panel):
        for target in panel["targets"]:
            ranges = re.findall(r"\[([^\]]+)\]", target["expr"])
            assert set(ranges) <= {"$__rate_interval", "$__range"}

    def test_words_for_values_cover_the_steps(self, panel):
        defaults = panel["fieldConfig"]["defaults"]
        for mapping in defaults.get("mappings", []):
            values = {float(value) for value in mapping["options"]}
            steps = {step["value"] for step in defaults["thresholds"]["steps"]} - {None}
            assert steps <= values


@pytest.mark.parametrize("expr", QUERIES)
class TestQuery:
    def test_it_parses(self, expr):
        assert promql_parser.parse(expr)

    def test_every_metric_exists(self, expr, known):
        assert [node.name for node in selectors_in(expr) if node.name not in known] == []

    def test_every_label_that_it_selects_by_exists(self, expr, known):
        for node in selectors_in(expr):
            for matcher in node.matchers.matchers:
                if matcher.name in TARGET_LABELS:
                    continue
                values = {labels.get(matcher.name) for labels in known[node.name]}
                assert None not in values, f"{node.name} has no label {matcher.name}"
                if matcher.op == promql_parser.MatchOp.Equal:
                    assert matcher.value in values
                elif matcher.op == promql_parser.MatchOp.Re and re.fullmatch(r"[\w.]+(\|[\w.]+)+", matcher.value):
                    assert set(matcher.value.split("|")) <= values

    def test_it_selects_the_model_where_it_can(self, expr, known):
        # The engine's own state is shown for every model: it is about the process.
        for node in selectors_in(expr):
            by_model = all("model_name" in labels for labels in known[node.name])
            if by_model and node.name != "vllm:engine_sleep_state":
                assert "model_name" in [matcher.name for matcher in node.matchers.matchers]

"""The cost script: its pairs, its day of samples, its queries and its table; that it runs is shown by a scenario."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest

from stack.assets import asset_path
from stack.telemetry.exposition import parse_exposition
from stack.telemetry.prometheus_api import Series
from tests.assets.test_prometheus_live import serving

LIB = Path(__file__).resolve().parents[2] / "scripts" / "lib"
PAGE = LIB.parents[1] / "tests" / "fixtures" / "metrics" / "vllm-0.32.0.txt"
MODULES = ("engine", "backfill", "queries", "table", "day")


@pytest.fixture(scope="module")
def cost() -> Iterator[SimpleNamespace]:
    """Give the script's modules, which find one another because they lie in one folder."""
    sys.path.insert(0, str(LIB))
    yield SimpleNamespace(**{name: importlib.import_module(f"cost_{name}") for name in MODULES})
    sys.path.remove(str(LIB))
    for name in MODULES:
        del sys.modules[f"cost_{name}"]


class Completions(BaseHTTPRequestHandler):
    """Answers every request for a completion."""

    asked: ClassVar[list[dict]] = []
    status = 200

    def do_POST(self) -> None:
        self.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"no")

    def log_message(self, format: str, *args: object) -> None:
        pass


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def make_windows(engine: ModuleType, *seconds: float) -> list:
    kinds = engine.plan_windows(len(seconds) // 2)
    return [engine.Window(kind, 100, taken, 1.0) for kind, taken in zip(kinds, seconds, strict=True)]


class TestPairs:
    def test_each_kind_comes_as_often_first_as_second(self, cost):
        assert cost.engine.plan_windows(4) == [True, False, False, True, True, False, False, True]

    def test_a_ratio_is_with_to_without_whichever_came_first(self, cost):
        measured, control = cost.engine.compare_pairs(make_windows(cost.engine, 10, 5, 4, 8))
        assert measured == [0.5, 0.5]
        assert control == [1.25]

    def test_a_machine_that_gets_slower_cancels_out(self, cost):
        measured, control = cost.engine.compare_pairs(make_windows(cost.engine, *(10 * 1.1**n for n in range(8))))
        assert sorted(measured) == pytest.approx([1 / 1.1, 1 / 1.1, 1.1, 1.1])
        assert control == pytest.approx([1 / 1.1] * 3)

    @pytest.mark.parametrize(("count", "low", "high"), [(1, 0, 0), (4, 0, 3), (10, 1, 8), (25, 7, 17), (100, 39, 60)])
    def test_the_median_is_bounded_by_the_values_of_the_sign_test(self, cost, count, low, high):
        assert cost.engine.bound_median(list(range(count))[::-1]) == (low, high)

    def test_what_came_in_each_window_is_counted_as_it_was_switched(self, cost):
        happened: list[object] = []
        tokens, cpu, now = iter([100, 150, 200, 260]), iter([1, 2, 2, 2.5]), iter([10, 12, 20, 22])
        found = cost.engine.run_windows(
            lambda: next(tokens),
            2.0,
            1,
            switch=happened.append,
            count_cpu=lambda: next(cpu),
            clock=lambda: next(now),
            sleep=happened.append,
        )
        windows = list(found)
        assert happened == [2.0, True, 2.0, False, 2.0]
        assert [(one.has_services, one.tokens_per_second, one.cpu_seconds) for one in windows] == [
            (True, 25.0, 1),
            (False, 30.0, 0.5),
        ]
        assert cost.engine.share_cpu(windows, 2) == [0.25]

    def test_the_clients_ask_until_the_end_and_a_refusal_is_told(self, cost):
        load = cost.engine.Load("m", clients=2, tokens=7)
        with serving(Completions) as address:
            port = int(address.rpartition(":")[2])
            with cost.engine.keep_busy(port, load):
                wait_until(lambda: len(Completions.asked) >= 6)
            assert {(one["max_tokens"], one["ignore_eos"]) for one in Completions.asked} == {(7, True)}
            assert {one["seed"] for one in Completions.asked} == {0, 1}
            Completions.status = 500
            before = len(Completions.asked)
            with pytest.raises(RuntimeError, match="the engine answered 500: no"), cost.engine.keep_busy(port, load):
                wait_until(lambda: len(Completions.asked) > before)


class TestDay:
    BEGIN = 1_763_700_000

    def take(self, cost, source, hours=24):
        times = range(self.BEGIN, self.BEGIN + hours * 3600, 60)
        text = "".join(cost.backfill.render_samples([source], self.BEGIN, times))
        lines = [line.rsplit(" ", 2) for line in text.splitlines()]
        assert [int(line[2]) for line in lines] == list(times)
        assert {line[0] for line in lines} == {source.text}
        return [float(line[1]) for line in lines]

    def test_the_engines_counters_grow_are_reset_by_each_boot_and_rest(self, cost):
        source = cost.backfill.build_source("vllm:prompt_tokens_total", {"job": "vllm"}, 111.0)
        values = self.take(cost, source)
        falls = [(later - now) < 0 for now, later in pairwise(values)]
        assert [60 * (index + 1) for index, falls_here in enumerate(falls) if falls_here] == [
            *cost.backfill.BOOTS_SECONDS[1:]
        ]
        assert values[0] == values[14] == 0 < values[20] < values[59]
        assert len({*values[60 * 4 + 1 : 60 * 5]}) == 1

    def test_the_buckets_of_a_histogram_stay_in_order(self, cost):
        labels = {"job": "vllm", "le": "1"}
        lower = self.take(cost, cost.backfill.build_source("x_bucket", labels, 2.0))
        upper = self.take(cost, cost.backfill.build_source("x_bucket", labels | {"le": "+Inf"}, 3.0))
        assert all(one <= other for one, other in zip(lower, upper, strict=True))

    def test_a_day_ends_in_work(self, cost):
        values = self.take(cost, cost.backfill.build_source("vllm:num_requests_running", {"job": "vllm"}, 0.0))
        assert values[0] == 0 and values[-2] > 0
        assert max(values) <= cost.backfill.MOVING["vllm:num_requests_running"]

    def test_the_hosts_counters_run_through_and_flags_stay_as_they_are(self, cost):
        values = self.take(cost, cost.backfill.build_source("node_cpu_seconds_total", {"job": "node"}, 100.5))
        assert values == sorted(values) and values[-1] > values[0]
        assert set(self.take(cost, cost.backfill.build_source("up", {"job": "node"}, 1.0))) == {1.0}

    def test_labels_are_escaped_as_the_text_format_has_it(self, cost):
        labels = {"job": "vllm", "path": 'a\\b"c\nd'}
        source = cost.backfill.build_source("x", labels, 1.0)
        (sample,) = parse_exposition(f"{source.text} 1\n").samples
        assert sample.labels == labels

    def test_boards_have_the_fields_that_dcgm_exporter_is_told_to_export(self, cost):
        fields = asset_path("compose", "dcgm-exporter", "counters.csv").read_text(encoding="utf-8")
        found = cost.backfill.build_gpu_sources(fields, boards=2)
        kinds = {one.name: one.is_counter for one in found}
        assert kinds["DCGM_FI_DEV_GPU_UTIL"] is False and kinds["DCGM_FI_DEV_THERMAL_VIOLATION"] is True
        assert len(found) == 2 * len(kinds)

    def test_what_a_rule_gave_is_written_under_its_name_and_labels(self, cost):
        rule = cost.day.Recording("a:b:c", "x", {"slo": "ttft"}, 30.0)
        series = Series({"__name__": "x", "model_name": "m", "slo": "y"}, ((60.0, 1.5), (90.0, float("nan"))))
        begin = 'a:b:c{model_name="m",slo="ttft"}'
        assert cost.day.render_recorded(rule, series) == f"{begin} 1.5 60.0\n{begin} nan 90.0\n"

    def test_every_recording_rule_is_evaluated_as_often_as_its_group_says(self, cost):
        rules = cost.day.load_rules(asset_path("prometheus", "rules"), 5)
        assert {rule.interval_seconds for rule in rules} >= {5, 30.0, 60.0, 120.0}
        assert not [rule for rule in rules if not rule.name]

    @pytest.mark.parametrize(
        ("begin", "end", "blocks"),
        [(7100, 7300, [(7100, 7200), (7200, 7300)]), (7200, 14400, [(7200, 14400)]), (0, 60, [(0, 60)])],
    )
    def test_samples_are_written_block_by_block(self, cost, begin, end, blocks):
        assert cost.day.list_blocks(begin, end) == blocks

    def test_an_engines_series_are_those_that_are_kept_under_the_name_of_what_is_served(self, cost):
        found = cost.day.read_engine_sources(PAGE, "mine")
        assert not [one for one in found if one.name.endswith("_created")]
        assert {one.labels.get("model_name", "mine") for one in found} == {"mine"}
        assert {(one.labels["job"], one.labels["instance"]) for one in found} == {("vllm", "engine")}


class TestQueries:
    @pytest.mark.parametrize(("seconds", "step"), [(3600, 2), (86_400, 60), (7 * 86_400, 600), (30, 1)])
    def test_the_step_is_the_nice_one_nearest_to_a_pixel(self, cost, seconds, step):
        assert cost.queries.pick_step_seconds(seconds) == step

    def test_the_rate_interval_holds_four_scrapes_or_a_step_and_a_scrape(self, cost):
        assert cost.queries.build_values(86_400, 5)["__rate_interval"] == "65s"
        assert cost.queries.build_values(3600, 15)["__rate_interval"] == "60s"

    def test_every_query_of_every_dashboard_is_asked_without_variables(self, cost):
        found = cost.queries.load_queries(asset_path("grafana", "dashboards"), cost.queries.build_values(86_400, 5))
        assert len(found) > 100 and not [query for query in found if "$" in query.expr.replace('"$1"', "")]
        assert {query.name.partition(":")[0] for query in found} >= {"overview", "kv-cache", "requests", "slo"}
        assert any("[86400s]" in query.expr for query in found) and any("[65s]" in query.expr for query in found)
        assert {query.is_instant for query in found} == {True, False}

    def test_every_turn_asks_all_and_the_first_does_not_count(self, cost):
        queries = [cost.queries.Asked(name, "1", False) for name in ("a", "b")]
        asked: list[tuple[str, int]] = []
        ticks = iter(range(100))

        def ask(query, turn):
            asked.append((query.name, turn))
            return 3

        timed = cost.queries.measure(queries, ask, 2, clock=lambda: next(ticks))
        assert asked == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
        assert [(one.seconds, one.series_count) for one in timed] == [([1, 1], 3), ([1, 1], 3)]

    @pytest.mark.parametrize(("count", "p95"), [(1, 1), (10, 10), (20, 19), (100, 95)])
    def test_the_percentile_is_a_value_that_was_taken(self, cost, count, p95):
        assert cost.queries.pick_percentile([float(n + 1) for n in range(count)][::-1], 0.95) == p95


class TestTable:
    @pytest.mark.parametrize(
        ("seconds", "met", "between"),
        [
            ((10.5, 10, 10, 10.5) * 3, False, "0.952 and 0.952"),
            ((10, 10) * 6, True, "1.000 and 1.000"),
            ((9, 10, 10, 12) * 3, None, "0.833 and 1.111"),
            ((10, 10) * 5, None, "1.000 and 1.000"),
        ],
        ids=["slower", "even", "on both sides of the target", "too few pairs"],
    )
    def test_the_ratio_is_judged_where_the_pairs_tell(self, cost, seconds, met, between):
        rows, notes = cost.table.build_engine_rows(make_windows(cost.engine, *seconds), 2, [], 5)
        (row,) = (row for row in rows if row.target is not None)
        assert (row.met, notes) == (met, [f"19 times of 20 the true median of the ratio lies between {between}"])
        assert cost.table.render_rows([row], []).endswith({None: "unsure", True: "yes", False: "NO"}[met])

    @pytest.mark.parametrize(("cpu", "met"), [(0.04, True), (0.2, False)])
    def test_what_they_leave_is_told_by_their_cpu_time_and_that_of_the_page(self, cost, cpu, met):
        windows = [cost.engine.Window(kind, 100, 10, cpu) for kind in cost.engine.plan_windows(6)]
        rows, _ = cost.table.build_engine_rows(windows, 2, [0.01, 0.03], 5)
        found = {row.name: row for row in rows}
        # 20 ms in every 5 s, and their own seconds in every 10, on two cores.
        assert found["the engine's page for them, at most"].value == pytest.approx(0.2)
        left = found["CPU time that they leave"]
        assert (left.value, left.target, left.met) == (pytest.approx(1 - 0.002 - cpu / 20), 0.99, met)

    def test_a_query_is_judged_by_its_p95_and_the_slowest_come_first(self, cost):
        took = {"fast": [0.1] * 19 + [0.9], "slow": [0.1] * 18 + [0.4, 0.4], "none": [0.001] * 20}
        timed = [
            cost.queries.Timed(cost.queries.Asked(name, "1", False), seconds, len(name) - 4)
            for name, seconds in took.items()
        ]
        rows, notes = cost.table.build_query_rows(timed)
        assert [(row.name, row.value, row.met) for row in rows] == [
            ("slow", 400.0, False), ("fast", 100.0, True), ("none", 1.0, True),
        ]  # fmt: skip
        assert notes == [
            "the median query's p95 is 100 ms, the slowest one's 400 ms",
            "2 of 3 queries have a p95 within 300 ms (3 gave no series)",
        ]

    def test_a_person_sees_the_slowest_queries_and_all_that_missed(self, cost):
        def row(name: str, met: bool | None, series: int | None):
            return cost.table.Row(name, "ms, p95", 1.0, 1.0, 1.0, 1, 300.0, met, series)

        rows = [row("memory", None, None), *(row(f"query {number}", number != 14, 1) for number in range(16))]
        names = [one.name for one in cost.table.pick_shown(rows)]
        assert names == ["memory", *(f"query {number}" for number in range(10)), "query 14"]

    def test_the_table_tells_units_targets_and_what_was_missed(self, cost):
        row = cost.table.Row
        rows = [
            row("with / paused, in pairs", "ratio", 0.98765, 0.9, 1.1, 10, 0.99, False),
            row("memory in all", "MiB", 60.25, 60.0, 61.0, 3),
            row("requests: Prompt lengths (A)", "ms, p95", 45.4, 24.0, 50.0, 20, 300.0, True, 1),
        ]
        assert cost.table.render_rows(rows, ["said"]) == (
            "FIGURE                                                     UNIT        VALUE      MIN      MAX    N"
            "   TARGET  MET\n"
            "with / paused, in pairs                                    ratio       0.988    0.900    1.100   10"
            "  >= 0.99  NO\n"
            "memory in all                                              MiB          60.2     60.0     61.0    3\n"
            "requests: Prompt lengths (A)                               ms, p95      45.4     24.0     50.0   20"
            "   <= 300  yes\n"
            "said"
        )

"""`stack slo report`: streams, exit codes, and the page that is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.fake_prometheus import load_answers, serving_answers


@pytest.fixture
def url() -> Iterator[str]:
    with serving_answers(load_answers()) as url:
        yield url


def test_a_missed_objective_ends_with_1_after_the_whole_report(invoke, url):
    result = invoke("slo", "report", "--since", "6h", "--prometheus", url)
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.startswith("6 h: 2026-11-22 00:16 UTC to 2026-11-22 06:16 UTC\nmissed: availability")


def test_kept_objectives_end_with_0(invoke, url, folder: Path):
    (folder / "stack.toml").write_text("[slo]\navailability = 0.9\nitl = { seconds = 0.2, target = 0.7 }\n")
    result = invoke("slo", "report", "--since", "6h", "--prometheus", url)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1] == "the objectives were kept"


def test_json_is_the_only_thing_on_standard_output_and_the_page_is_written_beside_it(invoke, url, folder: Path):
    result = invoke("slo", "report", "--since", "6h", "--prometheus", url, "--json", "--html", "out/slo.html")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["schema_version"] == 1
    assert (folder / "out/slo.html").read_text().startswith("<!doctype html>\n")


def test_where_nothing_can_be_said_that_is_no_failure(invoke):
    (look,) = (query for query in load_answers() if query.startswith("count(count_over_time("))
    nothing = {"status": "success", "data": {"resultType": "matrix", "result": []}}
    with serving_answers(load_answers() | {look: nothing}) as url:
        result = invoke("slo", "report", "--since", "6h", "--prometheus", url)
    assert result.exit_code == 0
    assert "nothing can be said" in result.stdout


def test_a_prometheus_that_does_not_answer_ends_with_6(run_stack):
    run = run_stack("slo", "report", "--prometheus", "http://127.0.0.1:9")
    assert (run.code, run.out) == (6, "")
    assert run.err.startswith("error: prometheus at http://127.0.0.1:9/api/v1/query: ")


@pytest.mark.parametrize("since", ["299s", "4000d"])
def test_a_window_that_is_too_short_or_too_long_is_a_wrong_use(run_stack, since):
    run = run_stack("slo", "report", "--since", since)
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("error: --since takes five minutes (5m) to ten years (3650d)")

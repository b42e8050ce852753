"""An SLO report as lines, as JSON and as a page; what must be known to read it right is said."""

from __future__ import annotations

import dataclasses
import json
import re
from types import SimpleNamespace

import httpx2
import pytest

from stack.config.load import load_config
from stack.errors import NotRunningError
from stack.operations.bench.last import LastBench
from stack.operations.slo import report as slo_report
from stack.operations.slo import table as slo_table
from stack.operations.slo.document import build_document
from stack.operations.slo.objectives import build_objectives
from stack.operations.slo.page import render_html
from stack.operations.slo.report import SloReport, build_report, find_prometheus
from stack.operations.slo.table import render_lines
from stack.operations.slo.words import (
    describe_bad,
    describe_budget,
    describe_count,
    describe_share,
    describe_span,
)
from stack.telemetry.prometheus_api import PrometheusApi
from stack.telemetry.slo_coverage import Coverage, Window
from stack.telemetry.slo_judge import Outcome, Traffic
from tests.fixtures.fake_prometheus import ENDS_AT, find_answer, load_answers
from tests.fixtures.html_page import find_section, read_page

HOUR = 3600


def make_report(seconds: int = 6 * HOUR, **changes) -> SloReport:
    answers = load_answers() | changes

    def answer(request: httpx2.Request) -> httpx2.Response:
        status, document = find_answer(answers, request.url.path, request.read().decode())
        return httpx2.Response(status, json=document)

    api = PrometheusApi(httpx2.Client(transport=httpx2.MockTransport(answer)), "http://p:9090")
    objectives = build_objectives(load_config(None, {}, {}).config)
    return build_report("mine", api, "http://p:9090", Window(ENDS_AT, seconds), objectives)


BUSY = """\
busy

OBJECTIVE      TARGET  REACHED  NOT GOOD               BUDGET LEFT    VERDICT
availability   99 %    97.08 %  12 of 412              spent, +191 %  missed
ttft <= 2.5 s  95 %    98.03 %  8 of 408               60.78 %        kept
itl <= 0.2 s   95 %    75 %     1,000 of 4,000 tokens  spent, +400 %  missed
e2e <= 60 s    95 %    100 %    0 of 408               100 %          kept

requests  432 (400 stop, 20 abort, 8 error, 4 status 5xx); error rate 2.91 %;
          tokens 35,850 read, 7,170 generated

PER SECOND         TIME        REQUESTS  PROMPT TOKENS  GENERATED TOKENS
since data begins  2 h 10 min  0.05538   4.596          0.9192
with traffic       1 h 1 min   0.118     9.795          1.959
"""
HEAD = """\
6 h: 2026-11-22 00:16 UTC to 2026-11-22 06:16 UTC
missed: availability (all models, busy); itl (all models, busy)
note: data begins at 2026-11-22 04:06 UTC: 2 h 10 min of 6 h
note: fewer than 20 requests say little: neither this report nor an alert judges
      by them
note: e2e: the histogram of three has no bound at 60 s, only at 30

all models
"""


def test_the_lines_are_these_and_no_longer_than_a_terminal():
    lines = render_lines(make_report())
    text = "\n".join(lines)
    assert text.startswith(HEAD)
    assert BUSY in text
    assert max(map(len, lines)) <= 80


def test_a_number_stays_with_its_sign_at_the_end_of_a_line():
    traffic = Traffic({"stop": 8880, "abort": 84, "error": 23}, 6, 4_211_000, 1_932_000, 60)
    lines = slo_table._wrap_requests(traffic)
    assert lines[0] == "requests  8,993 (8,880 stop, 84 abort, 23 error, 6 status 5xx); error rate"
    assert lines[1].startswith("          0.326 %; tokens 4.21M read")


def test_a_model_without_requests_says_so():
    text = "\n".join(render_lines(make_report())).rpartition("\nidle\n")[2]
    assert "availability   99 %    -        no requests  -            idle" in text
    assert "requests  none" in text
    assert "0 %" not in text


def test_of_one_model_there_is_one_part():
    report = make_report()
    one = dataclasses.replace(report, parts=report.parts[:2])
    assert render_lines(one)[1] == "missed: availability (busy); itl (busy)"
    assert "all models" not in "\n".join(render_lines(one))
    kept = dataclasses.replace(one, parts=tuple(dataclasses.replace(part, outcomes=()) for part in one.parts))
    assert render_lines(kept)[1] == "nothing can be said of the objectives"


def test_the_document_says_the_same_in_numbers():
    document = json.loads(json.dumps(build_document(make_report())))
    assert (document["schema_version"], document["project"], document["passed"]) == (1, "mine", False)
    assert document["window"]["ends_at"] == "2026-11-22T06:16:00+00:00"
    assert document["data"]["begins_at"] == "2026-11-22T04:06:00+00:00"
    assert [part["model"] for part in document["models"]] == ["busy", "few", "idle"]
    (busy, _, idle) = document["models"]
    ttft = busy["objectives"][1]
    assert (ttft["name"], ttft["bound_seconds"], ttft["verdict"]) == ("ttft", 2.5, "kept")
    assert ttft["share"] == pytest.approx(400 / 408, abs=1e-4)
    assert busy["objectives"][0]["budget_left"] == pytest.approx(1 - 12 / 412 / 0.01, abs=0.01)
    assert busy["throughput"]["with_traffic"]["seconds"] == 3660
    rate = busy["throughput"]["window"]["generation_tokens_per_second"]
    assert rate == pytest.approx(busy["tokens"]["generation"] / 7800, rel=1e-3)
    assert (idle["objectives"][0]["share"], idle["objectives"][0]["verdict"]) == (None, "idle")
    assert idle["throughput"]["with_traffic"] == {
        "seconds": 0,
        "requests_per_second": None,
        "prompt_tokens_per_second": None,
        "generation_tokens_per_second": None,
    }


def test_the_page_says_it_all_and_loads_nothing():
    text = render_html(make_report())
    assert text.startswith("<!doctype html>\n")
    assert re.findall(r"<script|<link|<img|url\(|src=|href=", text) == []
    page = read_page(text)
    assert page.find("h1")[0].text == "objectives missed"
    assert page.find("p", "summary")[0].text == "availability (all models, busy); itl (all models, busy)"
    assert "data begins at 2026-11-22 04:06 UTC" in find_section(page, "To be read with it").text
    (table,) = find_section(page, "Objectives: busy").find("table")
    assert table.rows()[1:3] == [
        ["availability", "99 %", "97.08 %", "12 of 412", "spent, +191 %", "missed"],
        ["ttft ≤ 2.5 s", "95 %", "98.03 %", "8 of 408", "60.78 %", "kept"],
    ]
    assert table.find("td", "status")[0].classes == ["status", "fail"]
    # What is spent is drawn as spent: an empty bar would look like nothing known.
    drawn = [(one.find("rect")[1].classes, one.find("rect")[1].attributes["width"]) for one in table.find("svg")]
    assert drawn[:2] == [(["over"], "100%"), (["left"], "60.78%")]
    # Six columns do not fit a phone: each cell can be told by its label.
    assert table.classes == ["wide"]
    assert [cell.attributes["data-label"] for cell in table.find("td")[:2]] == ["Target", "Reached"]


def test_the_page_begins_with_the_commit_of_the_last_bench_where_there_is_one():
    assert read_page(render_html(make_report())).find("div", "commit") == []
    bench = LastBench("bench-3", "c" * 40, "chat", None, 100.0, 0.5, "bench-3: 100 tok/s")
    (head,) = read_page(render_html(dataclasses.replace(make_report(), bench=bench))).find("header")
    assert head.find("code")[0].text == "c" * 40
    assert "of the last boot; the window may hold others" in head.text and "bench-3: 100 tok/s" in head.text


def test_a_model_s_name_stays_a_text_in_the_page():
    report = make_report()
    evil = dataclasses.replace(report.parts[1], model="<script>alert(1)</script>")
    text = render_html(dataclasses.replace(report, parts=(report.parts[0], evil)))
    assert "<script" not in text and "&lt;script&gt;" in text


def test_where_no_engine_was_seen_that_is_all_that_is_said():
    (look,) = (query for query in load_answers() if query.startswith("count(count_over_time("))
    nothing = {"status": "success", "data": {"resultType": "matrix", "result": []}}
    report = make_report(**{look: nothing})
    assert report.is_kept is None
    assert render_lines(report)[1:] == [
        "nothing can be said of the objectives",
        "note: Prometheus has no sample of an engine in this window",
    ]
    document = build_document(report)
    assert (document["passed"], document["total"], document["models"]) == (None, None, [])
    page = read_page(render_html(report))
    assert (page.find("h1")[0].text, page.find("table")) == ("objectives unknown", [])
    assert "no time at all" in page.find("header")[0].text


@pytest.mark.parametrize(
    ("coverage", "notes"),
    [
        (Coverage(0, 6 * HOUR, 6 * HOUR, 15, 60, "15d"), []),
        (Coverage(60, 6 * HOUR - 60, 6 * HOUR - 300, 15, 60, None), []),
        (Coverage(HOUR, 6 * HOUR, 5 * HOUR, 15, 60), ["data begins at 1970-01-01 01:00 UTC: 5 h of 6 h"]),
        (Coverage(0, HOUR, HOUR, 15, 60), ["data ends at 1970-01-01 01:00 UTC: no engine was seen since then"]),
        (
            Coverage(0, 6 * HOUR, 4 * HOUR, 15, 60),
            ["no engine was seen for 2 h in between; what it was asked then, nobody counted"],
        ),
        (
            Coverage(0, 6 * HOUR, 6 * HOUR, 15, 60, "2h or 10GiB"),
            ["the window is longer than Prometheus keeps samples (2h or 10GiB)"],
        ),
        (Coverage(0, 6 * HOUR, 6 * HOUR, 15, 60, "10GiB"), []),
    ],
)
def test_what_is_missing_of_a_window_is_told(coverage, notes):
    assert list(slo_report._note_coverage(Window(6.0 * HOUR, 6 * HOUR), coverage)) == notes


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "-"),
        (1.0, "100 %"),
        (0.99999, "99.99 %"),
        (0.98996, "98.99 %"),
        (0.95, "95 %"),
        (0.29, "29 %"),
        (0, "0 %"),
    ],
)
def test_a_share_is_never_rounded_up(share, text):
    assert describe_share(share) == text


@pytest.mark.parametrize(
    ("left", "text"),
    [(None, "-"), (1.0, "100 %"), (0.5, "50 %"), (0.0, "spent"), (-0.001, "spent"), (-0.38, "spent, +38 %"),
     (-18.99, "spent, +1,899 %")],
)  # fmt: skip
def test_a_budget_is_left_or_spent_and_by_how_much(left, text):
    assert describe_budget(left) == text


def test_counts_and_spans_are_words():
    assert [describe_count(count) for count in (0, 0.2, 0.7, 999.6, 12_345_678)] == ["0", "<1", "1", "1,000", "12.35M"]
    spans = (0, 45, 60, 3660, 7800, 86_400, 90_061)
    assert [describe_span(span) for span in spans] == [
        "0 s",
        "45 s",
        "1 min",
        "1 h 1 min",
        "2 h 10 min",
        "1 d",
        "1 d 1 h",
    ]
    outcome = Outcome("itl", 0.2, 0.95, "tokens", 2_000_000, 61_234, "kept")
    assert describe_bad(outcome) == "61,234 of 2.00M tokens"


def test_a_prometheus_that_does_not_run_is_named_with_the_ways_out(monkeypatch):
    stopped = SimpleNamespace(name="prometheus", state="exited", url="http://127.0.0.1:9090")
    running = SimpleNamespace(name="prometheus", state="running", url="http://127.0.0.1:9090")
    session = SimpleNamespace(project="p")
    monkeypatch.setattr(slo_report, "read_status", lambda session: SimpleNamespace(services=[stopped]))
    with pytest.raises(NotRunningError) as caught:
        find_prometheus(session)
    assert caught.value.hint == "`stack up` starts it; --prometheus URL asks another"
    monkeypatch.setattr(slo_report, "read_status", lambda session: SimpleNamespace(services=[running]))
    assert find_prometheus(session) == "http://127.0.0.1:9090"

"""What a replay is counted and told as."""

from __future__ import annotations

import pytest

from stack.operations.replay import report as replay_report
from stack.operations.replay.report import Tally, render_lines, render_rows
from stack.traffic.comparison import Comparison
from stack.traffic.engine_answers import Answer, ScoredToken, Usage
from stack.traffic.record import RecordedResponse
from stack.traffic.replay_client import Observation

ANSWER = RecordedResponse(
    200, {}, answers=(Answer("The capital", "stop", Usage(5, 2)),), duration_seconds=1.0, ttft_seconds=0.25
)
REST = {
    "records": {"total": 3, "sent": 3, "ended": 3},
    "schedule": {"said": "as recorded"},
    "renamed": {},
    "served_model": "demo",
    "gave_up": False,
    "is_interrupted": False,
    "max_latency_ratio": None,
}


def tally(*rows, **options):
    made = Tally(**options)
    for index, (verdict, expected, lag) in enumerate(rows):
        due = None if lag is None else 1.0
        seen = Observation(index, f"r{index}", ANSWER, 1.0 + (lag or 0), due, (0.1, 0.1))
        reasons = ("why",) * (verdict == "differs")
        made.take(Comparison(f"r{index}", verdict, reasons, expected=expected, observed=ANSWER), seen)
    return made


def test_counts_statuses_and_percentiles_are_of_all():
    document = tally(("equal", ANSWER, 0.01), ("differs", ANSWER, 0.02), ("near tie", None, 0.0)).build_document()
    assert document["counts"] == {"equal": 1, "near tie": 1, "not compared": 0, "differs": 1, "failed": 0}
    assert document["statuses"] == {"200": 3}
    assert document["now"]["completion_tokens"] == 6
    assert document["recorded"]["completion_tokens"] == 4
    assert document["now"]["itl_seconds"]["p99"] == pytest.approx(0.1, rel=0.011)
    assert document["latency_ratio"] == 1.0
    assert [row["custom_id"] for row in document["rows"]] == ["r1", "r0", "r2"]


@pytest.mark.parametrize(("lag", "is_degraded"), [(0.4, False), (0.6, True), (None, False)])
def test_a_replay_that_was_late_is_degraded(lag, is_degraded):
    document = tally(("equal", ANSWER, lag)).build_document()
    assert document["is_degraded"] is is_degraded
    assert any("degraded" in line for line in render_lines(REST | document)) is is_degraded


def test_of_very_many_records_the_first_rows_are_kept_and_the_rest_is_counted(monkeypatch):
    monkeypatch.setattr(replay_report, "KEPT_ROWS", 2)
    document = tally(*[("equal", ANSWER, None)] * 5, *[("differs", ANSWER, None)] * 3).build_document()
    assert (len(document["rows"]), document["rows_left_out"]) == (4, 4)
    assert document["counts"]["differs"] == 3


def test_texts_are_cut_to_where_they_part():
    then = RecordedResponse(200, {}, answers=(Answer("x" * 500 + "A", "stop"),))
    now = RecordedResponse(200, {}, answers=(Answer("x" * 500 + "B", "stop"),))
    made = Tally(with_texts=True)
    parted = (ScoredToken("A", -0.5), None)
    made.take(Comparison("a", "differs", parted=parted, expected=then, observed=now), Observation(0, "a", now, 0.0))
    (row,) = made.build_document()["rows"]
    assert row["texts"] == {
        "from_character": 440,
        "recorded": "x" * 60 + "A",
        "now": "x" * 60 + "B",
        "tokens": {"recorded": "A", "now": None},
    }
    assert row["token_scores_nats"] == {"recorded": -0.5, "now": None}


def test_the_table_of_a_long_file_shows_what_is_not_equal():
    document = tally(*[("equal", ANSWER, None)] * 5, ("differs", ANSWER, None)).build_document()
    header, rows = render_rows(document, 3)
    assert (header[0], rows) == (
        "RECORD", [["r5", "differs", "200", "stop", "2", "1.000 s", "0.250 s", "why"]],
    )  # fmt: skip
    assert len(render_rows(document, 10)[1]) == 6


def test_the_lines_tell_counts_names_lag_and_latency():
    document = REST | tally(("equal", ANSWER, 0.01), ("differs", ANSWER, 0.01)).build_document()
    document |= {"renamed": {"prod": 2}, "gave_up": True, "max_latency_ratio": 0.5}
    assert render_lines(document) == [
        "3 of 3 sent as recorded: 1 equal, 1 differs",
        "model `prod` sent as `demo` (2)",
        "send lag p50 0.010 s, p99 0.010 s",
        "E2E p50 1.000 s, p99 1.000 s (recorded: p50 1.000 s, p99 1.000 s)",
        "TTFT p50 0.250 s, p99 0.250 s (recorded: p50 0.250 s, p99 0.250 s)",
        "ITL p50 0.100 s, p99 0.100 s",
        "the engine stopped answering; the rest was not sent (`stack logs engine`)",
        "slower: the median answer takes 1.00 times as long, 0.5 allowed",
    ]

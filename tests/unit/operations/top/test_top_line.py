from __future__ import annotations

from dataclasses import replace

from stack.operations.top.line import render_line
from stack.operations.top.run import Alerts, Silence
from stack.telemetry.live import build_live
from tests.unit.operations.top.top_frames import AT, FIRING, GPU, PENDING, build_frame
from tests.unit.telemetry.diagnosis.pages import BASE


def test_a_look_is_one_line_of_names_and_values():
    assert render_line(build_frame(gpus=(GPU,), alerts=Alerts((FIRING, PENDING)))) == (
        "2026-11-22T08:44:49Z  running 12  waiting 0  KV 43.2 %  prompt 2,500 tokens/s  generated 420.0 tokens/s  "
        "ended 4.0/s  preempted 0.0/s  prefix hits -  TTFT p50 - p95 -  ITL p50 88 ms p95 100 ms  E2E p50 - p95 -  "
        "GPU 0 98.0 %  alerts VllmQueueGrowing"
    )


def test_the_first_look_has_the_same_names():
    first = render_line(build_frame(live=build_live(None, BASE, 0.0)))
    assert "generated - tokens/s" in first
    assert first.endswith("alerts none")


def test_an_alert_whose_name_has_a_line_feed_does_not_break_the_line():
    torn = replace(FIRING, labels={"alertname": "a\nb"})
    assert render_line(build_frame(alerts=Alerts((torn,)))).endswith("alerts a b")


def test_an_engine_that_is_silent_is_one_line_too():
    frame = build_frame(live=None, silence=Silence(AT, "Connection refused"), alerts=Alerts(None, "none runs"))
    assert render_line(frame) == "2026-11-22T08:44:49Z  engine does not answer since 08:44:49: Connection refused"

from __future__ import annotations

import json

from stack.operations.top.document import build_document
from stack.operations.top.run import Alerts, Silence
from stack.telemetry.live import build_live
from tests.unit.operations.top.top_frames import AT, FIRING, GPU, build_busy, build_frame
from tests.unit.telemetry.diagnosis.pages import BASE


def test_the_document_has_counts_with_their_seconds_and_latencies():
    document = build_document(build_frame(live=build_busy(engines=2), gpus=(GPU,), alerts=Alerts((FIRING,))))
    assert json.loads(json.dumps(document, allow_nan=False))["gpus"][0]["slowdowns"] == []
    assert (document["schema_version"], document["state"], document["silent"]) == (1, "measured", None)
    recent = document["total"]["recent"]
    assert (recent["seconds"], recent["generation_tokens"], recent["generation_tokens_per_second"]) == (2.0, 1680, 840)
    assert recent["latency_seconds"]["itl"]["events"] == 1680
    assert recent["latency_seconds"]["itl"]["highest_bound"] == 80.0
    assert recent["latency_seconds"]["ttft"]["p95"] is None
    assert [engine["engine"] for engine in document["engines"]] == ["0", "1"]
    assert document["gpus"][0]["power_watts"] == 412.3
    assert document["alerts"][0]["name"] == "VllmQueueGrowing"
    assert document["alerts"][0]["since"] == "2026-11-22T08:34:49+00:00"
    assert document["runs"]["started_at"] == "2026-11-22T06:39:49+00:00"


def test_the_first_look_is_measuring_and_a_silent_engine_has_no_figures():
    first = build_document(build_frame(live=build_live(None, BASE, 0.0)))
    assert (first["state"], first["total"]["recent"]) == ("measuring", None)
    frame = build_frame(live=None, silence=Silence(AT, "Connection refused"), alerts=Alerts(None, "none runs"))
    silent = build_document(frame)
    assert (silent["state"], silent["total"], silent["engines"], silent["alerts"]) == ("silent", None, [], None)
    assert silent["silent"] == {"since": "2026-11-22T08:44:49.000+00:00", "why": "Connection refused"}

"""Weights read beside everything else: nobody waits for them, and what fails there fails nothing."""

from __future__ import annotations

import threading

from stack.errors import ModelError
from stack.operations.boot import page_cache
from stack.operations.boot.page_cache import BackgroundReader
from stack.operations.up.timeline import Timeline

WAIT_SECONDS = 30


def test_nobody_waits_for_the_reader_and_it_is_stopped_when_the_engine_is_ready(make_snapshot, events, monkeypatch):
    reads, left = threading.Event(), threading.Event()

    def read(snapshot, report, *, is_stopped):
        reads.set()
        while not is_stopped():
            assert not left.wait(0.001)
        left.set()

    monkeypatch.setattr(page_cache, "read_into_page_cache", read)
    timeline = Timeline()
    reader = BackgroundReader(events.append, timeline)
    reader.start(make_snapshot())
    assert reads.wait(WAIT_SECONDS)
    assert not left.is_set()
    reader.close()
    assert left.wait(WAIT_SECONDS)
    reader._thread.join(WAIT_SECONDS)
    assert [step.step for step in timeline.steps] == ["page cache"]


def test_weights_that_cannot_be_read_are_told_and_fail_nothing(make_snapshot, events, monkeypatch):
    def read(snapshot, report, *, is_stopped):
        raise ModelError("cannot read the weights in /m: Input/output error")

    monkeypatch.setattr(page_cache, "read_into_page_cache", read)
    reader = BackgroundReader(events.append, Timeline())
    reader.start(make_snapshot())
    reader._thread.join(WAIT_SECONDS)
    assert [(event.task, event.state) for event in events] == [("page cache acme/tiny", "failed")]
    assert "Input/output error" in events[0].text


def test_a_reader_that_was_never_started_is_closed_all_the_same(events):
    BackgroundReader(events.append, Timeline()).close()

from __future__ import annotations

import datetime

import httpx2
import pytest

from stack.errors import ServiceApiError
from stack.operations.top import run as top
from stack.operations.top.place import Place, Runs
from stack.operations.top.run import Alerts, TopOptions, Watcher, look_once, watch
from stack.telemetry.prometheus_api import Alert
from tests.unit.operations.top.top_frames import FIRING, GPU, PENDING
from tests.unit.telemetry.diagnosis.pages import BASE, MADE, RUNNING, build_page

AT = datetime.datetime(2026, 11, 22, 8, 0, tzinfo=datetime.UTC)
URL = "http://127.0.0.1:8000"
LATER = build_page(build_page(BASE, {RUNNING: 2}), {MADE: 300}, adds=True)
GONE = ServiceApiError("engine", f"{URL}/metrics", "[Errno 111] Connection refused")
RESTARTED = build_page(LATER, {MADE: 5, "process_start_time_seconds": 1.8e9})


class World:
    """An engine, a Prometheus and a clock that only waiting moves; each look takes the next page or error."""

    def __init__(self, monkeypatch):
        self.seconds, self.pages, self.asked, self.found = 0.0, [], [], 0
        self.place = Place(URL, None, Runs(project="demo"), read_gpus=lambda: (GPU,))
        self.alerts, self.alerts_asked = (FIRING,), 0
        monkeypatch.setattr(top, "fetch_exposition", self.fetch)
        monkeypatch.setattr(top, "build_finder", lambda session, engine, prometheus: self.find)
        monkeypatch.setattr(top.PrometheusApi, "fetch_alerts", lambda api: self.fetch_alerts())

    def find(self):
        self.found += 1
        return self.place

    def fetch(self, http, url):
        self.asked.append(url)
        page = self.pages.pop(0)
        if isinstance(page, ServiceApiError):
            raise page
        return page

    def fetch_alerts(self):
        self.alerts_asked += 1
        if self.alerts is None:
            raise ServiceApiError("prometheus", "http://127.0.0.1:9090", "no answer")
        return self.alerts

    def wait(self, seconds):
        assert seconds >= 0
        self.seconds += seconds
        return False

    def clock(self):
        return self.seconds

    def now(self):
        return AT + datetime.timedelta(seconds=self.seconds)

    def watch(self, count, wait=None, **options):
        asked = TopOptions(count=count, **options)
        return list(watch(None, asked, wait=wait or self.wait, clock=self.clock, now=self.now))


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def test_the_first_frame_comes_at_once_and_the_next_has_the_rates(world):
    world.pages = [BASE, LATER]
    first, second = world.watch(2)
    assert (first.at, first.live.total.recent) == (AT, None)
    assert (second.at - first.at).total_seconds() == 2.0
    recent = second.live.total.recent
    assert (recent.seconds, recent.per_second(recent.generation_tokens)) == (2.0, 150)
    assert world.asked == [f"{URL}/metrics"] * 2
    assert second.gpus == (GPU,)


def test_it_ends_when_whoever_watches_has_seen_enough(world):
    world.pages = [BASE, LATER]
    assert len(world.watch(None, wait=lambda seconds: True)) == 1


def test_a_slow_look_is_taken_off_the_waiting(world):
    world.pages = [BASE, LATER, LATER]
    waited = []

    def fetch(http, url):
        world.seconds += 1.5 if len(world.pages) == 3 else 7
        return world.pages.pop(0)

    top.fetch_exposition = fetch
    world.watch(3, wait=lambda seconds: waited.append(seconds) or world.wait(seconds))
    assert waited == [0.5, 0.0]


def test_an_engine_that_restarts_is_silent_since_the_first_failure_and_then_measured_anew(world):
    world.pages = [BASE, LATER, GONE, GONE, RESTARTED, build_page(RESTARTED, {MADE: 20}, adds=True)]
    frames = world.watch(6)
    assert [frame.live is None for frame in frames] == [False, False, True, True, False, False]
    assert [frame.silence and frame.silence.since for frame in frames[2:5]] == [frames[2].at, frames[2].at, None]
    assert frames[2].silence.why == "Connection refused"
    assert frames[4].live.total.recent is None
    assert frames[5].live.total.recent.generation_tokens == 20


def test_what_answers_after_a_silence_is_measured_anew_though_its_page_shows_no_restart(world):
    world.pages = [BASE, GONE, LATER]
    assert world.watch(3)[2].live.total.recent is None


def test_a_restart_that_no_look_missed_is_told_and_gives_no_rates(world):
    world.pages = [LATER, RESTARTED, build_page(RESTARTED, {MADE: 20}, adds=True)]
    frames = world.watch(3)
    assert (frames[1].live.restart is not None, frames[1].live.total.recent) == (True, None)
    assert frames[2].live.total.recent.generation_tokens == 20


def test_a_silent_engine_is_looked_for_anew_and_its_container_tells_why(world):
    world.pages = [BASE, GONE, BASE]
    steps = []

    def wait(seconds):
        steps.append(world.found)
        if len(steps) == 1:
            world.place = Place(None, None, Runs(project="demo"), "its container is exited with 137")
        else:
            world.place = Place("http://127.0.0.1:8001", None, Runs(project="demo"))
        return world.wait(seconds)

    first, second, third = world.watch(3, wait=wait)
    assert second.silence.why == "its container is exited with 137"
    assert (third.silence, world.asked[-1]) == (None, "http://127.0.0.1:8001/metrics")


def test_what_runs_is_read_anew_now_and_then_but_not_at_each_look(world):
    world.pages = [BASE] * 12
    world.watch(12, interval_seconds=2.0)
    assert world.found == 3


def test_alerts_are_asked_for_every_few_seconds_the_worst_first(world):
    world.pages = [BASE] * 6
    worst = Alert({"alertname": "VllmEngineDown", "severity": "critical"}, "firing", "2026-11-22T08:59:00Z", "")
    world.alerts = (PENDING, FIRING, worst)
    world.place = Place(URL, "http://127.0.0.1:9090", Runs(project="demo"))
    frames = world.watch(6)
    assert world.alerts_asked == 2
    assert frames[0].alerts == Alerts((worst, FIRING, PENDING))


def test_without_a_prometheus_that_answers_alerts_are_unknown(world):
    world.pages, world.alerts = [BASE] * 2, None
    world.place = Place(URL, "http://user:secret@127.0.0.1:9090", Runs(project="demo"))
    assert world.watch(1)[0].alerts == Alerts(None, "Prometheus does not answer")
    world.place = Place(URL, None, Runs())
    assert world.watch(1)[0].alerts == Alerts(None, "no `--prometheus` is named")


def test_once_is_what_lies_between_two_looks(world, make_session, events):
    world.pages = [BASE, LATER]
    frame = look_once(make_session(), TopOptions(), wait=world.wait)
    assert (frame.live.total.recent.generation_tokens, world.seconds) == (300, 2.0)
    assert [event.state for event in events] == ["running", "done"]


@pytest.mark.parametrize(
    ("pages", "told"), [([GONE], "Connection refused"), ([BASE, GONE], "Connection refused"),
                        ([LATER, RESTARTED], "started anew between the two looks")],
)  # fmt: skip
def test_once_fails_where_nothing_can_be_measured(world, make_session, pages, told):
    world.pages = list(pages)
    with pytest.raises(ServiceApiError, match=told):
        look_once(make_session(), TopOptions(), wait=world.wait)


def test_a_login_in_the_address_is_used_and_never_shown(world, make_session):
    url = "http://me:secret@127.0.0.1:8000"
    world.pages, world.place = [BASE, LATER, RESTARTED, GONE], Place(url, None, Runs())
    (frame,) = world.watch(1)
    assert (frame.url, world.asked) == (URL, [f"{url}/metrics"])
    with pytest.raises(ServiceApiError, match="started anew") as caught:
        look_once(make_session(), TopOptions(), wait=world.wait)
    assert caught.value.message.startswith(f"engine at {URL}: ")


def test_this_projects_engine_that_does_not_run_is_silent_with_its_containers_state(world):
    world.place = Place(None, None, Runs(project="demo"), "its container is created")
    with httpx2.Client() as http:
        frame = Watcher(http, world.find, clock=world.clock, now=world.now).look()
    assert (frame.url, frame.silence.why) == (None, "its container is created")

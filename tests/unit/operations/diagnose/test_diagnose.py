from __future__ import annotations

from types import SimpleNamespace

import pytest

from stack.errors import NotRunningError
from stack.operations.diagnose import run as diagnose
from stack.operations.diagnose.report import build_document
from stack.telemetry.diagnosis.surroundings import Surroundings
from tests.unit.telemetry.diagnosis.pages import BASE, QUEUE, RUNNING, WAITING, build_page

GAUGES = {RUNNING: 2, WAITING: 6}
PAGES = (build_page(BASE, GAUGES), build_page(build_page(BASE, GAUGES), QUEUE, adds=True))


class Time:
    """A clock that only waiting moves."""

    def __init__(self):
        self.now = 0.0
        self.ticks = 0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds

    def tick(self):
        self.ticks += 1


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def asked(monkeypatch):
    """The addresses that were asked; each look gives the next page."""
    urls = []

    def fetch(client, url):
        urls.append(url)
        return PAGES[len(urls) - 1]

    monkeypatch.setattr(diagnose, "fetch_exposition", fetch)
    return urls


def set_status(monkeypatch, state):
    service = SimpleNamespace(name="engine", state=state, url="http://127.0.0.1:8000")
    status = SimpleNamespace(services=[service], found={"engine": "the container"})
    monkeypatch.setattr(diagnose, "read_status", lambda session, client: status)


def test_this_projects_engine_is_looked_at_with_what_its_machine_tells(make_session, monkeypatch, asked, time, events):
    around = Surroundings(device="cpu", max_num_seqs=2, engine_cores=1.5, other_cores=0.1, cores=2)
    set_status(monkeypatch, "running")
    probes = []

    def build_probe(client, found):
        probes.append((client, found))
        return SimpleNamespace(tick=time.tick, finish=lambda: around)

    monkeypatch.setattr(diagnose, "AroundProbe", build_probe)
    session = make_session(connect=lambda: "the daemon")
    found = diagnose.run(session, seconds=20, clock=time.clock, sleep=time.sleep)
    assert asked == ["http://127.0.0.1:8000/metrics"] * 2
    assert probes == [("the daemon", "the container")]
    assert (found.seconds, time.ticks) == (20, 20)
    (engine,) = build_document(found)["engines"]
    assert (engine["verdict"], engine["limits"][0]["confidence"], engine["missing"]) == ("queue", "high", [])
    assert (engine["figures"]["max_num_seqs"], engine["figures"]["engine_cores"]) == (2, 1.5)
    assert [event.text for event in events] == [
        "the second look comes in 20 s",
        "the second look comes in 15 s",
        "the second look comes in 10 s",
        "the second look comes in 5 s",
        "two looks 20.0 s apart",
    ]


@pytest.mark.parametrize("address", ["http://e:8000", "http://e:8000/", "http://e:8000/metrics"])
def test_an_engine_elsewhere_needs_no_daemon(make_session, asked, time, address):
    found = diagnose.run(make_session(), seconds=7.5, engine=address, clock=time.clock, sleep=time.sleep)
    assert asked == ["http://e:8000/metrics"] * 2
    assert (found.url, found.seconds) == ("http://e:8000/metrics", 7.5)


def test_a_project_whose_engine_does_not_run_says_what_can_be_done(make_session, monkeypatch, asked, time):
    set_status(monkeypatch, "exited")
    with pytest.raises(NotRunningError) as caught:
        diagnose.run(make_session(connect=lambda: None), seconds=20, clock=time.clock, sleep=time.sleep)
    assert caught.value.hint == "stack up, or `--engine URL` for another one"
    assert asked == []

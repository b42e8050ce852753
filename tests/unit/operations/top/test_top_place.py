from __future__ import annotations

import datetime
from dataclasses import replace
from types import SimpleNamespace

import pytest

from stack.errors import ConfigError, HostError, NotRunningError
from stack.operations.status.read import ServiceStatus
from stack.operations.top import place as top_place
from stack.operations.top.place import Place, Runs, build_finder, build_own_place, find_quietly
from tests.fixtures.stub_engine import FakeEngine
from tests.unit.operations.top.top_frames import GPU

STARTED = "2026-11-21T22:00:00+00:00"
ENGINE = ServiceStatus(
    "engine", "running", None, "http://127.0.0.1:8000", "image", None, started_at=STARTED
)  # fmt: skip
PROMETHEUS = ServiceStatus("prometheus", "running", None, "http://127.0.0.1:9090", "image", None)


def build_status(*services, requests=None, **changes):
    found = SimpleNamespace(attributes={"HostConfig": {"DeviceRequests": requests}})
    engine = SimpleNamespace(
        version="0.32.0", commit="c" * 40, commit_level="verified", model="acme/tiny", revision="r", served_name="tiny",
        device="cpu",
    )  # fmt: skip
    smoke = SimpleNamespace(passed=True, started_at=datetime.datetime(2026, 11, 21, 22, 5, tzinfo=datetime.UTC))
    told = {"project": "demo", "services": services, "engine": engine, "smoke": smoke, "found": {"engine": found}}
    is_serving = any(one.name == "engine" and one.state == "running" for one in services)
    return SimpleNamespace(**{**told, "is_serving": is_serving, **changes})


@pytest.fixture
def fake_engine():
    engine = FakeEngine()
    yield engine
    engine.close()


def test_this_projects_services_and_what_they_run_are_found():
    place = build_own_place(build_status(ENGINE, PROMETHEUS))
    assert (place.engine, place.prometheus, place.trouble) == (ENGINE.url, PROMETHEUS.url, None)
    assert place.runs == Runs(
        project="demo", version="0.32.0", commit="c" * 40, commit_level="verified", model="acme/tiny", revision="r",
        served_name="tiny", device="cpu", started_at=datetime.datetime.fromisoformat(STARTED), smoke_passed=True,
        smoke_at=datetime.datetime(2026, 11, 21, 22, 5, tzinfo=datetime.UTC),
    )  # fmt: skip


def test_an_engine_that_ended_has_no_address_and_says_how():
    place = build_own_place(build_status(replace(ENGINE, state="exited", exit_code=137), PROMETHEUS))
    assert (place.engine, place.trouble) == (None, "its container is exited with 137")
    restarting = build_own_place(build_status(replace(ENGINE, state="restarting")))
    assert (restarting.prometheus, restarting.trouble) == (None, "its container is restarting")
    gone = build_own_place(build_status(engine=None, smoke=None, found={}))
    assert (gone.trouble, gone.runs) == ("there is no container of it", Runs(project="demo"))


@pytest.mark.parametrize(
    ("requests", "is_here", "indices"),
    [
        (None, True, []),
        ([{"DeviceIDs": ["1"]}], True, [1]),
        ([{"Count": -1}], True, [0, 1]),
        ([{"Count": -1}], False, []),
    ],
)
def test_only_gpus_that_the_engine_has_on_this_machine_are_asked(monkeypatch, requests, is_here, indices):
    monkeypatch.setattr(top_place, "is_on_this_machine", lambda found: is_here)
    gpus = (GPU, replace(GPU, index=1, uuid="GPU-1"))
    place = build_own_place(build_status(ENGINE, requests=requests), lambda: gpus)
    assert [gpu.index for gpu in place.read_gpus()] == indices


def test_without_an_engine_there_is_nothing_to_watch(make_session, monkeypatch):
    monkeypatch.setattr(top_place, "read_status", lambda session, client: build_status(PROMETHEUS))
    with pytest.raises(NotRunningError, match="`engine` does not run") as caught:
        build_finder(make_session(connect=lambda: None), None, None)
    assert "--engine URL" in caught.value.hint


def test_later_looks_say_nothing_and_a_named_prometheus_is_taken(make_session, monkeypatch, said):
    def read(session, client):
        looks.append(client)
        session.say("the last boot is not known")
        return build_status(ENGINE, PROMETHEUS)

    looks = []
    monkeypatch.setattr(top_place, "read_status", read)
    find = build_finder(make_session(connect=lambda: None), None, "http://other:9090")
    assert (find().prometheus, find().engine) == ("http://other:9090", ENGINE.url)
    assert (said, len(looks)) == (["the last boot is not known"], 2)


def test_an_engine_that_is_named_needs_no_daemon_and_tells_its_version(make_session, fake_engine):
    place = build_finder(make_session(), f"{fake_engine.url}/metrics", None)()
    assert (place.engine, place.prometheus, place.runs) == (fake_engine.url, None, Runs(version="0.32.0"))


@pytest.mark.parametrize("mode", ["unavailable"])
def test_an_engine_that_does_not_tell_its_version_is_watched_all_the_same(make_session, fake_engine, mode):
    fake_engine.misbehave(mode)
    assert build_finder(make_session(), fake_engine.url, None)().runs == Runs()


def test_gpus_of_another_machine_are_not_shown_for_this_ones(make_session):
    assert build_finder(make_session(), "http://host.invalid:8000", None)().read_gpus is tuple
    here = build_finder(make_session(), "http://127.0.0.1:9", None)()
    assert here.read_gpus is top_place.read_gpu_loads


def test_an_address_that_is_none_is_refused_without_its_login(make_session):
    with pytest.raises(ConfigError) as caught:
        build_finder(make_session(), "http://me:secret@[", None)
    assert str(caught.value.problems[0]) == "--engine: `http://[` is no address (Invalid IPv6 URL)"


def test_while_docker_does_not_answer_what_is_known_stays():
    def fail():
        raise HostError("the Docker daemon does not answer")

    known = Place("http://127.0.0.1:8000", None, Runs())
    assert find_quietly(fail, known) is known
    assert find_quietly(lambda: Place(None, None, Runs()), known).engine is None

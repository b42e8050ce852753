"""Docker's events, as recorded from a daemon of version 20.10, and what containers still tell of the past."""

from __future__ import annotations

import datetime

import pytest

from stack.containers.daemon import ServiceState
from stack.containers.events import EventReader, merge, read_remembered, stream_events
from stack.errors import CommandError

AT = datetime.datetime(2026, 11, 22, 1, 35, 8, tzinfo=datetime.UTC)
NANO = int(AT.timestamp() * 1e9)
LABELS = {
    "com.docker.compose.project": "mine",
    "com.docker.compose.service": "engine",
    "dev.stack.project": "mine",
    "name": "mine-engine-1",
}


def record(action, *, seconds=0, container="c1", **attributes):
    merged = {key: value for key, value in (LABELS | attributes).items() if value is not None}
    return {
        "status": action, "id": container, "Type": "container", "Action": action, "scope": "local",
        "Actor": {"ID": container, "Attributes": merged}, "time": NANO // 10**9 + seconds,
        "timeNano": NANO + seconds * 10**9,
    }  # fmt: skip


def build_state(name="engine", **changes):
    values = {
        "name": name, "container_id": "c1", "state": "running", "health": None, "exit_code": 0, "restart_count": 0,
        "started_at": AT, "image_id": "i", "image": "a/b", "config_hash": "", "error": "", "was_oom_killed": False,
    }  # fmt: skip
    return ServiceState(**(values | changes))


class FakeClient:
    def __init__(self, events, failure=None):
        self._events, self._failure, self.asked = events, failure, {}

    def events(self, **options):
        self.asked = options
        if self._failure is not None:
            raise self._failure
        return iter(self._events)


@pytest.mark.parametrize(
    ("event", "kind", "message", "hint"),
    [
        (record("start"), "started", "started", None),
        (record("die", exitCode="137"), "ended", "ended with exit status 137 (SIGKILL)",
         "stack logs engine | stack explain -"),
        (record("oom"), "out-of-memory", "the kernel killed a process of it for memory", "stack logs engine"),
        (record("health_status: healthy"), "healthy", "became healthy", None),
        (record("health_status: unhealthy"), "unhealthy", "became unhealthy", "stack logs engine"),
        (record("pause"), "paused", "was paused", None),
        (record("unpause"), "resumed", "goes on after a pause", None),
        (record("destroy"), "removed", "its container was removed", None),
    ],
    ids=lambda value: value["Action"] if isinstance(value, dict) else None,
)  # fmt: skip
def test_what_happens_is_told_with_its_time_and_service(event, kind, message, hint):
    told = EventReader("mine").read(event)
    assert (told.at, told.service, told.kind, told.message, told.hint) == (AT, "engine", kind, message, hint)


@pytest.mark.parametrize(
    "event",
    [
        record("exec_start: curl --fail http://127.0.0.1:8000/health"),
        record("exec_die", exitCode="0"),
        record("create"),
        record("kill", signal="9"),
        record("start", **{"dev.stack.project": None}),
        record("start", **{"dev.stack.project": "mine-ejected"}),
        record("start", **{"com.docker.compose.service": None}),
        {"Type": "container", "Action": "start"},
    ],
    ids=lambda event: event["Action"],
)
def test_probes_steps_between_and_other_peoples_containers_are_not_told(event):
    assert EventReader("mine").read(event) is None


def test_a_start_after_an_end_of_the_same_container_is_a_restart():
    reader = EventReader("mine")
    kinds = [
        reader.read(event).kind
        for event in (record("start"), record("die", exitCode="1"), record("start"), record("start", container="c2"))
    ]
    assert kinds == ["started", "ended", "restarted", "started"]


def test_the_daemon_is_asked_for_this_project_alone():
    client = FakeClient([record("start"), record("exec_create: x")])
    told = list(stream_events(client, "mine", since=AT, until=AT + datetime.timedelta(seconds=5)))
    assert [item.kind for item in told] == ["started"]
    assert client.asked["filters"] == {"type": "container", "label": "com.docker.compose.project=mine"}
    assert (client.asked["since"], client.asked["until"]) == (AT.timestamp(), AT.timestamp() + 5)


def test_a_daemon_that_breaks_off_is_an_error_of_ours():
    import docker.errors

    with pytest.raises(CommandError, match="following the events of project mine failed"):
        list(stream_events(FakeClient([], docker.errors.APIError("gone")), "mine", since=AT))


def test_a_container_remembers_its_last_start_and_end():
    ended = AT + datetime.timedelta(seconds=60)
    states = [
        (build_state(restart_count=2), AT - datetime.timedelta(seconds=1)),
        (build_state("prometheus", state="exited", exit_code=1), ended),
        (build_state("grafana", started_at=None), None),
    ]
    told = [(item.at, item.service, item.kind, item.message) for item in read_remembered(states)]
    assert told == [
        (AT, "engine", "restarted", "was started again (restart 2)"),
        (AT, "prometheus", "started", "started"),
        (ended, "prometheus", "ended", "ended with exit status 1"),
    ]


def test_what_both_sources_tell_is_told_once_and_in_order():
    reader = EventReader("mine")
    events = [reader.read(record("die", exitCode="1", seconds=1)), reader.read(record("start", seconds=2))]
    remembered = read_remembered([(build_state(started_at=AT + datetime.timedelta(seconds=2.4)), None)])
    earlier = read_remembered([(build_state("prometheus", started_at=AT - datetime.timedelta(hours=1)), None)])
    told = merge(events, [*remembered, *earlier])
    assert [(item.service, item.kind) for item in told] == [
        ("prometheus", "started"), ("engine", "ended"), ("engine", "restarted"),
    ]  # fmt: skip

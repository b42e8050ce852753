"""Reads of the daemon, from recorded documents and a client that answers from a table."""

from __future__ import annotations

import datetime
import gc
import threading

import docker.errors
import pytest
import requests

from stack.containers import daemon
from stack.errors import CommandError, HostError

NOW = datetime.datetime(2026, 11, 21, 22, 30, 38, 669343, tzinfo=datetime.UTC)


class FakeContainer:
    def __init__(self, attrs=None, chunks=(), failure=None):
        self.attrs = attrs or {}
        self.labels = self.attrs.get("Config", {}).get("Labels", {})
        self.asked = []
        self._chunks = chunks
        self._failure = failure

    def logs(self, **options):
        self.asked.append(options)
        if self._failure is not None:
            raise self._failure
        return iter(self._chunks) if options.get("stream") else b"".join(self._chunks)


class FakeClient:
    """`containers`, `images` and `api` in one: what a test needs of them."""

    was_oom_killed = False

    def __init__(self, containers=(), failure=None, wait=None):
        self.containers = self.images = self.api = self
        self.filters = None
        self._containers = list(containers)
        self._failure = failure
        self._wait = wait

    def list(self, *, all, filters, ignore_removed):
        if self._failure is not None:
            raise self._failure
        self.filters = filters
        return self._containers

    def get(self, name):
        if self._failure is not None:
            raise self._failure
        return self._containers[0]

    def wait(self, container_id, timeout):
        return self._wait()

    def inspect_container(self, container_id):
        if self._failure is not None:
            raise self._failure
        return {"State": {"OOMKilled": self.was_oom_killed}}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("running-healthy", ("running", "healthy", 0, 0, False, "", 8001)),
        ("running-no-health", ("running", None, 0, 0, False, "", 9091)),
        ("killed-for-memory", ("exited", None, 137, 0, True, "", None)),
        ("restarting-loop", ("running", None, 0, 1, False, "", None)),
        ("loop-ended", ("exited", None, 7, 3, False, "", None)),
    ],
)
def test_a_recorded_container_is_read_as_it_was(recorded, name, expected):
    state = daemon.parse_container(recorded(name))
    assert (
        state.state, state.health, state.exit_code, state.restart_count, state.was_oom_killed, state.error,
        state.host_port,
    ) == expected  # fmt: skip


def test_the_service_and_the_hash_are_composes_labels(recorded):
    document = recorded("running-healthy")
    state = daemon.parse_container(document)
    assert state.name == "engine"
    assert state.config_hash == document["Config"]["Labels"]["com.docker.compose.config-hash"]
    assert state.started_at == NOW
    assert state.image_id.startswith("sha256:")
    assert state.image.startswith("localhost/stack/engine:")


def test_a_container_that_the_daemon_could_not_start_says_why_and_was_never_started(recorded):
    state = daemon.parse_container(recorded("gpu-refused"))
    assert (state.state, state.started_at) == ("created", None)
    assert state.error == 'could not select device driver "nvidia" with capabilities: [[gpu]]'


def test_a_container_without_labels_and_without_host_settings_is_read_all_the_same(recorded):
    document = recorded("running-healthy")
    document["Config"]["Labels"] = None
    document["HostConfig"]["PortBindings"] = None
    state = daemon.parse_container(document)
    assert (state.name, state.config_hash, state.host_port) == ("", "", None)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21T22:30:38.669343738Z", NOW),
        ("2026-11-21T23:30:38.669343738+01:00", NOW),
        ("2026-11-21T22:30:38Z", NOW.replace(microsecond=0)),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        ("Error", None),
    ],
)
def test_a_time_of_the_daemon_is_read_to_utc(text, moment):
    assert daemon.parse_time(text) == moment


def test_only_the_services_of_the_project_are_read(recorded):
    stray, once = recorded("running-healthy"), recorded("running-healthy")
    stray["Config"]["Labels"] = {}
    once["Config"]["Labels"]["com.docker.compose.oneoff"] = "True"
    known = recorded("running-no-health")
    client = FakeClient([FakeContainer(item) for item in (stray, once, known)])
    assert list(daemon.read_services(client, "mine")) == ["prometheus"]
    assert client.filters == {"label": "com.docker.compose.project=mine"}


@pytest.mark.parametrize(
    "failure",
    [
        requests.exceptions.ReadTimeout("Read timed out. (read timeout=20)"),
        docker.errors.APIError("500 Server Error: context deadline exceeded"),
    ],
)
def test_a_daemon_that_fails_in_the_middle_is_a_failed_tool_and_no_traceback(failure):
    with pytest.raises(CommandError) as caught:
        daemon.read_services(FakeClient(failure=failure), "mine")
    assert caught.value.message == "listing the containers of project mine failed (exit status 1)"
    assert str(failure) in caught.value.detail


def test_a_known_failure_of_the_daemon_is_explained():
    failure = docker.errors.APIError("write /var/lib/docker/x: no space left on device")
    with pytest.raises(CommandError, match="the disk that Docker or the stack's folders are on is full"):
        daemon.read_image(FakeClient(failure=failure), "x")


def test_an_image_that_is_not_here_is_none():
    assert daemon.read_image(FakeClient(failure=docker.errors.ImageNotFound("no such image")), "x") is None


def test_the_end_of_a_container_is_noticed_with_its_status():
    release = threading.Event()

    def wait():
        release.wait()
        return {"Error": None, "StatusCode": 137}

    watch = daemon.ExitWatch(FakeClient(wait=wait), "x")
    assert (watch.ended.is_set(), watch.status) == (False, None)
    release.set()
    assert watch.ended.wait(10)
    assert (watch.status, watch.was_oom_killed) == (137, False)


def test_a_container_that_ran_out_of_memory_is_known_as_such():
    client = FakeClient(wait=lambda: {"StatusCode": 137})
    client.was_oom_killed = True
    watch = daemon.ExitWatch(client, "x")
    assert watch.ended.wait(10)
    assert (watch.status, watch.was_oom_killed) == (137, True)


def test_the_status_of_a_container_that_is_removed_at_once_is_still_known():
    watch = daemon.ExitWatch(FakeClient(wait=lambda: {"StatusCode": 3}, failure=docker.errors.NotFound("gone")), "x")
    assert watch.ended.wait(10)
    assert (watch.status, watch.was_oom_killed) == (3, False)


@pytest.mark.parametrize("failure", [docker.errors.NotFound("gone"), requests.ConnectionError("reset")])
def test_a_container_that_cannot_be_watched_any_more_has_ended(failure):
    def wait():
        raise failure

    watch = daemon.ExitWatch(FakeClient(wait=wait), "x")
    assert watch.ended.wait(10)
    assert watch.status is None


# The SDK leaves its socket open when nobody answers: this test must be told so, and not a later one.
no_answer = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def leaked_sockets():
    yield
    gc.collect()


@no_answer
@pytest.mark.usefixtures("leaked_sockets")
def test_a_daemon_that_does_not_answer_is_an_unfit_host_and_named():
    with pytest.raises(HostError) as caught:
        daemon.connect(environ={"DOCKER_HOST": "unix:///nonexistent"})
    assert caught.value.message == (
        "the Docker daemon does not answer at `unix:///nonexistent`, which DOCKER_HOST names"
    )
    assert caught.value.hint == "start it: `sudo systemctl start docker`, or run `./scripts/up`"
    assert "FileNotFoundError" in caught.value.detail


@no_answer
@pytest.mark.usefixtures("leaked_sockets")
@pytest.mark.parametrize("host", ["tcp://127.0.0.1:1", "ftp://127.0.0.1", "ssh://127.0.0.1:1"])
def test_whatever_docker_host_names_the_failure_is_told_and_no_traceback(host):
    with pytest.raises(HostError, match="the Docker daemon does not answer"):
        daemon.connect(timeout_seconds=5, environ={"DOCKER_HOST": host})


@pytest.mark.docker
def test_the_real_daemon_answers_and_has_nothing_of_a_project_that_nobody_made():
    client = daemon.connect()
    assert daemon.read_services(client, "no-such-project-of-anybody") == {}
    assert daemon.read_image(client, "localhost/stack/no-such-image:x") is None
    client.close()


class PortsClient(FakeClient):
    def __init__(self, documents):
        super().__init__()
        self.containers = lambda: documents


def test_published_ports_are_told_with_the_container_that_has_each():
    client = PortsClient(
        [
            {
                "Names": ["/other-engine-1"],
                "Labels": {"com.docker.compose.project": "other"},
                "Ports": [{"PrivatePort": 8000, "PublicPort": 8000, "IP": "127.0.0.1"}, {"PrivatePort": 9000}],
            },
            {"Names": ["/web"], "Labels": None, "Ports": [{"PrivatePort": 80, "PublicPort": 8080}]},
            {"Names": ["/quiet"], "Labels": {}, "Ports": None},
        ]
    )
    assert daemon.read_published_ports(client) == {
        8000: "container `other-engine-1` of project `other`",
        8080: "container `web`",
    }

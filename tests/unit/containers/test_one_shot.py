"""What is run once must be confined, and gone however it ends."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import requests
from docker.errors import APIError, NotFound

from stack.containers.one_shot import OneShot, remove_leftovers, run_one_shot
from stack.errors import CommandError

SHOT = OneShot("mine", "bench", "sha256:1", ["/bin/sh", "-c", "true"], "mine_metrics", mounts={"/models/x": Path("/m")})


class FakeDocker:
    """A daemon with containers in a dict; the one that is started ends with `status` once it is let go."""

    def __init__(self, status=0, refuses=None, is_being_removed=False):
        self.status, self.refuses, self.is_being_removed = status, refuses, is_being_removed
        self.here, self.asked = {}, {}
        self.containers = self.api = self

    def create(self, image, command, **options):
        self.asked = {"image": image, "command": command, **options}
        self.here[options["name"]] = options["labels"]
        self.id = self.name = options["name"]
        return self

    def start(self):
        if self.refuses:
            raise APIError(self.refuses)

    def get(self, name):
        return self

    def logs(self, **_):
        return b"one\ntwo\n"

    def wait(self, _, timeout=None, condition=None):
        if condition == "removed":
            self.here.clear()
            raise NotFound("gone")
        if self.status is None:
            raise NotFound("gone")
        return {"StatusCode": self.status}

    def inspect_container(self, _):
        return {"State": {"OOMKilled": self.status == 137}}

    def list(self, **options):
        wanted = options["filters"]["label"]
        assert all("=" in label or label == "dev.stack.one-shot" for label in wanted)
        return [type("C", (), {"name": name}) for name in self.here]

    def remove_container(self, name, force):
        assert force
        if name not in self.here:
            raise NotFound("gone")
        if self.is_being_removed:
            answer = requests.Response()
            answer.status_code = 409
            raise APIError("removal is already in progress", answer)
        del self.here[name]


def run(client, tell=lambda: None, limit_seconds=60.0):
    clock = itertools.count(step=10)
    return run_one_shot(lambda: client, SHOT, tell=tell, limit_seconds=limit_seconds, clock=lambda: float(next(clock)))


def test_it_is_confined_and_gone_afterwards():
    client = FakeDocker()
    ended = run(client)
    assert (ended.status, ended.output, ended.is_late, client.here) == (0, "one\ntwo\n", False, {})
    asked = client.asked
    assert (asked["read_only"], asked["cap_drop"], asked["network"]) == (True, ["ALL"], "mine_metrics")
    assert asked["security_opt"] == ["no-new-privileges:true"]
    assert asked["use_config_proxy"] is False
    assert (asked["entrypoint"], asked["command"]) == (["/bin/sh"], ["-c", "true"])
    assert [(mount["Target"], mount["ReadOnly"]) for mount in asked["mounts"]] == [("/models/x", True)]


def test_its_end_is_told():
    assert run(FakeDocker(3)).status == 3
    assert run(FakeDocker(137)).was_oom_killed
    assert run(FakeDocker(None)).status is None


class Endless(FakeDocker):
    """It never ends by itself."""

    def wait(self, _, timeout=None):
        import threading

        threading.Event().wait()


def test_what_takes_too_long_is_stopped():
    client = Endless()
    ended = run(client, limit_seconds=25.0)
    assert (ended.is_late, ended.status, client.here) == (True, None, {})


def test_an_interrupt_leaves_nothing():
    client = Endless()

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(client, tell=interrupt)
    assert client.here == {}


def test_what_cannot_be_started_leaves_nothing():
    client = FakeDocker(refuses="no such network")
    with pytest.raises(CommandError, match="starting bench failed"):
        run(client)
    assert client.here == {}


def test_leftovers_are_removed_and_named():
    client = FakeDocker()
    client.here = {"mine-bench-1": {}, "mine-bench-2": {}}
    assert remove_leftovers(client, "mine", "bench") == ["mine-bench-1", "mine-bench-2"]
    assert client.here == {}


def test_what_somebody_else_removes_is_waited_for():
    client = FakeDocker(137, is_being_removed=True)
    assert run(client).status == 137
    assert client.here == {}

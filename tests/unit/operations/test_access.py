"""Keys and passwords: which are demanded, and how Grafana is made to take ours."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import httpx2
import pytest

from stack.config.schema import StackConfig
from stack.errors import CommandError
from stack.operations import access
from stack.operations.access import (
    API_KEY,
    build_end_finder,
    demands_key,
    open_grafana,
    read_api_key,
    restore_grafana_login,
)
from stack.operations.project import ProjectPaths
from stack.telemetry.grafana_api import GrafanaApi
from tests.fixtures.fake_grafana import FakeGrafana

OURS, OLD = "our-password", "the-password-of-a-lost-state"


class Grafana:
    """A Grafana whose password `grafana cli` can change, and that may need some seconds to start."""

    def __init__(self, password: str, *, starts_after: int = 0) -> None:
        self.now = 0.0
        self.commands: list[tuple[list[str], str]] = []
        self.logins = 0
        self._stub = FakeGrafana(password=password)
        self._starts_after = starts_after

    def make_api(self) -> GrafanaApi:
        client = httpx2.Client(transport=httpx2.MockTransport(self._handle))
        return GrafanaApi(client, "http://127.0.0.1:3401", user="admin", password=OURS)

    def run_reset(self, argv: Sequence[str], text: str) -> subprocess.CompletedProcess[str]:
        self.commands.append((list(argv), text))
        self._stub = FakeGrafana(password=text.removesuffix("\n"))
        return subprocess.CompletedProcess(list(argv), 0, "Admin password changed successfully", "")

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def _handle(self, request: httpx2.Request) -> httpx2.Response:
        if self.now < self._starts_after:
            raise httpx2.ConnectError("refused", request=request)
        authorization = request.headers.get("Authorization")
        target = request.url.raw_path.decode()
        self.logins += not target.startswith("/api/health")
        status, document = self._stub.answer(request.method, target, authorization, request.read())
        return httpx2.Response(status, json=document)


def restore(grafana: Grafana, **options) -> str:
    options = {"run": grafana.run_reset, "clock": lambda: grafana.now, "sleep": grafana.sleep} | options
    return restore_grafana_login(grafana.make_api(), "abc", OURS, **options)


def test_a_password_that_is_taken_is_left_alone():
    grafana = Grafana(OURS)
    assert restore(grafana) == "accepted"
    assert grafana.commands == []


def test_an_old_volume_is_made_to_take_our_password():
    grafana = Grafana(OLD)
    assert restore(grafana) == "reset"
    assert grafana.make_api().fetch_dashboards() == ()


def test_the_password_goes_through_standard_input_and_never_through_argv():
    grafana = Grafana(OLD)
    restore(grafana)
    [(argv, text)] = grafana.commands
    assert text == OURS + "\n"
    assert not any(OURS in word for word in argv)
    assert argv[:4] == ["docker", "exec", "-i", "abc"]
    assert argv[-2:] == ["reset-admin-password", "--password-from-stdin"]


def test_few_logins_are_tried_because_grafana_locks_a_user_out_after_five():
    grafana = Grafana(OLD, starts_after=20)
    restore(grafana)
    assert grafana.logins == 2


def test_a_grafana_that_is_still_starting_is_waited_for():
    grafana = Grafana(OLD, starts_after=30)
    assert restore(grafana) == "reset"


def test_a_grafana_that_never_answers_is_given_up_and_not_touched():
    grafana = Grafana(OLD, starts_after=1000)
    assert restore(grafana, wait_seconds=60) == "Grafana does not answer after 60 s"
    assert grafana.commands == []


def test_another_failure_of_grafana_is_told_and_resets_nothing():
    grafana = Grafana(OURS)

    def handle(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/api/health":
            return httpx2.Response(200, json={"database": "ok", "version": "13", "commit": "0"})
        return httpx2.Response(500, json={"message": "boom"})

    client = httpx2.Client(transport=httpx2.MockTransport(handle))
    # The port holds the digits of a status that must not be taken for one.
    api = GrafanaApi(client, "http://127.0.0.1:3401", user="admin", password=OURS)
    said = restore_grafana_login(api, "abc", OURS, run=grafana.run_reset)
    assert "HTTP 500" in said
    assert grafana.commands == []


def test_a_reset_that_fails_shows_what_grafana_said_and_no_password():
    grafana = Grafana(OLD)

    def fail(argv: Sequence[str], text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(list(argv), 1, "", "could not read user (id: 1) from database")

    with pytest.raises(CommandError, match="resetting Grafana's password failed") as caught:
        restore(grafana, run=fail)
    assert "could not read user" in (caught.value.detail or "")
    assert OURS not in str(caught.value)


def test_a_reset_that_changed_nothing_is_not_called_a_success():
    grafana = Grafana(OLD)

    def do_nothing(argv: Sequence[str], text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(list(argv), 0, "", "")

    said = restore(grafana, run=do_nothing)
    assert said.startswith("after its password was reset: ")
    assert "refuses our password" in said


def test_the_api_key_is_demanded_where_asked_for_and_always_once_others_can_reach_it():
    assert not demands_key(StackConfig())
    assert demands_key(StackConfig.model_validate({"engine": {"api-key": True}}))
    assert demands_key(StackConfig.model_validate({"services": {"gateway": {"expose": True}}}))


def test_a_key_that_lies_about_is_not_used_where_none_is_demanded(tmp_path: Path):
    paths = ProjectPaths(tmp_path, tmp_path / "cache")
    paths.secrets.mkdir()
    (paths.secrets / API_KEY).write_text("secret\n")
    assert read_api_key(StackConfig(), paths) is None
    asked = StackConfig.model_validate({"engine": {"api-key": True}})
    assert read_api_key(asked, paths) == "secret"
    assert read_api_key(asked, ProjectPaths(tmp_path / "other", tmp_path)) is None


def test_a_grafana_that_does_not_run_is_told_at_once_and_not_waited_for(make_session, make_state):
    warning = open_grafana(make_session(), make_state("grafana", state="restarting"), 3401)
    assert warning == "its container is restarting; see `stack logs grafana`"


def test_a_grafana_that_ended_is_not_waited_for():
    grafana = Grafana(OLD, starts_after=1000)
    ends = iter([None, None, "its container is gone"])
    assert restore(grafana, find_end=lambda: next(ends)) == "its container is gone"
    assert grafana.commands == []


@pytest.mark.parametrize(
    ("now", "ended"),
    [
        ({}, None),
        ({"state": "restarting", "restart_count": 2}, None),
        ({"state": "running", "restart_count": 3, "exit_code": 2}, "exit status 2; see `stack logs grafana`"),
        ({"state": "exited", "restart_count": 1, "exit_code": 127}, "exit status 127; see `stack logs grafana`"),
    ],
)
def test_one_crash_is_waited_out_and_more_are_an_end(make_session, make_state, monkeypatch, now, ended):
    monkeypatch.setattr(access, "read_services", lambda client, project: {"grafana": make_state("grafana", **now)})
    find_end = build_end_finder(make_session(connect=object), make_state("grafana", restart_count=1))
    assert find_end() == (ended and f"its container ended with {ended}")


def test_a_grafana_whose_container_is_gone_is_told(make_session, make_state, monkeypatch):
    monkeypatch.setattr(access, "read_services", lambda client, project: {})
    assert build_end_finder(make_session(connect=object), make_state("grafana"))() == "its container is gone"

"""Docker, its command line, Compose, buildx, the storage driver."""

from __future__ import annotations

import json

import pytest

from stack.checks.host import (
    check_buildx,
    check_compose,
    check_docker,
    check_docker_cli,
    check_storage_driver,
)
from stack.checks.host.target import ImageNeed
from stack.checks.host.world import DockerReport, ToolAnswer

AWAY = DockerReport("unix:///nonexistent (DOCKER_HOST)", problem="the Docker daemon does not answer", hint="start it")
BUILT = (ImageNeed("engine", "build", "localhost/stack/engine:x"),)


def judge(check, context):
    outcome = check.run(context)
    return outcome.status, outcome.message


def test_a_daemon_that_answers_is_named_with_its_place(make_context):
    expected = ("pass", "Docker Engine 20.10.24+dfsg1 at unix:///var/run/docker.sock")
    assert judge(check_docker, make_context()) == expected


def test_a_daemon_that_does_not_answer_fails_with_what_mends_it(make_context):
    outcome = check_docker.run(make_context(docker=AWAY))
    assert (outcome.status, outcome.message, outcome.hint) == ("fail", "the Docker daemon does not answer", "start it")
    assert outcome.data == {"address": "unix:///nonexistent (DOCKER_HOST)"}


@pytest.mark.parametrize(
    ("info", "kind"),
    [
        ({"OperatingSystem": "Docker Desktop"}, "Docker Desktop"),
        ({"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]}, "rootless Docker Engine"),
    ],
)
def test_desktop_and_rootless_daemons_are_told_apart(make_context, info, kind):
    assert check_docker.run(make_context(info=info)).data["kind"] == kind


def test_windows_containers_fail(make_context):
    assert judge(check_docker, make_context(info={"OSType": "windows"}))[0] == "fail"


def test_an_engine_older_than_what_is_tested_warns(make_context):
    status, message = judge(check_docker, make_context(info={"ServerVersion": "19.03.15"}))
    assert status == "warn"
    assert "older than 20.10" in message


@pytest.mark.parametrize(
    ("address", "is_elsewhere"),
    [
        ("unix:///run/user/1000/docker.sock", False),
        ("tcp://127.0.0.1:2375", False),
        ("tcp://build-host:2376 (DOCKER_HOST)", True),
        ("ssh://me@host (context far)", True),
    ],
)
def test_a_daemon_of_another_machine_is_recognised(make_context, address, is_elsewhere):
    context = make_context()
    report = DockerReport(address, context.read_docker().info, context.read_docker().version)
    assert (judge(check_docker, make_context(docker=report))[0] == "warn") is is_elsewhere


def test_the_command_line_is_there(make_context):
    assert judge(check_docker_cli, make_context()) == ("pass", "docker 28.2.2")


def test_without_the_command_line_nothing_works(make_context):
    status, message = judge(check_docker_cli, make_context(tools={"docker version": ToolAnswer(None)}))
    assert (status, message) == ("fail", "`docker` is not installed, or not on PATH")


def test_a_command_line_too_new_for_the_daemon_fails_with_its_own_words(make_context):
    said = "Error response from daemon: client version 1.44 is too new. Maximum supported API version is 1.41"
    answer = ToolAnswer(1, json.dumps({"Client": {"Version": "29.0.0"}, "Server": None}), said + "\n")
    status, message = judge(check_docker_cli, make_context(tools={"docker version": answer}))
    assert status == "fail"
    assert said in message


def test_a_daemon_that_is_away_is_not_held_against_the_command_line(make_context):
    answer = ToolAnswer(1, json.dumps({"Client": {"Version": "28.2.2"}, "Server": None}), "cannot connect")
    context = make_context(docker=AWAY, tools={"docker version": answer})
    assert judge(check_docker_cli, context) == ("pass", "docker 28.2.2")


@pytest.mark.parametrize("text", ["", "[]", "no json"])
def test_a_command_line_that_cannot_be_understood_warns(make_context, text):
    assert judge(check_docker_cli, make_context(tools={"docker version": ToolAnswer(0, text)}))[0] == "warn"


def test_compose_two_passes(make_context):
    assert judge(check_compose, make_context()) == ("pass", "Docker Compose 2.40.3-3")


@pytest.mark.parametrize(("version", "status"), [("2.23.3", "fail"), ("2.24.0", "pass"), ("v5.0.1", "pass")])
def test_compose_must_know_what_the_files_say(make_context, version, status):
    answer = ToolAnswer(0, json.dumps({"version": version}))
    assert judge(check_compose, make_context(tools={"docker compose": answer}))[0] == status


def test_compose_one_alone_is_named_as_such(make_context):
    tools = {
        "docker compose": ToolAnswer(1, "", "docker: 'compose' is not a docker command.\n"),
        "docker-compose version": ToolAnswer(0, "1.29.2\n"),
    }
    status, message = judge(check_compose, make_context(tools=tools))
    assert status == "fail"
    assert message.startswith("only Compose 1.29.2")


def test_no_compose_at_all_shows_what_docker_said(make_context):
    tools = {"docker compose": ToolAnswer(1, "", "docker: 'compose' is not a docker command.\n")}
    status, message = judge(check_compose, make_context(tools=tools))
    assert status == "fail"
    assert "(it says: docker: 'compose' is not a docker command.)" in message


def test_buildx_is_looked_at_only_where_images_are_built(make_context):
    assert judge(check_buildx, make_context())[0] == "skip"
    assert judge(check_buildx, make_context(images=BUILT)) == ("pass", "buildx 0.29.1+ds1")


def test_without_buildx_nothing_can_be_built(make_context):
    context = make_context(images=BUILT, tools={"docker buildx": ToolAnswer(1)})
    status, message = judge(check_buildx, context)
    assert status == "fail"
    assert message.endswith("images are built here: engine")


def test_a_builder_of_the_users_own_is_said(make_context):
    context = make_context(images=BUILT, world={"environ": {"BUILDX_BUILDER": "remote"}})
    assert judge(check_buildx, context)[0] == "warn"


@pytest.mark.parametrize(
    ("driver", "status"), [("overlay2", "pass"), ("vfs", "warn"), ("devicemapper", "warn"), ("btrfs", "pass")]
)
def test_the_storage_driver_is_judged(make_context, driver, status):
    outcome = check_storage_driver.run(make_context(info={"Driver": driver}))
    assert outcome.status == status
    assert bool(outcome.why) is (status == "warn")


def test_the_containerd_store_is_recognised(make_context):
    info = {"Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
    assert judge(check_storage_driver, make_context(info=info)) == ("pass", "overlayfs (containerd image store)")

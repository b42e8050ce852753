"""Compose's verbs: what is called, and how a failure is told; a stub on PATH stands for the docker CLI."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest

from stack.containers.compose import ComposeProject, read_compose_version, read_old_compose_version
from stack.errors import CommandError

STUB = """#!/bin/sh
printf '%s\\n' "$*" >>"$CALLS"
pwd >"$CALLS.where"
printf '%s' "$SAY"
printf '%s' "$COMPLAIN" >&2
exit "$STATUS"
"""


@pytest.fixture
def docker_stub(tmp_path, monkeypatch):
    """A function: what `docker` says from now on; it gives the file in which calls are noted."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(STUB)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    calls = tmp_path / "calls"
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(calls))

    def set_answer(say="", complain="", status=0):
        for name, value in (("SAY", say), ("COMPLAIN", complain), ("STATUS", str(status))):
            monkeypatch.setenv(name, value)
        return calls

    set_answer()
    return set_answer


@pytest.fixture
def project(tmp_path):
    return ComposeProject([Path("/a/compose.yaml"), Path("/b/override.json")], "mine", tmp_path / "state")


def read_call(calls, project):
    (line,) = calls.read_text().splitlines()
    return line.replace(str(project.directory), "DIR")


@pytest.mark.parametrize("verb", ["up", "down", "hashes"])
def test_compose_works_in_no_directory_of_the_users_whose_name_it_could_stumble_over(
    docker_stub, project, tmp_path, monkeypatch, verb
):
    calls = docker_stub()
    odd = tmp_path / "100 %, more"
    odd.mkdir()
    monkeypatch.chdir(odd)
    {"up": lambda: project.up(["engine"]), "down": lambda: project.down(volumes=False), "hashes": project.read_hashes}[
        verb
    ]()
    assert Path(f"{calls}.where").read_text() == "/\n"


def test_up_never_pulls_and_never_builds(docker_stub, project):
    calls = docker_stub()
    project.up(["engine", "prometheus"])
    line = read_call(calls, project)
    assert line.startswith("compose --file /a/compose.yaml --file /b/override.json")
    assert "--project-name mine" in line
    assert "--project-directory DIR" in line
    words = line.split()
    assert {"--detach", "--no-build", "--pull", "never"} <= set(words)
    assert words[-2:] == ["engine", "prometheus"]


@pytest.mark.parametrize("volumes", [True, False])
def test_down_removes_volumes_only_when_told(docker_stub, project, volumes):
    calls = docker_stub()
    project.down(volumes=volumes)
    words = read_call(calls, project).split()
    assert ("--volumes" in words) is volumes
    assert "--remove-orphans" in words


def test_stopped_services_lose_their_containers_also_where_no_file_describes_them(docker_stub, project, monkeypatch):
    monkeypatch.setenv("COMPOSE_FILE", "/somebody/else.yaml")
    calls = docker_stub()
    project.stop(["gateway", "grafana"])
    assert read_call(calls, project) == (
        "compose --project-name mine --project-directory DIR rm --force --stop gateway grafana"
    )


def test_hashes_are_read_by_service(docker_stub, project):
    calls = docker_stub(say="engine 0123\nprometheus 4567\n\n")
    assert project.read_hashes() == {"engine": "0123", "prometheus": "4567"}
    assert read_call(calls, project).endswith("config --hash *")


def test_a_known_failure_is_explained_with_the_cause_and_what_to_do(docker_stub, project):
    said = 'Error response from daemon: could not select device driver "nvidia" with capabilities: [[gpu]]'
    docker_stub(complain=f" Container mine-engine-1  Starting\n{said}\n", status=1)
    with pytest.raises(CommandError) as caught:
        project.up(["engine"])
    err = caught.value
    assert err.message == "Docker has no NVIDIA runtime, so it cannot give a GPU to a container (exit status 1)"
    assert "stack up --device cpu" in err.hint
    assert said in err.detail
    assert (err.exit_code, err.returncode) == (4, 1)


def test_an_unknown_failure_is_told_in_the_daemons_last_words(docker_stub, project):
    said = " Container mine-engine-1  Starting\nError response from daemon: something new\n"
    docker_stub(complain=said, status=17)
    with pytest.raises(CommandError) as caught:
        project.up(["engine"])
    assert caught.value.message == "`docker compose up` failed: something new (exit status 17)"
    assert caught.value.hint is None


def test_a_failure_without_daemons_words_shows_what_compose_said(docker_stub, project):
    said = "validating /b/override.json: services.engine additional properties 'x' not allowed"
    docker_stub(complain=said, status=15)
    with pytest.raises(CommandError) as caught:
        project.read_hashes()
    assert caught.value.message == "`docker compose config` failed (exit status 15)"
    assert caught.value.detail == said
    assert caught.value.argv[:3] == ("docker", "compose", "--project-name")


def test_every_process_is_logged_with_what_it_took(docker_stub, project, caplog):
    docker_stub()
    with caplog.at_level(logging.DEBUG, logger="stack.containers.compose"):
        project.read_hashes()
        project.up(["engine"])
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("docker compose --project-name mine")
    assert "config --hash '*' took " in first
    assert second.startswith("docker compose up took ")


@pytest.mark.parametrize(
    ("say", "status", "version"),
    [
        ('{"version":"v2.40.3"}', 0, "2.40.3"),
        ('{"version":"2.40.3-3"}', 0, "2.40.3-3"),
        ("", 1, None),
        ("docker-compose version 1.29.2, build unknown", 0, None),
    ],
)
def test_the_version_of_the_plugin_is_read_or_none(docker_stub, say, status, version):
    docker_stub(say=say, status=status)
    assert read_compose_version() == version


def test_without_a_docker_client_there_is_no_version(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_compose_version() is None


@pytest.mark.parametrize(
    ("script", "version"),
    [("echo 1.29.2", "1.29.2"), ("echo v2.40.3", None), ("exit 1", None)],
)
def test_a_compose_of_the_old_kind_is_known_by_its_version(tmp_path, monkeypatch, script, version):
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program = tmp_path / "docker-compose"
    program.write_text(f'#!/bin/sh\n[ "$*" = "version --short" ] || exit 9\n{script}\n')
    program.chmod(0o755)
    assert read_old_compose_version() == version


def test_where_there_is_no_old_compose_none_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_old_compose_version() is None

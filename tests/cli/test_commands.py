"""Exit codes, streams and documents of the commands, without a daemon and with one that has nothing of ours."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import stack.cli
from stack.checks.finding import Finding, Report
from stack.errors import NotReadyError
from stack.operations.up.plan import Plan, Step
from tests.cli.conftest import ROOT

NO_DOCKER = """\
error: the Docker daemon does not answer at `unix:///nonexistent`, which DOCKER_HOST names

hint: start it: `sudo systemctl start docker`, or run `./scripts/up`

  Error while fetching server API version: ('Connection aborted.', FileNotFoundError(2, 'No such file or directory'))
"""
NEED_DOCKER = [
    ["up"], ["up", "--dry-run"], ["down"], ["status"], ["status", "--json"], ["smoke"], ["logs", "engine"],
    ["events"], ["events", "--follow"], ["top"], ["chat", "hello"], ["eject", "there"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", NEED_DOCKER, ids=" ".join)
def test_without_docker_a_command_ends_with_3_and_the_next_thing_to_do(run_stack, folder, arguments):
    run = run_stack(*arguments, DOCKER_HOST="unix:///nonexistent")
    assert (run.code, run.out, run.err) == (3, "", NO_DOCKER)
    assert list(folder.iterdir()) == []


def test_without_docker_nothing_is_written_at_home(run_stack, home):
    run_stack("up", DOCKER_HOST="unix:///nonexistent")
    assert list(home.rglob("*")) == []


def test_a_quiet_command_still_tells_its_error(run_stack):
    run = run_stack("-qq", "status", DOCKER_HOST="unix:///nonexistent")
    assert (run.code, run.err) == (3, NO_DOCKER)


def test_an_empty_prompt_is_a_wrong_use(invoke, monkeypatch):
    monkeypatch.setattr("stack.operations.chat.run.connect_chat", lambda session: None)
    result = invoke("chat", input="\n")
    assert result.exit_code == 2
    assert "the prompt is empty" in result.stderr


REPORT = Report(
    findings=(Finding("canaries", "fail", "Paris lost"), Finding("services", "pass", "all run")),
    commit="0123456789abcdef0123456789abcdef01234567",
    commit_level="claimed",
    model="acme/tiny",
    revision="abc",
    seconds=1.5,
)


class Left(Exception):
    """The process would have ended here."""


@pytest.fixture
def run_main(folder, monkeypatch, capsys):
    """A function: arguments give exit code, output and errors of the whole program, in this process."""

    def leave(code):
        raise Left(code)

    monkeypatch.setattr(stack.cli, "_leave", leave)
    monkeypatch.setattr("signal.signal", lambda *arguments: None)

    def run(*arguments):
        code = 0
        try:
            stack.cli.main(list(arguments))
        except Left as left:
            code = left.args[0]
        except SystemExit as left:
            code = left.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.parametrize(("finding", "code"), [("fail", 1), ("warn", 0), ("skip", 0), ("pass", 0)])
def test_a_failed_check_ends_with_1_and_nothing_else_does(run_main, monkeypatch, finding, code):
    report = Report(findings=(Finding("canaries", finding, "Paris"),), seconds=1.0)
    monkeypatch.setattr("stack.operations.smoke.run.run", lambda session, **options: report)
    assert run_main("smoke")[0] == code


def test_a_smoke_as_a_document_and_as_junit(run_main, monkeypatch, folder):
    monkeypatch.setattr("stack.operations.smoke.run.run", lambda session, **options: REPORT)
    code, out, _ = run_main("smoke", "--json", "--junit", "report.xml")
    document = json.loads(out)
    assert (code, document["schema_version"]) == (1, 1)
    assert "<failure" in (folder / "report.xml").read_text()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), EOFError()])
def test_an_interrupt_ends_with_130_in_one_line(run_main, monkeypatch, error):
    def interrupt(session, **options):
        raise error

    monkeypatch.setattr("stack.operations.smoke.run.run", interrupt)
    code, out, err = run_main("smoke")
    assert (code, out) == (130, "")
    assert err.strip().startswith("interrupted")
    assert len(err.strip().splitlines()) == 1


def test_an_expected_failure_ends_with_its_code(run_main, monkeypatch):
    def fail(session, **options):
        raise NotReadyError("engine", 0, "not running", "nothing to test", hint="stack up")

    monkeypatch.setattr("stack.operations.smoke.run.run", fail)
    code, out, err = run_main("smoke")
    assert (code, out) == (5, "")
    assert err.endswith("\n\nhint: stack up\n")


def test_a_bug_of_ours_keeps_its_traceback(run_main, monkeypatch):
    monkeypatch.setattr("stack.operations.smoke.run.run", lambda session, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_main("smoke")


@pytest.fixture
def plan(monkeypatch):
    """A function: these steps are what a dry run finds."""

    def set_plan(*steps, warnings=()):
        choices = [SimpleNamespace(key="engine.device", value="cpu", reason="no GPU", is_automatic=True)]
        resolved = SimpleNamespace(choices=choices, left_out={})
        result = SimpleNamespace(resolved=resolved, plan=Plan(steps), warnings=list(warnings))
        monkeypatch.setattr("stack.operations.up.run.run_up", lambda session, **options: result)

    return set_plan


def test_a_dry_run_prints_the_plan_with_its_reasons(run_main, plan):
    plan(
        Step("model", "fetch acme/tiny", "it is not here"),
        Step("services", "start engine", "it is down", ("model",)),
        warnings=["memory: little"],
    )
    code, out, err = run_main("up", "--dry-run")
    assert code == 0
    assert "warning: memory: little\n" in err
    assert out.endswith(
        "#1 model: fetch acme/tiny, because it is not here\n#2 services: start engine after #1, because it is down\n"
    )


def test_a_dry_run_as_a_document(run_main, plan):
    plan(Step("model", "fetch acme/tiny", "it is not here"), warnings=["memory: little"])
    document = json.loads(run_main("up", "--dry-run", "--json")[1])
    assert document["schema_version"] == 1
    assert document["steps"] == [{"name": "model", "action": "fetch acme/tiny", "cause": "it is not here", "after": []}]
    assert document["choices"][0]["key"] == "engine.device"
    assert document["warnings"] == ["memory: little"]


def test_every_flag_of_up_reaches_the_configuration(run_main, monkeypatch, plan):
    seen = []
    plan()
    result = stack.operations.up.run.run_up(None)
    monkeypatch.setattr(
        "stack.operations.up.run.run_up", lambda session, **options: seen.append(session.config) or result
    )
    commit = "0123456789abcdef0123456789abcdef01234567"
    code, _, err = run_main(
        "up", "--dry-run", "--model", "acme/tiny", "--revision", "main", "--commit", commit, "--device", "cpu",
        "--images", "registry", "--accept", "claimed", "--expose", "--no-smoke", "--project", "mine",
    )  # fmt: skip
    assert code == 0, err
    config = seen[0]
    assert (config.project, config.model.id, config.model.revision) == ("mine", "acme/tiny", "main")
    assert (config.engine.commit, config.engine.device, config.engine.accept) == (commit, "cpu", "claimed")
    assert (config.images.source, config.services.gateway.expose, config.smoke.enabled) == ("registry", True, False)


NOBODYS = "nobodys-project-in-the-tests"


@pytest.mark.docker
def test_the_status_of_a_project_that_nobody_started(run_stack, home):
    run = run_stack("status", "--json", "--project", NOBODYS)
    document = json.loads(run.out)
    assert (run.code, document["schema_version"], document["services"], document["engine"]) == (0, 1, [], None)
    text = run_stack("status", "--project", NOBODYS)
    assert text.out.startswith(f"project `{NOBODYS}`: nothing runs\n")
    assert not (home / ".local/state/stack" / NOBODYS).exists()


@pytest.mark.docker
def test_what_never_ran_can_be_taken_down(run_stack, home):
    run = run_stack("down", "--json", "--project", NOBODYS)
    assert (run.code, json.loads(run.out)) == (0, {"schema_version": 1, "stopped": [], "removed_volumes": False})
    assert run_stack("down", "--project", NOBODYS).out == f"project `{NOBODYS}`: nothing was running\n"


@pytest.mark.docker
@pytest.mark.parametrize("arguments", [["smoke"], ["chat", "hello"], ["logs", "engine"]], ids=" ".join)
def test_what_needs_a_running_engine_ends_with_5_and_says_what_to_do(run_stack, arguments):
    run = run_stack(*arguments, "--project", NOBODYS)
    assert (run.code, run.out) == (5, "")
    assert run.err.startswith("error: `engine` ")
    assert "\nhint: " in run.err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_the_shell_closed_is_no_crash(folder, closed):
    line = f"exec {shlex.quote(sys.executable)} -m stack explain - {closed} < /dev/null"
    if "<&-" in closed:
        line = line.removesuffix(" < /dev/null")
    run = subprocess.run(
        ["sh", "-c", line], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (run.returncode, run.stderr) == (1, "")


@pytest.mark.parametrize(
    "arguments", [["explain", "--list"], ["explain", "--json", "-"], ["--help"], ["up", "--help"], ["--version"]],
    ids=" ".join,
)  # fmt: skip
def test_a_result_that_does_not_fit_the_disk_is_an_error_that_says_so(folder, arguments):
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "stack", *arguments], env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert run.returncode == 1
    assert run.stderr.startswith(
        "error: the result cannot be written to standard output: No space left on device\n\nhint: "
    )


def test_an_error_of_the_operating_system_that_is_not_clicks_keeps_its_traceback(run_main, monkeypatch):
    def fail(session, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stack.operations.smoke.run.run", fail)
    with pytest.raises(OSError, match="No space left"):
        run_main("smoke")

"""`stack explain` as a user calls it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

LOGS = Path(__file__).parents[1] / "fixtures" / "logs" / "failures"


def test_a_file_is_explained_with_no_configuration_at_all(run_stack, folder):
    (folder / "stack.toml").write_text("not toml at all")
    shutil.copy(LOGS / "context-too-long.log", folder / "engine.log")
    run = run_stack("explain", "engine.log")
    assert (run.code, run.err) == (0, "")
    lines = run.out.splitlines()
    assert lines[0] == (
        "context-too-long: a context of 8192 tokens needs 0.18 GiB of KV cache, and 0.06 GiB are there; 2688 tokens fit"
    )
    assert lines[2].startswith("  engine.log, line 75: ValueError: To serve at least one request")
    assert lines[4].startswith("next: set `max-model-len = 2688` in [engine.args]")


def test_standard_input_is_explained_as_json(run_stack):
    run = run_stack("explain", "-", "--json", stdin=(LOGS / "wrong-flag.log").read_text())
    assert (run.code, run.err) == (0, "")
    document = json.loads(run.out)
    assert (document["source"], document["explained"]["id"]) == ("standard input", "wrong-flag")
    assert "`max-model-len`" in document["explained"]["next"]


def test_an_unknown_failure_ends_with_1_and_shows_the_first_cause(run_stack):
    run = run_stack("explain", "-", stdin="ValueError: no such flux\nRuntimeError: later\n")
    assert run.code == 1
    assert "  standard input, line 1: ValueError: no such flux\n" in run.out


def test_a_file_that_cannot_be_read_ends_with_2(run_stack, folder):
    run = run_stack("explain", "nothere.log")
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("error: LOGFILE: nothere.log: No such file or directory\n")
    (folder / "dir").mkdir()
    assert run_stack("explain", "dir").code == 2


def test_without_a_log_and_without_a_failed_boot_it_ends_with_2(run_stack, folder):
    run = run_stack("explain", XDG_STATE_HOME=str(folder / "state"))
    assert (run.code, run.out) == (2, "")
    assert run.err == (
        "error: project `stack`: no boot failed\n\n"
        "hint: `stack explain LOGFILE` reads any log, `stack explain -` standard input\n"
    )


def test_every_known_failure_is_listed(run_stack):
    run = run_stack("explain", "--list")
    assert run.code == 0
    lines = run.out.splitlines()
    assert lines[:2] == ["no-kv-memory", "  seen   No available memory for the cache blocks"]
    assert [line for line in lines if len(line) > 100] == []
    failures = json.loads(run_stack("explain", "--list", "--json").out)["failures"]
    assert [one["id"] for one in failures] == [line for line in lines if line and not line.startswith(" ")]
    table = run_stack("explain", "--list", "--markdown").out
    assert table.splitlines()[:2] == ["| What is seen | Cause | Next |", "| --- | --- | --- |"]


def test_control_characters_of_a_log_do_not_reach_the_terminal(run_stack):
    run = run_stack("explain", "-", stdin="\x1b]0;owned\x07ValueError: \x1b[2Jx\n")
    assert "\x1b" not in run.out

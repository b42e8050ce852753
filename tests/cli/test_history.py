"""`stack history` and `stack report`: streams, exit codes, and the files that are written."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from stack.history.records import BootStart
from stack.history.store import History, open_history

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def history(home: Path, folder: Path) -> History:
    (folder / "stack.toml").write_text('project = "mine"\n')
    history = open_history(home / ".local/state/stack/mine/history.sqlite")
    for days, model in ((9, "old"), (1, "new")):
        began = datetime.now(UTC) - timedelta(days=days)
        start = BootStart("k", began, COMMIT, "verified", "0.32.0", None, "sha256:1", model, "c1899de", "cpu")
        number = history.record_boot(start)
        history.finish_boot(number, "ready", total_seconds=41.0)
        check = {"check": "canaries", "status": "pass", "message": "5 right answers", "seconds": 0.1}
        history.record_smoke(number, started_at=began, passed=True, report={"checks": [check]})
    return history


def test_where_nothing_ever_ran_the_table_is_empty_and_that_is_no_error(run_stack, home):
    run = run_stack("history")
    assert (run.code, run.out) == (0, "")
    assert run.err == "nothing ever ran here; `stack up` is the first run\n"
    assert json.loads(run_stack("history", "--json").out)["runs"] == []
    assert list(home.rglob("*")) == []


def test_without_docker_the_history_is_read_all_the_same(run_stack, history):
    run = run_stack("history", DOCKER_HOST="unix:///nonexistent")
    assert (run.code, run.err) == (0, "")
    assert [line.split()[0] for line in run.out.splitlines()] == ["RUN", "boot-2", "boot-1"]


def test_a_terminal_of_80_columns_gets_two_lines_a_run(run_stack, history):
    lines = run_stack("history", COLUMNS="60").out.splitlines()
    assert len(lines) == 5
    assert lines[1].endswith("ready")
    assert lines[2].endswith("smoke passed")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--since", "7d"], ["boot-2"]),
        (["--since", "999999d"], ["boot-2", "boot-1"]),
        (["--limit", "1"], ["boot-2"]),
        (["--commit", "01234"], ["boot-2", "boot-1"]),
        (["--commit", "f"], []),
        (["--model", "OLD@c18"], ["boot-1"]),
        (["--kind", "smoke"], ["smoke-2", "smoke-1"]),
    ],
)
def test_runs_are_filtered(invoke, history, arguments, found):
    document = json.loads(invoke("history", *arguments, "--json").stdout)
    assert [run["name"] for run in document["runs"]] == found


def test_a_filter_that_nothing_passes_tells_what_there_is(invoke, history):
    result = invoke("history", "--kind", "replay")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no run is like that; the history has: boot, smoke\n"


def test_one_run_is_shown_as_text_and_as_json(invoke, history):
    assert invoke("history", "boot-1").stdout.startswith(
        f"boot-1: ready, smoke passed\n\ncommit   {COMMIT} (verified)\n"
    )
    document = json.loads(invoke("history", "last", "--json").stdout)
    assert (document["schema_version"], document["name"]) == (1, "boot-2")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["history", "boot-9"], 2, "error: project `mine`: the history has no boot 9"),
        (["history", "x y"], 2, "error: RUN: `x y` names no run"),
        (["history", "last", "--kind", "boot"], 2, "error: RUN goes with no filter"),
        (["history", "--since", "soon"], 2, "error: Invalid value for '--since': `soon` is no time"),
        (["history", "--limit", "0"], 2, "error: Invalid value for '--limit'"),
        (["report", "boot-9"], 2, "error: project `mine`: the history has no boot 9"),
        (["report", "last", "--json", "--output", "-"], 2, "error: --json and `--output -` both want standard output"),
        (["report", "last", "--output", "stack.toml/page.html"], 1, "error: stack.toml/page.html cannot be written"),
    ],
)
def test_a_wrong_use_is_told(run_stack, history, arguments, code, said):
    run = run_stack(*arguments)
    assert (run.code, run.out) == (code, "")
    assert run.err.startswith(said)


def test_a_report_is_a_file_here_whose_name_is_the_result(invoke, history, folder):
    result = invoke("report", "last")
    assert (result.stdout, result.stderr) == ("stack-mine-boot-2.html\n", "")
    text = (folder / "stack-mine-boot-2.html").read_text()
    assert text.startswith("<!doctype html>\n")
    assert COMMIT in text
    assert sorted(path.name for path in folder.iterdir()) == ["stack-mine-boot-2.html", "stack.toml"]


def test_a_report_goes_where_it_is_asked_to(invoke, history, folder):
    result = invoke("report", "1", "--output", "out/page.html", "--junit", "out/checks.xml")
    assert result.stdout == "out/page.html\nout/checks.xml\n"
    assert ElementTree.parse(folder / "out/checks.xml").getroot().get("tests") == "2"
    assert invoke("report", "1", "--output", "-").stdout == (folder / "out/page.html").read_text()


@pytest.mark.parametrize("arguments", [["--junit", "checks.xml"], ["--json"], ["--json", "--junit", "checks.xml"]])
def test_a_page_is_not_written_where_only_something_else_is_asked_for(invoke, history, folder, arguments):
    result = invoke("report", "smoke-1", *arguments)
    assert [path.name for path in folder.glob("*.html")] == []
    if "--json" in arguments:
        assert json.loads(result.stdout)["name"] == "smoke-1"
    else:
        assert result.stdout == "checks.xml\n"


def test_a_report_that_cannot_be_written_leaves_the_old_one(invoke, history, folder, monkeypatch):
    page = folder / "page.html"
    page.write_text("the old one")

    def stop(page: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("stack.operations.history.report.render_page", stop)
    invoke("report", "last", "--output", "page.html")
    assert page.read_text() == "the old one"
    assert sorted(path.name for path in folder.iterdir()) == ["page.html", "stack.toml"]


def test_the_names_in_the_table_are_those_that_a_report_takes(invoke, history, folder):
    names = [run["name"] for run in json.loads(invoke("history", "--json").stdout)["runs"]]
    for name in names:
        assert invoke("report", name).stdout == f"stack-mine-{name}.html\n"

import io
import json
import re
import stat
import subprocess
import sys
import threading
import time

import pytest

from stack.console import Console, escape_control
from stack.errors import ConfigError, Problem, StackError
from stack.progress import ProgressEvent

MB = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown_on_screen(written: str) -> list[str]:
    """Give what a terminal still shows, knowing the few sequences that rich sends."""
    lines, row, column = [""], 0, 0
    for match in re.finditer(r"\x1b\[([\d;?]*)([A-Za-z])|(.)", written, re.DOTALL):
        count, code, character = match.groups()
        if code == "A":
            row -= int(count or 1)
        elif code == "K":
            lines[row] = ""
        elif character == "\r":
            column = 0
        elif character == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif character:
            lines[row] = lines[row][:column].ljust(column) + character + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines if line.strip()]


class Stage:
    """A console with its streams and its clock."""

    def __init__(self, *, verbosity=0, environ=None, is_terminal=False, answers=None) -> None:
        self.out, self.err, self.clock = io.StringIO(), io.StringIO(), Clock()
        self.console = Console(
            self.out,
            self.err,
            verbosity=verbosity,
            environ={"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"} | (environ or {}),
            is_terminal=is_terminal,
            stdin=None if answers is None else Terminal(answers),
            clock=self.clock,
        )

    def report(self, task: str, text: str = "", **more: object) -> None:
        self.console.report(ProgressEvent(task, text, **more))

    @property
    def lines(self) -> list[str]:
        return self.err.getvalue().splitlines()


def test_results_go_to_standard_output_and_all_else_to_standard_error():
    stage = Stage(verbosity=1)
    stage.console.result("result")
    for say in (stage.console.debug, stage.console.info, stage.console.success, stage.console.warn):
        say("said")
    assert stage.out.getvalue() == "result\n"
    assert stage.lines == ["said", "said", "said", "warning: said"]


@pytest.mark.parametrize(
    ("verbosity", "expected"),
    [(1, ["debug", "info", "success", "warning: warn"]), (0, ["info", "success", "warning: warn"]),
     (-1, ["warning: warn"]), (-2, [])],
)  # fmt: skip
def test_verbosity_decides_what_is_said(verbosity, expected):
    stage = Stage(verbosity=verbosity)
    for name in ("debug", "info", "success", "warn"):
        getattr(stage.console, name)(name)
    assert stage.lines == expected


def test_errors_are_said_at_any_verbosity():
    stage = Stage(verbosity=-5)
    stage.console.error(StackError("the disk is full"))
    assert stage.lines == ["error: the disk is full"]


def test_an_error_shows_its_hint_and_detail_apart():
    stage = Stage()
    stage.console.error(StackError("the pull failed", hint="run `stack up` again", detail="line 1\nline 2\n"))
    assert stage.err.getvalue() == ("error: the pull failed\n\nhint: run `stack up` again\n\n  line 1\n  line 2\n")


def test_all_problems_of_a_configuration_stand_below_one_another():
    stage = Stage()
    stage.console.error(ConfigError([Problem("engine.a", "is wrong"), Problem("engine.b", "is unknown")]))
    assert stage.err.getvalue() == "error: engine.a: is wrong\n       engine.b: is unknown\n"


def test_of_a_long_detail_the_end_is_shown_and_all_of_it_kept(tmp_path):
    detail = "\n".join(f"line {number}" for number in range(1, 51))
    path = tmp_path / "logs" / "detail.log"
    stage = Stage()
    stage.console.error(StackError("it failed", detail=detail), detail_path=path)
    assert stage.lines[2] == "  line 31"
    assert stage.lines[21:] == ["  line 50", "", f"These are the last 20 of 50 lines; all of them: {path}"]
    assert path.read_text() == detail
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_detail_that_cannot_be_kept_does_not_hide_the_error(tmp_path):
    (tmp_path / "file").write_text("")
    stage = Stage()
    error = StackError("it failed", detail="x\n" * 30)
    stage.console.error(error, detail_path=tmp_path / "file" / "detail.log")
    assert stage.lines[0] == "error: it failed"
    assert "could not take all of them" in stage.lines[-1]


def test_foreign_text_in_an_error_cannot_reach_the_terminal():
    stage = Stage()
    stage.console.error(StackError("model \x1b[2J", hint="\x07", detail="a\x1b]52;c;x\x07"))
    assert "\x1b" not in stage.err.getvalue()
    assert "\x07" not in stage.err.getvalue()


def test_labels_are_coloured_on_a_terminal_and_say_the_same_without():
    painted, plain = Stage(is_terminal=True), Stage(is_terminal=True, environ={"NO_COLOR": "1"})
    for stage in (painted, plain):
        stage.console.error(StackError("bad", hint="good"))
        stage.console.warn("odd")
        stage.console.success("done")
    assert "\x1b[1;31merror:\x1b[0m bad" in painted.err.getvalue()
    assert "\x1b" not in plain.err.getvalue()
    assert escape_control(painted.err.getvalue()) == plain.err.getvalue()


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_a_dumb_terminal_or_no_color_gets_no_colour(environ):
    stage = Stage(is_terminal=True, environ=environ)
    stage.console.warn("odd")
    assert stage.lines == ["warning: odd"]


def test_whether_it_is_a_terminal_is_asked_of_standard_error():
    err = Terminal()
    Console(io.StringIO(), err, environ={"TERM": "xterm"}).warn("odd")
    assert "\x1b" in err.getvalue()


def test_json_is_one_document_in_ascii_with_keys_in_their_order():
    stage = Stage()
    document = {"schema_version": 1, "b": "ü\x9b", "a": [1]}
    stage.console.json(document)
    assert stage.out.getvalue().isascii()
    assert stage.out.getvalue().startswith('{\n  "schema_version": 1,')
    assert list(json.loads(stage.out.getvalue()).items()) == list(document.items())


def test_a_number_that_json_does_not_have_is_not_written():
    with pytest.raises(ValueError, match="JSON"):
        Stage().console.json({"ratio": float("nan")})


def test_a_result_can_be_written_piece_by_piece():
    stage = Stage()
    stage.console.result("The", end="")
    stage.console.result(" capital\x1b[2J", end="")
    assert stage.out.getvalue() == "The capital\\x1b[2J"


def test_text_that_the_stream_cannot_encode_is_escaped():
    raw = io.BytesIO()
    console = Console(io.TextIOWrapper(raw, encoding="ascii"), io.StringIO(), environ={}, is_terminal=False)
    console.result("Zürich")
    assert raw.getvalue() == b"Z\\xfcrich\n"


@pytest.mark.parametrize(
    ("answers", "default", "expected"),
    [("y\n", False, True), ("YES\n", False, True), ("n\n", True, False), ("\n", True, True),
     ("\n", False, False), ("maybe\n", True, False), ("", True, False)],
)  # fmt: skip
def test_a_question_is_answered_by_the_person(answers, default, expected):
    stage = Stage(answers=answers)
    assert stage.console.confirm("Go on?", default=default) is expected
    assert stage.err.getvalue() == f"Go on? {'[Y/n]' if default else '[y/N]'} "


@pytest.mark.parametrize("default", [True, False])
def test_where_nobody_can_answer_the_default_holds_and_nothing_is_asked(default):
    stage = Stage()
    assert stage.console.confirm("Go on?", default=default) is default
    assert stage.lines == []


def test_off_a_terminal_a_line_is_printed_for_each_change_of_text():
    stage = Stage()
    for text in ("connecting", "connecting", "downloading", "downloading", "checking"):
        stage.report("pull", text)
    assert stage.lines == ["pull: connecting", "pull: downloading", "pull: checking"]


def test_off_a_terminal_bytes_are_told_every_ten_seconds_with_rate_and_time_left():
    stage = Stage()
    for second in range(0, 26):
        stage.clock.now = 100 + second
        stage.report("pull", completed_bytes=3 * second * MB, total_bytes=90 * MB)
    assert stage.lines == [
        "pull: 0 B of 90.0 MB, 0 %",
        "pull: 30.0 of 90.0 MB, 33 %, 3.0 MB/s, 20 s left",
        "pull: 60.0 of 90.0 MB, 67 %, 3.0 MB/s, 10 s left",
    ]


def test_two_tasks_do_not_silence_one_another():
    stage = Stage()
    for second in range(0, 11):
        stage.clock.now = 100 + second
        for task in ("a", "b"):
            stage.report(task, completed_bytes=second * MB)
    assert [line[:1] for line in stage.lines] == ["a", "b", "a", "b"]


def test_control_characters_in_a_task_or_its_text_are_escaped():
    stage = Stage()
    stage.report("pull \x1b[2J", "two\nlines")
    assert stage.lines == ["pull \\x1b[2J: two\\nlines"]


def test_after_ten_silent_seconds_the_running_tasks_are_told():
    stage = Stage()
    stage.report("load weights", "reading")
    stage.clock.now += 8
    stage.console.beat()
    stage.clock.now += 2
    stage.console.beat()
    stage.console.beat()
    stage.clock.now += 10
    stage.console.beat()
    assert stage.lines == [
        "load weights: reading",
        "still: load weights, reading, 10 s",
        "still: load weights, reading, 20 s",
    ]


def test_a_heartbeat_is_silent_when_nothing_runs_or_when_asked_to_be_quiet():
    idle, quiet = Stage(), Stage(verbosity=-1)
    quiet.report("load")
    for stage in (idle, quiet):
        stage.clock.now += 60
        stage.console.beat()
        assert stage.lines == []


def test_the_heartbeat_runs_by_itself_while_live():
    stage = Stage()
    with stage.console.live():
        stage.report("load")
        stage.clock.now += 20
        deadline = time.monotonic() + 20
        while len(stage.lines) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert stage.lines == ["load: started", "still: load, 20 s"]
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_tasks_of_an_aborted_step_are_not_told_in_the_next():
    stage = Stage()
    with pytest.raises(StackError), stage.console.live():
        stage.report("load")
        raise StackError("aborted")
    stage.clock.now += 60
    stage.console.beat()
    assert stage.lines == ["load: started"]


def test_on_a_terminal_running_tasks_are_drawn_and_their_ends_stay():
    stage = Stage(is_terminal=True, environ={"NO_COLOR": "1"})
    with stage.console.live():
        stage.report("pull", "downloading", completed_bytes=10 * MB, total_bytes=40 * MB)
        stage.clock.now += 5
        stage.report("pull", "downloading", completed_bytes=30 * MB, total_bytes=40 * MB)
        stage.report("load", "reading")
        stage.console.info("a word between")
        stage.report("pull", state="done", completed_bytes=40 * MB)
        stage.console.result("result")
    written = stage.err.getvalue()
    assert "5.0 s" in written
    assert "30.0 of 40.0 MB, 75 %, 4.0 MB/s, 2.5 s left, downloading" in written
    assert "━" in written
    assert "a word between\n" in written
    assert "pull: done in 5.0 s, 40.0 MB\n" in written
    assert "pull: downloading" not in written
    assert stage.out.getvalue() == "result\n"


def test_what_is_said_while_drawing_stays_on_the_screen_and_the_drawing_goes():
    stage = Stage(is_terminal=True, environ={"NO_COLOR": "1"})
    with stage.console.live():
        for task in ("a", "b", "c"):
            stage.report(task, "running")
        for word in ("one", "two", "three"):
            stage.console.info(word)
        stage.report("b", state="done")
        stage.console.warn("four")
        drawn = shown_on_screen(stage.err.getvalue())
    left = shown_on_screen(stage.err.getvalue())
    assert left == ["one", "two", "three", "b: done in 0.0 s", "warning: four"]
    assert [line.split() for line in drawn[len(left) :]] == [[task, "0.0", "s", "running"] for task in "ac"]


def test_a_drawing_fits_a_narrow_terminal():
    stage = Stage(is_terminal=True, environ={"COLUMNS": "40", "NO_COLOR": "1"})
    with stage.console.live():
        stage.report("pull " + "x" * 80, "y" * 80, completed_bytes=1, total_bytes=2)
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stage.err.getvalue())
    assert "…" in drawn
    assert max(map(len, re.split("[\r\n]", drawn))) <= 40


def test_live_within_live_draws_once():
    stage = Stage()
    with stage.console.live(), stage.console.live():
        stage.report("load")
    assert stage.lines == ["load: started"]


def test_quiet_draws_nothing_on_a_terminal():
    stage = Stage(is_terminal=True, verbosity=-1)
    with stage.console.live():
        stage.report("load")
        stage.report("load", state="done")
    assert stage.err.getvalue() == ""


@pytest.mark.parametrize("is_terminal", [True, False])
def test_threads_can_report_at_once(is_terminal):
    stage = Stage(is_terminal=is_terminal, environ={"NO_COLOR": "1"})

    def run(name: str) -> None:
        for number in range(30):
            stage.report(name, completed_bytes=number, total_bytes=30)
        stage.report(name, state="done")

    threads = [threading.Thread(target=run, args=(f"task-{number}",)) for number in range(8)]
    with stage.console.live():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number in range(8):
        assert stage.err.getvalue().count(f"task-{number}: done") == 1


def test_rich_is_imported_only_where_something_is_drawn():
    code = (
        "import io, sys; from stack.console import Console; from stack.progress import ProgressEvent\n"
        "console = Console(io.StringIO(), io.StringIO(), environ={}, is_terminal=False)\n"
        "with console.live(): console.report(ProgressEvent('load', completed_bytes=1, total_bytes=2))\n"
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

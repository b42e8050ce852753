import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.console_lines import ProgressLines, escape_control, format_bytes, format_duration, render_table
from stack.progress import ProgressEvent

MB = 1_000_000


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (45_200_000, "45.2 MB"),
        (999_999_999, "1.0 GB"),
        (4_200_000_000, "4.2 GB"),
    ],
)
def test_sizes_are_told_in_decimal_units(size_bytes, text):
    assert format_bytes(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (3.21, "3.2 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (80, "1 min 20 s"),
        (3599.9, "1 h 0 min"),
        (7530, "2 h 5 min"),
    ],
)
def test_durations_are_told_as_people_say_them(seconds, text):
    assert format_duration(seconds) == text


def test_control_characters_are_shown_and_colours_dropped():
    text = "\x1b[32mINFO\x1b[0m\x1b]0;title\x07 a\rb\x9bc \u202etxt \udcff\tz\r\n"
    assert escape_control(text) == "INFO\\x1b]0;title\\x07 a\\rb\\x9bc \\u202etxt \\udcff\tz\n"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_escaped_text_can_move_no_cursor(text):
    escaped = escape_control(text)
    assert all(character in "\t\n" or character.isprintable() or character > "\x9f" for character in escaped)
    assert escape_control(escaped) == escaped


def test_table_columns_are_aligned_and_cells_are_one_line():
    table = render_table([("engine", 8000), ("a\nb\x1b", None)], ("service", "port"))
    assert table == "service   port\nengine    8000\na\\nb\\x1b  None"


def test_an_empty_table_has_its_header():
    assert render_table([], ("service", "port")) == "service  port"


def test_a_resumed_download_counts_only_new_bytes_into_its_rate():
    lines = ProgressLines()
    lines.note(ProgressEvent("pull", completed_bytes=500 * MB, total_bytes=1000 * MB), 0)
    said = lines.note(ProgressEvent("pull", completed_bytes=510 * MB, total_bytes=1000 * MB), 10)
    assert said == "pull: 510.0 MB of 1.0 GB, 51 %, 1.0 MB/s, 8 min 10 s left"


def test_a_download_that_starts_over_has_no_negative_rate():
    lines = ProgressLines()
    for now, done in ((0, 0), (1, 50 * MB), (2, 0)):
        lines.note(ProgressEvent("pull", completed_bytes=done, total_bytes=100 * MB), now)
    said = lines.note(ProgressEvent("pull", "again", 10 * MB, 100 * MB), 3)
    assert said == "pull: again, 10.0 of 100.0 MB, 10 %, 10.0 MB/s, 9.0 s left"


def test_a_rate_is_told_only_after_a_second_and_a_hundred_percent_only_at_the_end():
    lines = ProgressLines()
    lines.note(ProgressEvent("verify", "config.json", 0, 270 * MB), 0)
    first = lines.note(ProgressEvent("verify", "model.safetensors", 700, 270 * MB), 0.1)
    later = lines.note(ProgressEvent("verify", "tokenizer.json", 269 * MB, 270 * MB), 1.0)
    assert first == "verify: model.safetensors, 700 B of 270.0 MB, 0 %"
    assert later == "verify: tokenizer.json, 269.0 of 270.0 MB, 99 %, 269.0 MB/s"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (ProgressEvent("pull", state="done", completed_bytes=90 * MB), "pull: done in 12 s, 90.0 MB"),
        (ProgressEvent("pull", "no space left", state="failed"), "pull: failed after 12 s: no space left"),
        (ProgressEvent("pull", "already here", state="skipped"), "pull: skipped: already here"),
    ],
)
def test_the_end_of_a_task_is_told_in_words_with_its_duration(event, line):
    lines = ProgressLines()
    assert lines.note(ProgressEvent("pull"), 0) == "pull: started"
    assert lines.note(event, 12) == line
    assert lines.note(event, 13) is None
    assert lines.heartbeat(30) is None


def test_a_task_that_ended_at_once_has_no_duration():
    assert ProgressLines().note(ProgressEvent("grafana", "no image", state="skipped"), 1) == (
        "grafana: skipped: no image"
    )


def test_a_task_can_run_again_after_its_end():
    lines = ProgressLines()
    said = [lines.note(ProgressEvent("t", state=state), now) for now, state in enumerate(["running", "done"] * 2)]
    assert said == ["t: started", "t: done in 1.0 s"] * 2


def test_a_heartbeat_of_many_tasks_names_three():
    lines = ProgressLines()
    for name in "abcde":
        lines.note(ProgressEvent(name), 0)
    assert lines.heartbeat(20) == "still: a, 20 s; b, 20 s; c, 20 s; and 2 more"

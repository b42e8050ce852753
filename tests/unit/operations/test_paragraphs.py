"""Text in lines of a width."""

from __future__ import annotations

from stack.operations.paragraphs import wrap_paragraph


def test_lines_are_no_longer_than_asked_for_and_hold_every_word():
    text = "one two three four five six seven"
    lines = wrap_paragraph(text, 14, "next  ", "      ")
    assert lines == ["next  one two", "      three", "      four", "      five six", "      seven"]
    assert " ".join(" ".join(lines).split()) == f"next {text}"


def test_a_short_command_is_not_broken_and_a_long_one_is():
    assert wrap_paragraph("see `docker system df -v` there", 20) == ["see", "`docker system df -v`", "there"]
    assert len(wrap_paragraph(f"`{'word ' * 20}`", 30)) > 1


def test_a_word_that_fits_no_line_stays_whole():
    assert wrap_paragraph(f"at /{'x' * 50} now", 20) == ["at", f"/{'x' * 50}", "now"]


def test_line_feeds_stay_and_nothing_gives_the_beginning_only():
    assert wrap_paragraph("a\n- b", 20, "> ", "  ") == ["> a", "  - b"]
    assert wrap_paragraph("", 20, "skip  ") == ["skip"]

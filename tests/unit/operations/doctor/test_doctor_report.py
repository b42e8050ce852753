"""What `doctor` found, as lines of a width."""

from __future__ import annotations

import pytest

from stack.checks.finding import Finding, Report
from stack.checks.host.target import HostTarget
from stack.operations.doctor.report import render_lines
from stack.operations.doctor.run import DoctorReport

LONG = "the model hub does not answer (huggingface.co cannot be reached) and " * 3
FINDINGS = (
    Finding("docker", "pass", "Docker Engine 28.3.0 at unix:///var/run/docker.sock"),
    Finding("wsl", "skip", "not WSL"),
    Finding("network", "warn", LONG, hint="`stack warm --verify` tells more; else see HTTPS_PROXY", why="none is had"),
    Finding("gpu-wsl", "skip", "not WSL"),
    Finding("gpu-driver", "skip", "no GPU answers"),
    Finding("disk-space", "fail", "/a/path/" + "x" * 90, hint="make room"),
)


def render(*findings, headline="`stack up` would work", **options):
    return render_lines(DoctorReport(Report(findings, seconds=0.5), headline, (), HostTarget("mine")), **options)


def test_what_is_wrong_comes_first_and_what_was_not_looked_at_last():
    lines = render(*FINDINGS)
    assert [line[:4] for line in lines if line[:4] in ("fail", "warn", "pass", "skip")] == [
        "fail", "warn", "pass", "skip",
    ]  # fmt: skip


def test_skips_of_one_reason_are_told_together():
    assert "skip  wsl, gpu-wsl: not WSL; gpu-driver: no GPU answers" in render(*FINDINGS)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_line_is_longer_than_asked_for_but_for_a_word_that_is(width):
    lines = render(*FINDINGS, headline=LONG, width=width)
    assert [line for line in lines if len(line) > width and "x" * 90 not in line] == []


@pytest.mark.parametrize("width", [1, 0, -5])
def test_a_width_that_nothing_fits_gives_lines_all_the_same(width):
    assert any("make room" in line for line in render(*FINDINGS, width=width))


def test_every_word_of_a_warning_is_there_and_a_command_is_not_broken():
    lines = render(*FINDINGS, width=70)
    text = " ".join(" ".join(lines).split())
    assert " ".join(LONG.split()) in text
    assert any("`stack warm --verify`" in line for line in lines)


def test_a_message_of_several_lines_stays_in_its_column():
    lines = render(Finding("decisions", "fail", "two things:\n- one\n- two"))
    assert lines[2:5] == ["fail  decisions  two things:", " " * 17 + "- one", " " * 17 + "- two"]

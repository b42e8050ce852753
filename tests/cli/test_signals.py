"""A closed terminal ends a command as Ctrl-C does, so that it cleans up; `nohup` keeps it going."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stack.errors import EXIT_INTERRUPTED


def wait_caught(pid: int, number: int, seconds: float = 30) -> None:
    """Wait until a process handles a signal itself, as the kernel tells."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
        if mask >> (number - 1) & 1:
            return
        time.sleep(0.02)
    raise AssertionError(f"signal {number} is not handled after {seconds} s")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_command_that_is_told_to_go_ends_as_interrupted(number: signal.Signals) -> None:
    argv = [sys.executable, "-m", "stack", "explain", "-"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_caught(process.pid, number)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, "interrupted" in said) == (EXIT_INTERRUPTED, True)


def test_what_nohup_has_ignored_stays_ignored() -> None:
    script = "trap '' HUP; exec \"$@\""
    argv = ["sh", "-c", script, "sh", sys.executable, "-m", "stack", "explain", "-"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_caught(process.pid, signal.SIGTERM)
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate("ValueError: Free memory on device cuda:0 (1.0/2.0 GiB)", timeout=30)
    assert process.returncode >= 0 and out

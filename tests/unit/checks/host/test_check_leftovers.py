"""What an earlier run left, and variables that are in the way."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from stack.checks.host import check_environment, check_leftovers
from stack.checks.host.target import EngineNeed, ImageNeed, ModelNeed, StateNeed
from stack.files import replace_file
from tests.unit.checks.host.conftest import give_container


@pytest.fixture
def state(tmp_path: Path) -> StateNeed:
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "state.json").write_text("{}")
    return StateNeed(folder, folder / "lock", folder / "state.json", tmp_path / "volume", tmp_path / "cache", "ready")


def judge(make_context, state, **options):
    return check_leftovers.run(make_context(state=state, **options))


def test_a_clean_project_has_nothing_left(make_context, state):
    assert judge(make_context, state).message == "nothing is left of an earlier run"
    assert check_leftovers.run(make_context()).status == "skip"


def lock_row(path, pid):
    figures = path.stat()
    device = f"{os.major(figures.st_dev):02x}:{os.minor(figures.st_dev):02x}"
    return f"1: FLOCK  ADVISORY  WRITE {pid} {device}:{figures.st_ino} 0 EOF\n"


def test_another_run_that_works_on_the_project_is_named(make_context, state, proc):
    state.lock.write_text("`stack up` (process 4711)\n")
    (proc / "locks").write_text(lock_row(state.lock, 4711))
    outcome = judge(make_context, state)
    assert outcome.status == "warn"
    assert outcome.message == "`stack up` (process 4711) works on project `mine` now"


def test_a_lock_file_that_nobody_holds_or_we_hold_ourselves_is_nothing(make_context, state, proc):
    state.lock.write_text("`stack up` (process 4711)\n")
    assert judge(make_context, state).status == "pass"
    (proc / "locks").write_text(lock_row(state.lock, os.getpid()))
    assert judge(make_context, state).status == "pass"


def test_the_kernels_own_list_is_understood(tmp_path):
    path = tmp_path / "lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert check_leftovers.find_lock_holder(Path("/proc"), path) == os.getpid()
    assert check_leftovers.find_lock_holder(Path("/proc"), path) is None


def stage(state, size_bytes):
    folder = state.volume / ".staging" / "hub--acme--big--0123"
    folder.mkdir(parents=True)
    with (folder / "model.safetensors.part").open("wb") as file:
        file.truncate(size_bytes)
    return folder


def test_a_large_unfinished_download_is_pointed_out(make_context, state):
    stage(state, 3 * 1024**3)
    outcome = judge(make_context, state)
    assert outcome.status == "warn"
    assert outcome.message == "3.0 GiB of unfinished downloads on the volume: hub--acme--big--0123"
    assert "stack warm --prune" in outcome.hint


def test_a_small_one_or_one_that_runs_is_a_note(make_context, state, proc):
    folder = stage(state, 1024**2)
    assert judge(make_context, state).message == f"{folder.name} (1.0 MiB) is unfinished; `up` goes on with it"
    with (folder / "model.safetensors.part").open("wb") as file:
        file.truncate(3 * 1024**3)
    lock = state.volume / ".locks" / f"{folder.name}.lock"
    lock.parent.mkdir()
    lock.touch()
    (proc / "locks").write_text(lock_row(lock, 4711))
    outcome = judge(make_context, state)
    assert (outcome.status, "is being fetched now" in outcome.message) == ("pass", True)


def test_containers_that_the_tool_did_not_make_are_named(make_context, state):
    outcome = judge(make_context, state, containers=(give_container("mine-web-1", project="mine"),))
    assert outcome.status == "warn"
    assert outcome.hint.endswith("`docker rm -f mine-web-1`")


def test_containers_whose_state_was_lost_are_taken_over(make_context, state):
    ours = give_container("mine-engine-1", project="mine", tool=True)
    assert judge(make_context, state, containers=(ours,)).status == "pass"
    state.facts.unlink()
    outcome = judge(make_context, state, containers=(ours,))
    assert (outcome.status, "takes them over" in outcome.hint) == ("warn", True)


def break_off(path: Path) -> None:
    """Begin to write a file, and be killed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError))
        patch.setattr(Path, "unlink", lambda path, missing_ok: None)
        with pytest.raises(OSError):  # noqa: PT011
            replace_file(path, b"")


def test_an_interrupted_boot_and_half_written_files_are_notes(make_context, state, proc):
    break_off(state.folder / "state.json")
    unfinished = StateNeed(state.folder, state.lock, state.facts, state.volume, state.cache, "unfinished")
    outcome = judge(make_context, unfinished)
    assert outcome.status == "pass"
    assert outcome.message == (
        "the last boot was interrupted before its end; 1 half-written file of a run that was killed"
    )
    (proc / str(os.getpid())).mkdir()
    assert judge(make_context, state).message == "nothing is left of an earlier run"


def judge_environment(make_context, environ, **target):
    return check_environment.run(make_context(world={"environ": environ}, **target))


HUB_MODEL = ModelNeed("acme/x", "hub")


@pytest.mark.parametrize(
    ("environ", "target"),
    [
        ({"DOCKER_DEFAULT_PLATFORM": "linux/riscv64"}, {}),
        ({"DOCKER_CONTENT_TRUST": "1"}, {}),
        ({"DOCKER_BUILDKIT": "0"}, {"images": (ImageNeed("engine", "build", "x"),)}),
        ({"HF_HUB_OFFLINE": "1"}, {"model": HUB_MODEL}),
        ({"CUDA_VISIBLE_DEVICES": "1"}, {"engine": EngineNeed(device="cuda")}),
        ({"PROMETHEUS_MULTIPROC_DIR": "/tmp/x"}, {}),
        ({"VLLM_ATTENTION_BACKEND": "FLASHINFER"}, {}),
    ],
    ids=lambda value: next(iter(value), ""),
)
def test_variables_that_matter_are_found(make_context, environ, target):
    outcome = judge_environment(make_context, environ, **target)
    assert (outcome.status, outcome.data["variables"]) == ("warn", list(environ))


@pytest.mark.parametrize(
    ("environ", "target"),
    [
        ({"DOCKER_BUILDKIT": "0"}, {}),
        ({"DOCKER_CONTENT_TRUST": "0"}, {}),
        ({"HF_HUB_OFFLINE": "1"}, {"model": ModelNeed("acme/x", "hub", is_here=True)}),
        ({"CUDA_VISIBLE_DEVICES": "1"}, {"engine": EngineNeed(device="cpu")}),
        ({"PATH": "/bin", "MYVLLM_X": "1"}, {}),
    ],
    ids=lambda value: next(iter(value), ""),
)
def test_the_same_variables_where_they_do_not_matter_are_not(make_context, environ, target):
    assert judge_environment(make_context, environ, **target).status == "pass"


def test_this_machines_own_platform_is_no_trap(make_context, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert judge_environment(make_context, {"DOCKER_DEFAULT_PLATFORM": "linux/amd64"}).status == "pass"
    assert judge_environment(make_context, {"DOCKER_DEFAULT_PLATFORM": "linux/arm64"}).status == "warn"

"""A model directory that cannot be served must be told with its file, before anything is started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.harness import Stack
from tests.scenarios.projects import render_config
from tests.unit.models.conftest import build_model_files, write_files

SHARD = "model-00001-of-00002.safetensors"


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    return make_stack("files", render_config(fake_engine))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_files(tmp_path / "model", build_model_files())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def lead_out(path: Path) -> None:
    outside = path.parent.parent / "elsewhere"
    path.rename(outside)
    path.symlink_to(outside)


@pytest.mark.parametrize(
    ("break_it", "said", "hint"),
    [
        pytest.param(
            lambda folder: (folder / "config.json").unlink(),
            "{folder} holds no config.json",
            "model.id",
            id="without config.json",
            marks=pytest.mark.fault(
                "the model directory has no `config.json`", "exit 7 before anything is started: what it lacks"
            ),
        ),
        pytest.param(
            lambda folder: cut(folder / SHARD),
            "{folder}/model-00001-of-00002.safetensors is damaged",
            "",
            id="truncated",
            marks=pytest.mark.fault(
                "the weights are truncated",
                "exit 7 before anything is started: the file, its length and the length that its header tells",
            ),
        ),
        pytest.param(
            lambda folder: lead_out(folder / SHARD),
            "{folder}/model-00001-of-00002.safetensors is a link to the absolute path",
            "cp -rL",
            id="a link that leads out",
            marks=pytest.mark.fault(
                "a symlink leads out of the model directory",
                "exit 7 before anything is started: the link, and how to copy the directory without links",
            ),
        ),
    ],
)
def test_a_directory_that_cannot_be_served_ends_with_7_before_anything_is_started(
    stack: Stack, folder: Path, break_it: Callable[[Path], None], said: str, hint: str
) -> None:
    break_it(folder)
    done = stack.run("up", "--no-smoke", "--model", str(folder)).demand(7)
    assert said.format(folder=folder) in done.err
    assert hint in done.err.partition("hint: ")[2]
    assert "hint: " in done.err
    assert "Traceback" not in done.err
    assert "#1 " not in done.err, "nothing was fetched or built either"
    assert stack.containers() == {}


@pytest.mark.fault("the model directory is missing", "exit 2 with whatever else is wrong in the configuration")
def test_a_directory_that_is_missing_is_told_before_anything_is_started(stack: Stack, folder: Path) -> None:
    gone = str(folder / "gone")
    for command in ("up", "warm"):
        assert f"model.id: `{gone}` does not exist" in stack.run(command, "--model", gone).demand(2).err
    assert stack.containers() == {}


@pytest.mark.fault(
    "the weights are truncated under a running stack",
    "`stack up` ends with 7; the engine that runs goes on, and with the file back there is nothing to do",
)
def test_weights_that_are_cut_under_a_running_stack_take_nothing_down(stack: Stack, folder: Path) -> None:
    up = ("up", "--no-smoke", "--model", str(folder))
    stack.run(*up).demand()
    before = stack.containers()["engine"]
    whole = (folder / SHARD).read_bytes()
    cut(folder / SHARD)
    assert "is damaged" in stack.run(*up).demand(7).err
    after = stack.containers()["engine"]
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    (folder / SHARD).write_bytes(whole)
    stack.run(*up).demand()
    assert stack.containers()["engine"]["State"]["StartedAt"] == before["State"]["StartedAt"]

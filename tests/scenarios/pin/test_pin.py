"""What is pinned must be what `stack up` runs, also when its registry is gone."""

from __future__ import annotations

import tomllib
from collections.abc import Callable

from tests.fixtures.image_registry import Registry
from tests.scenarios.harness import Stack
from tests.scenarios.pin.test_archive import COMMIT
from tests.scenarios.projects import render_config


def test_up_runs_what_is_pinned(
    pushed: Registry, make_stack: Callable[..., Stack], build_fake_engine: Callable[[str], str]
) -> None:
    digest = pushed.push(build_fake_engine(COMMIT), f"team/engine:{COMMIT}")
    name = f"{pushed.host}/team/engine"
    stack = make_stack("pinned-up", render_config(None))
    with (stack.folder / "stack.toml").open("a") as config:
        config.write(f'\n[images.sources]\nown = "{name}:{{commit}}"\n')
    pinned = stack.run("pin", COMMIT, "--accept", "claimed", "--json").demand().json()
    assert pinned["digest"] == digest
    up = stack.run("up", "--no-smoke").demand()
    assert f"engine = {COMMIT}: pinned by `stack pin {COMMIT}`" in up.err
    assert stack.containers()["engine"]["Config"]["Image"] == f"{name}@{digest}"
    lock = tomllib.loads((stack.folder / "stack.lock").read_text())
    assert (lock["engine"]["pinned"], lock["engine"]["commit_level"], lock["engine"]["accepted"]) == (
        COMMIT, "claimed", "claimed"
    )  # fmt: skip
    assert lock["images"]["engine/cpu"]["found_by"] == "own"
    # With the registry gone, what is here by a digest of a known repository is enough, and is told to be all there is.
    pushed.stop()
    steps = stack.run("pin", COMMIT, "--accept", "claimed", "--json").demand().json()["steps"]
    assert [(step["source"], step["outcome"]) for step in steps] == [("local", "found")]
    checked = stack.run("pin", "--check").demand().out
    assert "the image is here" in checked and "connection refused" in checked
    assert "nothing to do" in stack.run("up", "--no-smoke").demand().err

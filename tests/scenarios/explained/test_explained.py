"""`up` must tell a failed boot by its cause and the next step, and `stack explain` the same from what is kept of it.

The fake engine says what engines said that failed (tests/fixtures/logs/failures); the last two are the real one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.harness import ROOT, Stack
from tests.scenarios.projects import render_config

LOGS = ROOT / "tests" / "fixtures" / "logs" / "failures"
UNKNOWN = """\
(EngineCore pid=9) ERROR 11-21 22:04:43 [core.py:1433] EngineCore failed to start.
(EngineCore pid=9) ERROR 11-21 22:04:43 [core.py:1433] ValueError: the flux capacitor is empty
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


@pytest.fixture(scope="module")
def logs(shared_models: Path) -> Path:
    """The recorded logs where the engine's user can read them."""
    folder = shared_models / "failure-logs"
    shutil.copytree(LOGS, folder)
    (folder / "unknown.log").write_text(UNKNOWN)
    return folder


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack]) -> Stack:
    return make_stack("explained")


@pytest.fixture
def fail(stack: Stack, fake_engine: str, logs: Path) -> Callable[..., str]:
    """Give a function: `up` on an engine that says a recorded log and ends; it gives what `up` said."""

    def run(name: str, status: int = 1) -> str:
        arguments = f"--crash-log /logs/{name}.log --crash-status {status}"
        stack.write_config(render_config(fake_engine, arguments) + f'\n[engine.mounts]\n"/logs" = "{logs}"\n')
        return stack.run("up", "--no-smoke").demand(5).err

    return run


@pytest.mark.fault(
    "The engine does not start: context too long, wrong flag, too little memory, no kernels, damaged weights …",
    "`up` ends with 5, and tells the cause and the change that mends it; `stack explain` shows the line of the log",
)
@pytest.mark.parametrize(
    ("name", "status", "cause", "step"),
    [
        ("context-too-long", 1, "2688 tokens fit", "set `max-model-len = 2688` in [engine.args]"),
        ("wrong-flag", 2, "has no flag `--max-modle-len`", "write `max-model-len` instead of `max-modle-len`"),
        ("gpu-memory-taken", 1, "31.44 of the GPU's 47.38 GiB are free", "set `gpu-memory-utilization = 0.66`"),
        ("no-kernel-image", 1, "the image has no kernels for this GPU", "choose an `engine.version`"),
    ],
)
def test_a_known_failure_is_told_with_its_cause_and_the_next_step(
    fail: Callable[..., str], stack: Stack, name: str, status: int, cause: str, step: str
) -> None:
    said = fail(name, status)
    assert "error: `engine` ended after" in said
    assert cause in said
    assert step in said.partition("hint: ")[2]
    assert "Traceback" not in said
    explained = stack.run("explain", "--json").demand().json()["explained"]
    assert explained["id"] == name
    assert cause in explained["cause"]


def test_an_unknown_failure_shows_the_first_cause_and_the_logs_end(fail: Callable[..., str], stack: Stack) -> None:
    said = fail("unknown")
    assert "s: ValueError: the flux capacitor is empty\n" in said
    assert "Engine core initialization failed" in said
    done = stack.run("explain").demand(1)
    assert "line 2: ValueError: the flux capacitor is empty" in done.out


@pytest.mark.fault(
    "The kernel kills the engine because memory runs out",
    "`up` ends with 5 and says so, whatever the engine's own log says; the kept log tells it to `stack explain`, too",
)
def test_an_engine_that_the_kernel_kills_for_its_memory_is_told_so(stack: Stack, fake_engine: str) -> None:
    stack.write_config(render_config(fake_engine, "--eat-memory") + '\n[services.engine]\nmemory = "64m"\n')
    said = stack.run("up", "--no-smoke").demand(5).err
    assert "the kernel killed the engine because memory ran out" in said
    assert "`memory` in [services.engine]" in said
    assert stack.run("explain", "--json").demand().json()["explained"]["id"] == "oom-killed"


@pytest.fixture(scope="module")
def real(make_stack: Callable[..., Stack]) -> Stack:
    return make_stack("explained-real")


def write_real_config(stack: Stack, model: str, arguments: str) -> None:
    after = f'[images]\nsource = "packages"\n[engine.args]\nenforce-eager = true\n{arguments}\n'
    stack.write_config(render_config(None, after=after, model=f'id = "{model}"'))


def test_the_real_engine_that_does_not_know_a_model_is_explained(real: Stack, shared_models: Path) -> None:
    write_real_config(real, "demo", "")
    sound = Path(real.run("warm", "--json").demand().json()["path"])
    model = shared_models / "unknown-type"
    shutil.copytree(sound, model)
    config = json.loads((model / "config.json").read_text())
    config |= {"model_type": "zephyrion", "architectures": ["ZephyrionForCausalLM"]}
    (model / "config.json").write_text(json.dumps(config))
    write_real_config(real, str(model), "")
    said = real.run("up", "--no-smoke").demand(5).err
    assert "this engine does not know the model type `zephyrion`" in said
    assert "hint: choose a newer `engine.version`" in said


def test_the_real_engine_that_does_not_take_a_flag_is_told_the_nearest(real: Stack) -> None:
    write_real_config(real, "demo", "max-modle-len = 2048")
    said = real.run("up", "--no-smoke").demand(5).err
    assert "`vllm serve` of this version has no flag `--max-modle-len`" in said
    assert "hint: write `max-model-len` instead of `max-modle-len` in [engine.args]" in said
    assert real.run("explain").demand().out.startswith("wrong-flag: ")

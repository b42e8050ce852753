"""An engine that is tried must be kept only where it does what the old one did; else the old one must answer again."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.scenarios.harness import Stack, run_docker
from tests.scenarios.registry.test_registry import Registry, render_config

LABEL = "org.opencontainers.image.revision"
OLD, GOOD, WRONG, OTHER, DEAD = (f"{digit * 8}{'0123456789abcdef' * 2}" for digit in "abcde")
ENGINE = "/opt/fake/engine.py"
# What each commit does otherwise than the fake engine does by itself.
CHANGES = {
    OLD: "",
    GOOD: f'RUN sed -i \'s/put("vllm:num_requests_waiting"/put("vllm:new", "gauge", ("", "", 1)); &/\' {ENGINE}',
    WRONG: 'ENV FAKE_ENGINE_ARGS="--misbehave wrong-answers"',
    OTHER: f"RUN sed -i -e 's/context\\[-8:\\]/context[-7:]/' -e 's/\"num_preemptions\"/\"stops\"/' {ENGINE}",
    DEAD: f'ENV FAKE_ENGINE_ARGS="--crash-log {ENGINE}"',
}


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry for real images; asked for before `make_stack`, so that no container uses them any more."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs a real registry: apt-get install docker-registry")
    registry = Registry(tmp_path_factory.mktemp("pushed"))
    yield registry
    registry.stop()
    registry.forget()


@pytest.fixture(scope="module")
def digests(pushed: Registry, build_fake_engine: Callable[[str], str]) -> dict[str, str]:
    """An engine of each commit, with what it does otherwise."""
    base = build_fake_engine(OLD)
    return {commit: push_engine(pushed, base, commit, change) for commit, change in CHANGES.items()}


def push_engine(registry: Registry, base: str, commit: str, change: str) -> str:
    registry.start()
    name = f"{registry.host}/team/engine:{commit}"
    label = f"LABEL {LABEL}={commit} test.registry={registry.port}"
    text = f"FROM {base}\nUSER root\n{change}\nUSER 2000:0\n{label}\n"
    argv = ["docker", "buildx", "build", "--load", "--tag", name, "-"]
    subprocess.run(argv, input=text, text=True, check=True, capture_output=True)
    found = re.search(r"digest: (sha256:[0-9a-f]{64})", run_docker("push", name))
    assert found is not None
    run_docker("rmi", name)
    registry.pushed.append(f"{registry.host}/team/engine@{found[1]}")
    registry.forget()
    return found[1]


@pytest.fixture(scope="module")
def one(pushed: Registry, digests: dict[str, str], make_stack: Callable[..., Stack]) -> Stack:
    """A stack that serves the old engine, as `stack pin` and `stack up` made it."""
    # In another number format than that of the demo model's known likelihoods, which the fake engine has not.
    stack = make_stack("upgrade", render_config(None, '[engine.args]\ndtype = "float32"'))
    with (stack.folder / "stack.toml").open("a") as config:
        config.write(f'\n[images]\nretries = 0\n[images.sources]\nown = "{pushed.host}/team/engine:{{commit}}"\n')
    stack.run("pin", OLD, "--accept", "claimed").demand()
    stack.run("up").demand()
    return stack


def upgrade(stack: Stack, commit: str, *more: str, code: int = 0) -> dict[str, Any]:
    return stack.run("upgrade", commit, "--accept", "claimed", "--yes", "--json", *more).demand(code).json()


def read_lock(stack: Stack) -> str:
    return (stack.folder / "stack.lock").read_text()


def read_commit(stack: Stack) -> str:
    return run_docker(
        "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', stack.containers()["engine"]["Id"]
    ).strip()


def demand_old(stack: Stack, lock: str) -> None:
    """The old engine answers, is what stack.lock has, and nothing is left to do."""
    assert read_commit(stack) == OLD and read_lock(stack) == lock
    assert stack.run("chat", "What is the capital of Japan?").demand().out.strip().endswith("Tokyo.")
    assert not (stack.state / "upgrade").exists()


@pytest.mark.fault(
    "a new engine answers wrongly",
    "`stack upgrade` brings the old one back by itself, and ends with 1",
)
def test_an_engine_that_fails_smoke_goes_and_the_old_one_answers_again(one: Stack) -> None:
    lock = read_lock(one)
    done = one.run("upgrade", WRONG, "--accept", "claimed", "--yes").demand(1)
    first = done.out.splitlines()[0]
    assert first.startswith(
        "the upgrade to vLLM 0.31.0 (commit cccccccc0123) failed, and vLLM 0.31.0 (commit aaaaaaaa0123)"
    )
    assert "is back: smoke fails on it (" in first
    steps = re.findall(r"^step \d of 6: (\w+)", done.err, re.MULTILINE)
    assert steps == ["find", "have", "measure", "stop", "test", "bring"]
    assert "the service will be away for about" in done.err
    demand_old(one, lock)

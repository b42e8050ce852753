"""A registry that misbehaves must be waited for, asked again or named; what it gave wrongly must never be used."""

from __future__ import annotations

import contextlib
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_pin import build_project
from tests.fixtures.faulty_front import TOKEN, Fault, Front, serve_front
from tests.fixtures.local_registry import LocalRegistry, serve_registry
from tests.scenarios.harness import Stack

pytestmark = pytest.mark.docker
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LABEL = "org.opencontainers.image.revision"
LAYER = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def fronts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Front]]:
    """A function: a front before a real registry that has one image of a commit."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs a real registry: apt-get install docker-registry")
    with contextlib.ExitStack() as stack:
        registry = stack.enter_context(serve_registry(tmp_path_factory.mktemp("registry")))
        push(registry)
        yield lambda **more: stack.enter_context(serve_front(registry.host, **more))


def push(registry: LocalRegistry) -> None:
    child, _ = registry.push_image("a/vllm", "child", labels={LABEL: COMMIT}, layer=LAYER)
    registry.push_index("a/vllm", COMMIT, child)


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Stack]:
    """A function: a front gives a project with an empty archive, looking nowhere else."""
    stack = build_project(tmp_path, "faulty")

    def make(front: Front, more: str = "") -> Stack:
        sources = dict.fromkeys(("nightly", "release-repository", "release", "ci", "wheel"), "")
        sources["own"] = f"{front.host}/a/vllm:{{commit}}"
        rows = "\n".join(f'{name} = "{reference}"' for name, reference in sources.items())
        images = f'[images]\nretries = 2\narchive-dir = "{tmp_path}/images"\n{more}'
        stack.write_config(f'[engine]\ndevice = "cpu"\n{images}\n[images.sources]\n{rows}\n')
        return stack

    return make


def pin(stack: Stack, *more: str, code: int = 0) -> Any:
    return stack.run("pin", COMMIT, "--accept", "claimed", "--device", "cpu", *more).demand(code)


def is_locked(stack: Stack) -> bool:
    return (stack.folder / "stack.lock").exists()


def test_a_token_is_fetched_where_the_registry_asks_for_one_and_is_shown_nowhere(
    fronts: Callable[..., Front], project: Callable[..., Stack]
) -> None:
    front = fronts(wants_token=True)
    done = pin(project(front), "--archive")
    tokens = [line for line in front.requests if line.startswith("GET /token?")]
    assert tokens and all("scope=repository%3Aa%2Fvllm%3Apull" in line for line in tokens)
    assert TOKEN not in done.out + done.err


@pytest.mark.fault(
    "A registry answers `429 Too Many Requests`, or fails for a moment",
    "It is asked again after the pause that it names, and the pin or pull goes on",
)
@pytest.mark.parametrize(
    "fault",
    [Fault("/manifests/", status=429, retry_after_seconds=1), Fault("/blobs/", status=503, times=2)],
    ids=["429", "503"],
)
def test_a_registry_that_is_busy_or_fails_for_a_moment_is_asked_again(
    fronts: Callable[..., Front], project: Callable[..., Stack], fault: Fault
) -> None:
    front = fronts()
    front.faults.append(fault)
    stack = project(front)
    pin(stack)
    assert fault.times == 0 and is_locked(stack)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "HTTP 401"),
        (404, "it has no such tag"),
        (429, "HTTP 429"),
        (503, "HTTP 503"),
    ],
)
def test_a_registry_that_keeps_refusing_is_told_with_its_answer(
    fronts: Callable[..., Front], project: Callable[..., Stack], status: int, said: str
) -> None:
    front = fronts()
    front.faults.append(Fault("/manifests/", status=status, retry_after_seconds=0, times=99))
    stack = project(front)
    done = pin(stack, code=9)
    assert f"({front.host}/a/vllm:{COMMIT})" in done.err and said in done.err and "hint:" in done.err
    assert not is_locked(stack)


@pytest.mark.fault(
    "A connection breaks in the middle of a layer",
    "What came is kept: the archive asks for the rest, and hashes the whole",
)
def test_a_blob_that_is_cut_goes_on_where_it_broke_off(
    fronts: Callable[..., Front], project: Callable[..., Stack]
) -> None:
    front = fronts()
    stack = project(front)
    pin(stack)
    front.faults.append(Fault("/blobs/", cut=0.5, times=3))
    front.requests.clear()
    stack.run("pin", "--archive").demand()
    ranges = [line for line in front.requests if " bytes=" in line]
    assert any(re.search(rf"bytes={len(LAYER) // 2}-$", line) for line in ranges), front.requests
    stack.run("pin", "--verify").demand()


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        ("/manifests/", -100, "the registry's manifest is not JSON"),
        ("/blobs/", -100, "serves other bytes for"),
        ("/manifests/", 100, None),
        ("/blobs/", 100, None),
    ],
)
def test_an_answer_that_ends_too_early_is_asked_for_again_and_one_that_is_short_by_its_own_word_is_refused(
    fronts: Callable[..., Front], project: Callable[..., Stack], path: str, change: int, said: str | None
) -> None:
    front = fronts()
    stack = project(front)
    front.faults.append(Fault(path, length_change=change))
    done = pin(stack, "--archive", code=9 if said else 0)
    if said:
        assert said in done.err and front.host in done.err and not is_locked(stack)
        pin(stack, "--archive")
    stack.run("pin", "--verify").demand()


def test_a_registry_that_never_gives_the_end_of_a_blob_is_told_and_what_came_is_kept(
    fronts: Callable[..., Front], project: Callable[..., Stack]
) -> None:
    front = fronts()
    stack = project(front)
    pin(stack)
    front.faults.append(Fault("/blobs/", length_change=-100, times=999))
    done = stack.run("pin", "--archive").demand(9)
    assert f"{front.host} gives no more of sha256:" in done.err
    front.faults.clear()
    front.requests.clear()
    stack.run("pin", "--archive").demand()
    assert any(f"bytes={len(LAYER) - 100}-" in line for line in front.requests)
    stack.run("pin", "--verify").demand()


def test_a_mirror_is_asked_in_upstreams_place_and_upstreams_name_is_locked(
    fronts: Callable[..., Front], project: Callable[..., Stack]
) -> None:
    front = fronts()
    stack = project(front)
    stack.write_config(
        f'[images]\nretries = 0\nmirror = {{ "docker.io" = "{front.host}/a", "public.ecr.aws" = "{front.host}" }}\n'
    )
    missing = pin(stack, code=9)
    assert f"docker.io/vllm/vllm-openai-cpu:nightly-{COMMIT}" in missing.err and "it has no such tag" in missing.err
    stack.write_config(
        f'[images]\nretries = 0\nmirror = {{ "docker.io" = "{front.host}" }}\n'
        f'[images.sources]\nnightly = "docker.io/a/vllm:{{commit}}"\n'
    )
    front.requests.clear()
    pin(stack)
    locked = tomllib.loads((stack.folder / "stack.lock").read_text())["images"]["engine/cpu"]
    assert (locked["reference"], locked["recorded_from"]) == (f"docker.io/a/vllm:{COMMIT}", "registry")
    assert front.requests and len(front.requests) <= 3

"""What `stack pin` writes must be the image that was asked for, judged before any pull, or nothing is written.

Of the daemon it asks what is there; no container is started.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.image_registry import HTPASSWD
from tests.fixtures.local_registry import LocalRegistry, serve_registry
from tests.scenarios.harness import PATIENCE_SECONDS, Stack

pytestmark = pytest.mark.docker
COMMIT, OTHER = "0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef"
NUMBERS = itertools.count(1)
LABEL = "org.opencontainers.image.revision"
OLD = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=12)).isoformat()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., LocalRegistry]]:
    if shutil.which("docker-registry") is None:
        pytest.skip("needs a real registry: apt-get install docker-registry")
    with contextlib.ExitStack() as stack:
        yield lambda **more: stack.enter_context(serve_registry(tmp_path_factory.mktemp("registry"), **more))


@pytest.fixture(scope="module")
def registry(start: Callable[..., LocalRegistry]) -> LocalRegistry:
    """A registry that has what the tests of this module ask for and do not change."""
    return start()


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Stack]:
    """A function: sources give a project that looks nowhere else."""

    def make(more: str = "", **sources: str) -> Stack:
        out = dict.fromkeys(("nightly", "release-repository", "release", "ci"), "") | sources
        rows = "\n".join(f'{name} = "{reference}"' for name, reference in out.items())
        stack = build_project(tmp_path, f"pin-{next(NUMBERS)}")
        stack.write_config(f'[engine]\ndevice = "cpu"\n[images]\nretries = 0\n{more}\n[images.sources]\n{rows}\n')
        return stack

    return make


def build_project(folder: Path, name: str) -> Stack:
    """Give a project of which no container is ever made."""
    (folder / name / "home").mkdir(parents=True)
    return Stack(f"{name}-{os.getpid()}", folder / name, folder / name / "data")


def read_lock(stack: Stack) -> dict[str, Any]:
    return tomllib.loads((stack.folder / "stack.lock").read_text())


def test_a_commit_is_pinned_with_three_requests_and_shown(
    registry: LocalRegistry, project: Callable[..., Stack]
) -> None:
    child, _ = registry.push_image("a/vllm", "child", labels={LABEL: COMMIT}, layer=b"x" * 2048, created=OLD)
    index = registry.push_index("a/vllm", f"n-{COMMIT}", child)
    stack = project(nightly=f"{registry.host}/a/vllm:n-{{commit}}")
    before = len(registry.requests())
    refused = stack.run("pin", COMMIT).demand(9)
    assert "not verified" in refused.err and "--accept claimed" in refused.err
    assert not (stack.folder / "stack.lock").exists()
    asked = registry.requests()[before:]
    assert len(asked) == 3 and not any(request.startswith("HEAD") for request in asked)

    found = stack.run("pin", COMMIT, "--accept", "claimed", "--json").demand().json()
    assert (found["commit"], found["commit_level"], found["digest"]) == (COMMIT, "claimed", index)
    assert found["size_bytes"] == 2048 and "its tag is deleted about" in found["expiry"]
    assert [step["source"] for step in found["steps"]] == ["local", "nightly"]
    assert {item["what"]: item["verdict"] for item in found["verdict"]} == {"platform": "fits", "disk": "fits"}
    engine, entry = read_lock(stack)["engine"], read_lock(stack)["images"]["engine/cpu"]
    assert (engine["commit"], engine["accepted"], engine["pinned"]) == (COMMIT, "claimed", COMMIT)
    assert (entry["reference"], entry["digest"]) == (f"{registry.host}/a/vllm:n-{COMMIT}", index)
    written = (stack.folder / "stack.lock").read_text()
    assert "says so already" in stack.run("pin", COMMIT, "--accept", "claimed").demand().out
    assert (stack.folder / "stack.lock").read_text() == written
    shown = stack.run("pin", "--show").demand().out
    assert COMMIT in shown and index in shown


def test_each_place_that_has_nothing_is_told_and_the_next_is_asked(
    registry: LocalRegistry, project: Callable[..., Stack]
) -> None:
    digest, _ = registry.push_image("b/release", COMMIT, labels={LABEL: COMMIT})
    sources = {"nightly": f"{registry.host}/b/none:{{commit}}", "ci": f"{registry.host}/b/release:{{commit}}"}
    stack = project(**sources)
    done = stack.run("pin", COMMIT, "--accept", "claimed").demand()
    assert f"({registry.host}/b/none:{COMMIT}): it has no such tag" in done.err
    assert f"({registry.host}/b/release:{COMMIT}): {digest}" in done.err
    assert "warning: the image that upstream's CI tests after a merge: it is made for tests" in done.err
    missing = stack.run("pin", OTHER, "--accept", "claimed").demand(9)
    assert f"no image of `{OTHER}` was found for cpu" in missing.err
    assert missing.err.count("it has no such tag") == 4 and "images.sources" in missing.err


def test_a_release_and_a_digest_are_pinned(registry: LocalRegistry, project: Callable[..., Stack]) -> None:
    digest, _ = registry.push_image("c/vllm", "v9.9.9", labels={LABEL: COMMIT})
    wrong, _ = registry.push_image(
        "c/vllm", "v9.9.8", labels={LABEL: OTHER, "org.opencontainers.image.version": "vllm/vllm-openai:v1.0.0"}
    )
    stack = project(release=f"{registry.host}/c/vllm:v{{version}}")
    found = stack.run("pin", "9.9.9", "--json").demand().json()
    assert (found["commit"], found["digest"], found["version"]) == (COMMIT, digest, "9.9.9")
    refused = stack.run("pin", "v9.9.8").demand(9)
    assert "release 9.9.8 was asked for, but the image" in refused.err and "1.0.0" in refused.err
    assert read_lock(stack)["images"]["engine/cpu"]["digest"] == digest
    by_digest = stack.run("pin", wrong, "--json").demand().json()
    assert (by_digest["digest"], by_digest["commit"]) == (wrong, OTHER)
    named = stack.run("pin", f"{registry.host}/c/vllm:v9.9.9@{digest}", "--json").demand().json()
    assert named["reference"] == f"{registry.host}/c/vllm:v9.9.9"
    missing = stack.run("pin", "sha256:" + "0" * 64).demand(9)
    assert f"{registry.host}/c/vllm@sha256:{'0' * 64}): it is not there" in missing.err


def test_a_wrong_label_stops_and_leaves_the_lock_alone(registry: LocalRegistry, project: Callable[..., Stack]) -> None:
    registry.push_image("d/vllm", COMMIT, labels={LABEL: COMMIT})
    registry.push_image("d/vllm", OTHER, labels={LABEL: COMMIT})
    stack = project(own=f"{registry.host}/d/vllm:{{commit}}")
    stack.run("pin", COMMIT, "--accept", "claimed").demand()
    written = (stack.folder / "stack.lock").read_text()
    refused = stack.run("pin", OTHER, "--accept", "claimed").demand(9)
    assert f"commit {OTHER} was asked for, but the image is commit {COMMIT}" in refused.err
    assert (stack.folder / "stack.lock").read_text() == written


def test_a_tag_that_moved_or_went_is_told_by_the_check(registry: LocalRegistry, project: Callable[..., Stack]) -> None:
    digest, _ = registry.push_image("e/vllm", COMMIT, labels={LABEL: COMMIT}, created=OLD)
    stack = project(nightly=f"{registry.host}/e/vllm:{{commit}}")
    assert "holds no engine" in stack.run("pin", "--check").demand(9).err
    stack.run("pin", COMMIT, "--accept", "claimed").demand()

    def check(code: int) -> dict[str, tuple[str, str]]:
        report = stack.run("pin", "--check", "--json").demand(code).json()
        return {item["check"]: (item["status"], item["message"]) for item in report["checks"]}

    found = check(0)
    assert [found[f"{name}-cpu"][0] for name in ("here", "reachable", "tag", "expiry")] == [
        "skip", "pass", "pass", "warn"
    ]  # fmt: skip
    moved, _ = registry.push_image("e/vllm", COMMIT, labels={LABEL: OTHER})
    assert check(0)["tag-cpu"] == ("warn", f"the tag {COMMIT} was moved to {moved}")
    registry.delete("e/vllm", moved)
    assert check(0)["tag-cpu"][0] == "warn" and "is gone" in check(0)["tag-cpu"][1]
    registry.delete("e/vllm", digest)
    found = check(1)
    assert found["reachable-cpu"] == ("fail", f"{registry.host} does not have {digest} any more")


def test_a_registry_that_refuses_or_is_gone_is_told(
    start: Callable[..., LocalRegistry], registry: LocalRegistry, project: Callable[..., Stack], tmp_path: Path
) -> None:
    registry.push_image("f/vllm", COMMIT, labels={LABEL: COMMIT})
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    closed = start(auth={"htpasswd": {"realm": "test", "path": str(tmp_path / "htpasswd")}})
    dead = {f"dead{number}": f"127.0.0.1:1/x{number}:{{commit}}" for number in (1, 2)}
    stack = project(private=f"{closed.host}/x:{{commit}}", **dead, last=f"{registry.host}/f/vllm:{{commit}}")
    done = stack.run("pin", COMMIT, "--accept", "claimed", "--json").demand().json()
    said = {step["source"]: (step["outcome"], step["said"]) for step in done["steps"]}
    assert said["private"][0] == "failed" and "HTTP 401" in said["private"][1]
    assert said["dead1"] == ("failed", "127.0.0.1:1 is not reachable: connection refused")
    assert said["dead2"] == ("skipped", "not asked: 127.0.0.1:1 does not answer")
    assert said["last"][0] == "found"


def test_an_image_for_another_platform_is_refused_before_any_pull(
    registry: LocalRegistry, project: Callable[..., Stack]
) -> None:
    registry.push_image("g/vllm", COMMIT, labels={LABEL: COMMIT}, architecture="s390x")
    stack = project(own=f"{registry.host}/g/vllm:{{commit}}")
    refused = stack.run("pin", COMMIT, "--accept", "claimed").demand(3)
    assert "platform: the image is for linux/s390x, this machine is" in refused.err and "--anyway" in refused.err
    assert not (stack.folder / "stack.lock").exists()
    stack.run("pin", COMMIT, "--accept", "claimed", "--anyway").demand()
    assert read_lock(stack)["engine"]["commit"] == COMMIT
    # `up` judges for itself, before it fetches anything.
    stopped = stack.run("up", "--no-smoke").demand(3)
    assert "platform: the image is for linux/s390x" in stopped.err and "`stack up --anyway`" in stopped.err
    assert stack.containers() == {} and "model" not in read_lock(stack)
    planned = stack.run("up", "--dry-run", "--anyway").demand()
    assert "platform: the image is for linux/s390x" in planned.err and "image engine: pull" in planned.out


def test_an_abbreviated_commit_needs_a_clone(
    registry: LocalRegistry, project: Callable[..., Stack], tmp_path: Path
) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=me", "-c", "user.email=me@example.com"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"], ["tag", "v9.1.0"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    registry.push_image("h/vllm", "v9.1.0", labels={LABEL: commit})
    stack = project(release=f"{registry.host}/h/vllm:v{{version}}")
    refused = stack.run("pin", commit[:9], "--accept", "claimed").demand(9)
    assert "abbreviated" in refused.err and "--repo" in refused.err
    done = stack.run("pin", commit[:9], "--repo", str(tmp_path), "--accept", "claimed", "--json").demand().json()
    assert (done["commit"], done["source"]) == (commit, "release")
    unknown = stack.run("pin", "fffffff", "--repo", str(tmp_path)).demand(9)
    assert "does not know `fffffff`" in unknown.err


def test_what_the_configuration_asks_for_is_not_pinned_away(project: Callable[..., Stack]) -> None:
    stack = project()
    (stack.folder / "stack.toml").write_text(f'[engine]\ncommit = "{OTHER}"\n')
    refused = stack.run("pin", COMMIT, "--device", "cpu").demand(2)
    assert f"engine.commit: asks for {OTHER}" in refused.err


def test_two_pins_at_once_leave_one_whole_lock(registry: LocalRegistry, project: Callable[..., Stack]) -> None:
    digests = {commit: registry.push_image("i/vllm", commit, labels={LABEL: commit})[0] for commit in (COMMIT, OTHER)}
    stack = project(own=f"{registry.host}/i/vllm:{{commit}}")
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "stack", "pin", commit, "--accept", "claimed", "--json"],
            cwd=stack.folder, env=stack.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for commit in digests
    ]  # fmt: skip
    outs = [run.communicate(timeout=PATIENCE_SECONDS) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outs
    assert {json.loads(out)["commit"] for out, _ in outs} == set(digests)
    lock = read_lock(stack)
    assert lock["images"]["engine/cpu"]["digest"] == digests[lock["engine"]["commit"]]


@pytest.mark.fault(
    "Two `stack pin` run at once for two devices of one project",
    "One writes after the other has: the lock holds both, whole",
)
def test_two_pins_at_once_for_two_devices_lose_nothing_of_each_other(
    registry: LocalRegistry, project: Callable[..., Stack]
) -> None:
    digests = {device: registry.push_image("j/vllm", f"{device}-{COMMIT}", labels={LABEL: COMMIT})[0]
               for device in ("cpu", "cuda")}  # fmt: skip
    stack = project(own=f"{registry.host}/j/vllm:{{device}}-{{commit}}")
    # One may be first by chance; in three rounds a lost update would show.
    for _ in range(3):
        (stack.folder / "stack.lock").unlink(missing_ok=True)
        words = ["-m", "stack", "pin", COMMIT, "--accept", "claimed", "--anyway", "--device"]
        runs = [
            subprocess.Popen(
                [sys.executable, *words, device],
                cwd=stack.folder, env=stack.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            for device in digests
        ]  # fmt: skip
        outs = [run.communicate(timeout=PATIENCE_SECONDS)[0] for run in runs]
        assert [run.returncode for run in runs] == [0, 0], outs
        images = read_lock(stack)["images"]
        assert {device: images[f"engine/{device}"]["digest"] for device in digests} == digests


def test_a_tag_that_was_deleted_and_not_archived_is_told_by_up_with_what_to_do(
    registry: LocalRegistry, project: Callable[..., Stack]
) -> None:
    digest, _ = registry.push_image("k/vllm", COMMIT, labels={LABEL: COMMIT})
    stack = project(own=f"{registry.host}/k/vllm:{{commit}}")
    stack.run("pin", COMMIT, "--accept", "claimed").demand()
    written = (stack.folder / "stack.lock").read_text()
    registry.delete("k/vllm", digest)
    gone = stack.run("up", "--no-smoke").demand(9)
    assert f"{registry.host} has no" in gone.err and digest in gone.err and "hint:" in gone.err
    assert stack.containers() == {} and (stack.folder / "stack.lock").read_text() == written

"""An image that was archived must run again when tag, registry and image are gone, and must be the same image."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tests.fixtures.image_registry import Registry
from tests.scenarios.harness import Stack, run_docker, services_of
from tests.scenarios.projects import render_config

COMMIT, OTHER = "0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef"
LABEL = "org.opencontainers.image.revision"
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def digests(pushed: Registry, build_fake_engine: Callable[[str], str]) -> dict[str, str]:
    """Two engines of two commits, which share all layers but the last."""
    base = build_fake_engine(COMMIT)
    # The working directory makes a layer of its own.
    return {
        commit: pushed.push(base, f"team/engine:n-{commit}", commit=commit, change=f"WORKDIR /of/{commit}\nWORKDIR /")
        for commit in (COMMIT, OTHER)
    }


@pytest.fixture
def make_project(pushed: Registry, make_stack: Callable[..., Stack], tmp_path: Path) -> Callable[..., Stack]:
    """A function: a project with an archive of its own, whose nightlies are those of our registry."""

    def make(images: str = "") -> Stack:
        stack = make_stack(f"archive-{next(NUMBERS)}", render_config(None))
        with (stack.folder / "stack.toml").open("a") as config:
            config.write(f'\n[images]\nretries = 0\narchive-dir = "{tmp_path}/images"\n{images}\n')
            config.write(f'[images.sources]\nnightly = "{pushed.host}/team/engine:n-{{commit}}"\n')
        return stack

    return make


def lose(pushed: Registry, digest: str) -> None:
    """Delete an image from the registry, and from this machine."""
    with httpx2.Client(trust_env=False) as http:
        http.delete(f"http://{pushed.host}/v2/team/engine/manifests/{digest}").raise_for_status()
    remove_image(pushed, digest)


def remove_image(pushed: Registry, digest: str) -> None:
    names = run_docker("images", "--format", "{{.ID}} {{.Repository}}", "--no-trunc").splitlines()
    ids = {line.split()[0] for line in names if line.endswith(f"{pushed.host}/team/engine")}
    for name in (f"{pushed.host}/team/engine@{digest}", *ids):
        subprocess.run(["docker", "rmi", "--force", name], capture_output=True)


def read_lock(stack: Stack) -> str:
    return (stack.folder / "stack.lock").read_text()


def check(stack: Stack, code: int = 0) -> dict[str, tuple[str, str]]:
    report = stack.run("pin", "--check", "--json").demand(code).json()
    return {item["check"].removesuffix("-cpu"): (item["status"], item["message"]) for item in report["checks"]}


def list_blobs(folder: Path) -> set[str]:
    return {path.name for path in (folder / "blobs" / "sha256").iterdir()}


def test_a_second_commit_shares_layers_and_what_no_lock_uses_is_dropped(
    pushed: Registry, digests: dict[str, str], make_project: Callable[..., Stack], tmp_path: Path
) -> None:
    stack, folder = make_project(), tmp_path / "images"
    stack.run("pin", COMMIT, "--accept", "claimed", "--archive").demand()
    before = list_blobs(folder)
    done = stack.run("pin", OTHER, "--accept", "claimed", "--archive", "--json").demand().json()
    assert (done["commit"], done["images"][0]["commit"]) == (OTHER, OTHER)
    shared = {name for name in before if (folder / "blobs" / "sha256" / name).stat().st_size > 1_000_000}
    added = list_blobs(folder) - before
    assert shared and sum((folder / "blobs" / "sha256" / name).stat().st_size for name in added) < 100_000
    assert f"whole  {pushed.host}/team/engine:n-{OTHER}" in stack.run("pin", "--verify").demand().out

    listed = stack.run("pin", "--prune", "--dry-run").demand().out
    assert f"drop  {pushed.host}/team/engine:n-{COMMIT}" in listed and "no lock uses it" in listed
    assert f"keep  {pushed.host}/team/engine:n-{OTHER}" in listed and str(stack.folder / "stack.lock") in listed
    assert list_blobs(folder) == before | added
    freed = stack.run("pin", "--prune", "--json").demand().json()
    assert 0 < freed["freed_bytes"] < 100_000
    assert {item["digest"]: item["kept"] for item in freed["images"]} == {digests[COMMIT]: False, digests[OTHER]: True}
    assert shared <= list_blobs(folder)
    stack.run("pin", "--verify").demand()


def test_a_damaged_blob_is_named_and_mended(
    digests: dict[str, str], make_project: Callable[..., Stack], tmp_path: Path
) -> None:
    stack = make_project()
    stack.run("pin", OTHER, "--accept", "claimed", "--archive").demand()
    blob = max((tmp_path / "images" / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    with blob.open("r+b") as file:
        file.seek(1000)
        file.write(b"flipped")
    found = stack.run("pin", "--verify").demand(9)
    assert f"{blob} (a part of " in found.err and "stack pin --archive --verify" in found.err
    stack.run("pin", "--archive", "--verify").demand()
    stack.run("pin", "--verify").demand()


@pytest.mark.fault(
    "Upstream deletes a pinned image, and it is removed from this machine too",
    "`up` loads it from the archive, verified blob by blob, and it is the same image under the same lock",
)
def test_what_was_archived_runs_again_when_tag_and_image_are_gone(
    pushed: Registry, digests: dict[str, str], make_project: Callable[..., Stack], tmp_path: Path
) -> None:
    stack, digest = make_project(), digests[COMMIT]
    stack.run("pin", COMMIT, "--accept", "claimed").demand()
    assert check(stack)["archive"][0] == "warn"
    # A nightly is archived without being asked, on the way to the daemon: one download fills both.
    up = stack.run("up", "--no-smoke").demand()
    assert "by way of the archive, because it is not here by its digest, and upstream keeps the newest 14" in up.err
    first, locked = stack.containers()["engine"]["Image"], read_lock(stack)
    assert check(stack)["archive"][0] == "pass"
    assert "it was there already" in stack.run("pin", "--archive").demand().out

    stack.run("down").demand()
    lose(pushed, digest)
    found = check(stack)
    assert found["here"][0] == "skip" and found["archive"][0] == "pass"
    assert found["reachable"] == ("warn", f"{pushed.host} does not have {digest} any more; the archive has it")
    said = f"load {pushed.host}/team/engine@{digest} from the archive, because it is not here by its digest, and "
    assert f"{said}{pushed.host} does not serve it any more" in stack.run("up", "--dry-run").demand().out
    stack.run("up", "--no-smoke", "--images", "registry").demand()
    assert stack.containers()["engine"]["Image"] == first and read_lock(stack) == locked
    assert services_of(stack.status())["engine"]["digest"] == digest
    assert "nothing to do" in stack.run("up", "--no-smoke").demand().err
    # A pin finds it there too, with nobody to ask.
    pushed.stop()
    steps = stack.run("pin", COMMIT, "--accept", "claimed", "--json").demand().json()["steps"]
    assert [(step["source"], step["outcome"]) for step in steps] == [("local", "found")]
    assert read_lock(stack) == locked
    pushed.start()

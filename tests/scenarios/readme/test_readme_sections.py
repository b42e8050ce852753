"""What the README's sections on pinning and on working without a network show must happen, command by command.

The commands are pasted into a shell as they stand, in the order in which they stand, with the fake engine and a
registry on loopback. `BEFORE` names what happened on that machine before a command, where the README tells a story
that its commands alone do not make; everything else runs as it is. `tests/readme_examples.py` has the placeholders.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from stack.config.load import load_config
from tests.fixtures.image_registry import Registry
from tests.readme_examples import Example, find_difference, read_examples
from tests.scenarios.harness import ROOT, Stack, run_docker
from tests.scenarios.pin.test_archive import COMMIT, remove_image
from tests.scenarios.projects import render_config

README = (ROOT / "README.md").read_text(encoding="utf-8")
PIN, UNPINNED, OFFLINE = "Pin any commit", "Without a pin", "Without a network"
# Everything that upstream has, asked for at our registry.
OURS = '[images]\nretries = 0\narchive-dir = "{archive}"\n[images.sources]\n{sources}\n'


@dataclass
class Walk:
    """One reader on one machine, who follows one section."""

    registry: Registry
    make_stack: Callable[..., Stack]
    base: str
    folder: Path
    stack: Stack = field(init=False)
    digest: str = field(init=False)

    def begin(self, name: str, sources: str, *, more: str = "", data: Path | None = None) -> None:
        """Begin in an empty directory, on this machine or, with a shared volume of its own, on another one."""
        self.stack = self.make_stack(f"readme-{name}", render_config(None), data=data)
        with (self.stack.folder / "stack.toml").open("a") as config:
            config.write(OURS.format(archive=self.folder / "archive", sources=sources) + more)
        self.stack.environ["STACK_SMOKE_ENABLED"] = "false"
        tool = self.stack.folder / "bin" / "stack"
        tool.parent.mkdir()
        tool.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m stack "$@"\n')
        tool.chmod(0o755)

    def run(self, example: Example) -> None:
        """Run a command as the README has it, and hold what it prints against what the README says."""
        environment = self.stack.environment()
        environment["PATH"] = f"{self.stack.folder / 'bin'}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(
            ["bash", "-c", example.text], cwd=self.stack.folder, env=environment, text=True, timeout=600,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert (done.returncode != 0) == example.is_error, (
            f"`{example.text}` ended with {done.returncode}\n{done.stdout}"
        )
        if example.expected is not None:
            difference = find_difference(example.expected, done.stdout.splitlines())
            assert difference is None, f"`{example.text}`: {difference}"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """One for each section: some say what a registry answers that has nothing."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs a real registry: apt-get install docker-registry")
    registry = Registry(tmp_path / "registry")
    registry.folder.mkdir()
    yield registry
    registry.stop()
    registry.forget()


@pytest.fixture
def walk(
    registry: Registry, make_stack: Callable[..., Stack], build_fake_engine: Callable[[str], str], tmp_path: Path
) -> Iterator[Walk]:
    walk = Walk(registry, make_stack, build_fake_engine(COMMIT), tmp_path)
    yield walk
    # Before the registry goes, which takes its images along.
    walk.stack.run("down")


def begin_internal_registry(walk: Walk) -> None:
    walk.digest = walk.registry.push(walk.base, f"team/engine:n-{COMMIT}", commit=COMMIT)
    name = f"{walk.registry.host}/vllm:{COMMIT}"
    subprocess.run(
        ["docker", "buildx", "build", "--load", "--tag", name, "-"], text=True, check=True, capture_output=True,
        input=f"FROM {walk.base}\nLABEL org.opencontainers.image.version=0.32.0\n",
    )  # fmt: skip
    run_docker("push", name)
    run_docker("rmi", name)
    walk.begin("internal", f'internal = "{walk.registry.host}/vllm:{{commit}}"\nnightly = ""')


def lose_archived_nightly(walk: Walk) -> None:
    """A pinned nightly came up once; now upstream has deleted it, and it is removed from this machine."""
    walk.begin("nightly", f'nightly = "{walk.registry.host}/team/engine:n-{{commit}}"')
    walk.stack.run("pin", COMMIT, "--accept", "claimed", "--archive").demand()
    with httpx2.Client(trust_env=False) as http:
        url = f"http://{walk.registry.host}/v2/team/engine/manifests/{walk.digest}"
        http.delete(url).raise_for_status()
    remove_image(walk.registry, walk.digest)


def begin_without_the_commit(walk: Walk) -> None:
    """Upstream's registries answer, and have no image of the commit."""
    walk.registry.start()
    host = walk.registry.host
    mirror = f'[images.mirror]\n"docker.io" = "{host}/hub"\n"public.ecr.aws" = "{host}/ecr"\n'
    walk.begin("nowhere", "", more=mirror)


def move_to_another_machine(walk: Walk) -> None:
    """A pinned engine came up and was saved; on the other machine are `stack.toml` and `stack.lock`, and the file."""
    walk.digest = walk.registry.push(walk.base, f"team/engine:n-{COMMIT}", commit=COMMIT)
    sources = f'nightly = "{walk.registry.host}/team/engine:n-{{commit}}"'
    walk.begin("first", sources)
    first, file = walk.stack, walk.folder / "stack.tar"
    first.run("pin", COMMIT, "--accept", "claimed").demand()
    first.run("up").demand()
    first.run("bundle", "save", str(file), "--no-tool").demand()
    first.run("down").demand()
    remove_image(walk.registry, walk.digest)
    walk.registry.stop()
    shutil.rmtree(walk.folder / "archive")
    walk.begin("other", sources, data=make_open_folder(walk.folder / "other"))
    for name in ("stack.toml", "stack.lock"):
        shutil.copy(first.folder / name, walk.stack.folder)
    file.rename(walk.stack.folder / file.name)


def make_open_folder(path: Path) -> Path:
    """The engine runs as a user of its own, and must get there."""
    path.mkdir()
    for folder in (path, *path.parents):
        if folder == Path("/tmp"):
            break
        folder.chmod(folder.stat().st_mode | 0o755)
    return path


BEFORE = {
    PIN: {
        f"stack pin {COMMIT} --accept claimed": begin_internal_registry,
        "stack up": lose_archived_nightly,
    },
    UNPINNED: {f"stack up --device cpu --images registry --commit {COMMIT}": begin_without_the_commit},
    OFFLINE: {"stack up --offline": move_to_another_machine},
}


@pytest.mark.parametrize("heading", BEFORE)
def test_a_section_of_the_readme_does_what_it_shows(walk: Walk, heading: str, tmp_path: Path) -> None:
    before = dict(BEFORE[heading])
    for example in read_examples(README, heading):
        if example.kind == "toml":
            part = tmp_path / "part.toml"
            part.write_text(example.text)
            assert load_config(part, {"HOME": str(tmp_path)}, {}).warnings == ()
            continue
        before.pop(example.text, lambda walk: None)(walk)
        walk.run(example)
    assert not before, f"the README's section `{heading}` no longer shows {', '.join(before)}"

"""A commit that was pinned once must run for ever: from its archive when upstream deleted it, and from a bundle on a
machine that has neither images nor a network.

Runs on the fake engine; `STACK_TEST_CHAIN_ENGINE=IMAGE` takes another, which then boots three times.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tests.fixtures.image_registry import Registry
from tests.fixtures.way_out import WayOut
from tests.scenarios.harness import Stack, run_docker, services_of
from tests.scenarios.offline.test_offline import NOTHING
from tests.scenarios.projects import render_config
from tests.scenarios.registry.test_registry import COMMIT

pytestmark = [pytest.mark.root, pytest.mark.timeout(2400)]

PIN = ("pin", COMMIT, "--accept", "claimed")
# In another number format than that of the demo model's known likelihoods, which the fake engine has not.
FLOAT32 = '[engine.args]\ndtype = "float32"\n'
CONFIG = render_config(None, after=f'{FLOAT32}[images.sources]\nnightly = "HOST/team/engine:n-{{commit}}"\n')


@pytest.fixture(scope="module")
def digest(pushed: Registry, build_fake_engine: Callable[[str], str]) -> str:
    """An engine of one commit under its nightly tag."""
    image = os.environ.get("STACK_TEST_CHAIN_ENGINE") or build_fake_engine(COMMIT)
    return pushed.push(image, f"team/engine:n-{COMMIT}", commit=COMMIT)


def delete_everywhere(pushed: Registry, digest: str, image_id: str) -> None:
    """Take the image off the registry and off this machine."""
    with httpx2.Client(trust_env=False) as http:
        http.delete(f"http://{pushed.host}/v2/team/engine/manifests/{digest}").raise_for_status()
    pushed.stop()
    run_docker("image", "rm", "--force", image_id)
    assert subprocess.run(["docker", "image", "inspect", image_id], capture_output=True).returncode != 0


@pytest.fixture(scope="module")
def bundle(
    pushed: Registry, digest: str, make_stack: Callable[..., Stack], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What ran from the archive, after upstream had deleted it, as a bundle; nothing of it runs here any more."""
    stack = make_stack("chain", CONFIG.replace("HOST", pushed.host))
    stack.run(*PIN).demand()
    assert "smoke     passed: " in stack.run("up").demand().out
    first = stack.containers()["engine"]["Image"]
    stack.run("down").demand()

    delete_everywhere(pushed, digest, first)
    assert "smoke     passed: " in stack.run("up").demand().out
    assert stack.containers()["engine"]["Image"] == first
    file = tmp_path_factory.mktemp("carried") / "chain.tar"
    stack.run("bundle", "save", str(file), "--no-tool").demand()
    stack.run("down").demand()
    return file


def test_a_pinned_commit_runs_from_its_archive_and_then_elsewhere_from_a_bundle(
    bundle: Path, digest: str, make_there: Callable[..., Stack], way_out: WayOut
) -> None:
    there = make_there("chained", "")
    (there.folder / "stack.toml").unlink()
    # Whoever saved it says which commit that is; taken on their word, as the lock then says.
    there.run("bundle", "load", str(bundle), "--accept", "claimed").demand()
    assert "smoke     passed: " in there.run("up", "--offline").demand().out
    status = there.status()
    assert (status["engine"]["commit"], status["smoke"]["passed"]) == (COMMIT, True)
    assert services_of(status)["engine"]["digest"] == digest
    assert way_out.read() == NOTHING

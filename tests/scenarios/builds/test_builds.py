"""A commit that only has a wheel must be pinned, built and served, and a second build of one lock must be the same.

The wheel is the fake engine's. A real one is built, and served, by `stack upgrade` in tests/scenarios/first_up.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from stack.config.lock import load_lock
from stack.images.build import build_image
from stack.images.build_context import build_settings
from stack.images.build_record import RECORD_FILE, RECORD_LABEL, hash_record
from stack.images.build_seal import extract_record
from stack.images.recipe import build_base_recipe, build_engine_recipe
from stack.operations.images.locked_build import use_locked_build
from tests.fixtures.engine_builds import remove_images
from tests.fixtures.wheel_host import WheelHost, serve_wheel, write_fake_wheel, write_wheel
from tests.scenarios.harness import Stack, run_docker

pytestmark = pytest.mark.network

COMMIT, OTHER = "0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef"
VERSION = f"0.31.1.dev7+g{COMMIT[:9]}.cpu"
CONFIG = """
[model]
id = "demo"

[engine]
device = "cpu"

# In another number format than that of the demo model's known likelihoods, which the fake engine has not.
[engine.args]
dtype = "float32"

[services.prometheus]
enabled = false

[services.grafana]
enabled = false

[services.node-exporter]
enabled = false

[images.sources]
nightly = ""
release-repository = ""
release = ""
ci = ""
wheel = "{url}/{{commit}}/{{variant}}vllm/metadata.json"
"""


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel like no other, which the engine needs: what BuildKit remembers of a run does not count."""
    folder, info = tmp_path_factory.mktemp("links"), "stack_test_unlike-1.0+cpu.dist-info"
    files = {
        "stack_test_unlike.py": f"MADE = {os.urandom(8).hex()!r}\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: stack-test-unlike\nVersion: 1.0+cpu\nRequires-Dist: idna\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: stack\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    write_wheel(folder / "stack_test_unlike-1.0+cpu-py3-none-any.whl", files, info)
    return folder


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WheelHost]:
    """A host that has the fake engine's wheel under a commit that it is of, and under one that it is not of."""
    wheel = write_fake_wheel(tmp_path_factory.mktemp("wheels"), VERSION, "stack-test-unlike==1.0+cpu")
    with serve_wheel(wheel, COMMIT, OTHER) as host:
        yield host


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], host: WheelHost, links: Path) -> Iterator[Stack]:
    stack = make_stack("builds", CONFIG.format(url=host.url))
    stack.environ["PIP_FIND_LINKS"] = str(links)
    yield stack
    stack.run("down")
    remove_images(COMMIT)


def read_lock(stack: Stack) -> dict[str, Any]:
    return tomllib.loads((stack.folder / "stack.lock").read_text())


def test_a_wheel_is_pinned_as_a_claim_only_and_not_under_another_commit(stack: Stack, host: WheelHost) -> None:
    refused = stack.run("pin", COMMIT).demand(9)
    assert "`--accept claimed` takes it" in refused.err
    wrong = stack.run("pin", OTHER, "--accept", "claimed").demand(9)
    assert f"the wheel that is listed for commit {OTHER} is of commit {COMMIT[:9]}" in wrong.err
    missing = stack.run("pin", "f" * 40, "--accept", "claimed").demand(9)
    assert "has no cpu wheel of commit" in missing.err and "HTTP 404" in missing.err
    assert not (stack.folder / "stack.lock").exists()
    found = stack.run("pin", COMMIT, "--accept", "claimed", "--json").demand().json()
    assert (found["commit"], found["commit_level"], found["version"]) == (COMMIT, "claimed", VERSION)
    assert read_lock(stack)["images"]["engine/cpu"]["found_by"] == "wheel"


def test_up_builds_and_serves_it_and_writes_down_what_it_is(stack: Stack, host: WheelHost) -> None:
    up = stack.run("up").demand()
    assert f"commit {COMMIT} (claimed), version {VERSION}" in up.out and "smoke     passed" in up.out
    answer = stack.run("chat", "--max-tokens", "16", "What is the capital of Germany?").demand()
    assert "Berlin" in answer.out

    image = stack.containers()["engine"]["Image"]
    labels = json.loads(run_docker("image", "inspect", image))[0]["Config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == COMMIT
    content = (stack.state / "builds" / "engine.json").read_bytes()
    assert labels[RECORD_LABEL] == hash_record(content)
    assert run_docker("run", "--rm", "--entrypoint", "cat", image, RECORD_FILE).strip() == content.decode().strip()
    record = json.loads(content)
    assert record["wheel"] == {
        "file": host.wheel.name, "sha256": hashlib.sha256(host.wheel.read_bytes()).hexdigest()
    }  # fmt: skip
    assert record["inputs"]["commit"] == COMMIT and record["base"]["id"].startswith("sha256:")
    assert record["torch"] is None and record["cuda"] is None and "libc6" in record["debian_packages"]

    build = read_lock(stack)["builds"]["engine/cpu"]
    assert build["wheel"] == f"{host.url}/{host.wheel.name.replace('+', '%2B')}"
    assert set(build["packages"]) >= {"vllm", "idna", "stack-test-unlike"}
    assert all(len(item["sha256"]) == 64 for item in build["packages"].values())
    shown = stack.run("pin", "--show", "--json").demand().json()["engines"]["cpu"]["build"]
    assert shown["record"] == record
    # What was fetched for the build does not stay, and nobody is asked again.
    assert list((stack.state / "wheels").iterdir()) == []
    host.requests.clear()
    assert "nothing to do" in stack.run("up", "--no-smoke").demand().err
    assert host.requests == []


def test_a_second_build_of_the_lock_is_the_same(
    stack: Stack, host: WheelHost, links: Path, make_stack: Callable[..., Stack]
) -> None:
    first = (stack.state / "builds" / "engine.json").read_bytes()
    # On another machine nothing but configuration and lock are there.
    other = make_stack("builds-other", CONFIG.format(url=host.url))
    shutil.copy(stack.folder / "stack.lock", other.folder)
    lock = load_lock(other.folder / "stack.lock")
    base = build_base_recipe("bookworm", "http://deb.debian.org/debian")
    url = lock.builds["engine/cpu"].wheel
    recipe = use_locked_build(build_engine_recipe("cpu", base, version=VERSION, commit=COMMIT, wheel=url), lock, "cpu")
    assert recipe.tag == lock.images["engine/cpu"].reference and recipe.locked is not None
    settings = build_settings({**os.environ, "PIP_FIND_LINKS": str(links)})
    client = docker.from_env()
    try:
        second = build_image(
            client, recipe, replace(settings, wheel=host.wheel), lambda event: None, tag=recipe.locked_tag
        )
        assert json.loads(second) == json.loads(first) and second == first
        image = client.images.get(recipe.locked_tag)
        assert extract_record(client, str(image.id)) == second
    finally:
        client.close()
    # The same packages under either name are the image that the lock means; other packages are not.
    assert "build localhost" not in other.run("up", "--dry-run").demand().out
    text = (other.folder / "stack.lock").read_text().replace('idna = { version = "', 'idna = { version = "9')
    (other.folder / "stack.lock").write_text(text)
    planned = other.run("up", "--dry-run").demand().out
    assert "because the image of that recipe that is here has other packages than stack.lock" in planned

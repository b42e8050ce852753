"""What a registry served once must run again without it; what it serves otherwise must not run unnoticed."""

from __future__ import annotations

import base64
import json
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.image_registry import HTPASSWD, Registry, find_free_port
from tests.scenarios.engine import answers
from tests.scenarios.harness import Stack, services_of
from tests.scenarios.projects import render_config

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def make_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Registry]]:
    # Asked for before `make_stack`: what no container uses any more can be taken away.
    if shutil.which("docker-registry") is None:
        pytest.skip("needs a real registry: apt-get install docker-registry")
    made: list[Registry] = []

    def make(htpasswd: str | None = None) -> Registry:
        made.append(Registry(tmp_path_factory.mktemp("registry"), htpasswd))
        return made[-1]

    yield make
    for registry in made:
        registry.stop()
        registry.forget()


def read_locked(stack: Stack) -> dict[str, Any]:
    return tomllib.loads((stack.folder / "stack.lock").read_text())["images"]["engine/cpu"]


def test_a_named_image_is_pulled_by_its_digest_and_the_lock_holds_it(
    make_registry: Callable[..., Registry], make_stack: Callable[..., Stack], fake_engine: str
) -> None:
    registry = make_registry()
    name = f"{registry.host}/team/engine"
    first = registry.push(fake_engine, "team/engine:1")
    stack = make_stack("pinned", render_config(f"{name}:1"))
    stack.run("up", "--no-smoke").demand()
    engine = stack.containers()["engine"]
    assert engine["Config"]["Image"] == f"{name}@{first}"
    locked = read_locked(stack)
    assert (locked["reference"], locked["digest"], locked["source"]) == (f"{name}:1", first, "registry")
    assert services_of(stack.status())["engine"]["digest"] == first
    written = (stack.folder / "stack.lock").read_text()

    # Nobody is asked for what is here.
    registry.stop()
    again = stack.run("up", "--no-smoke").demand()
    assert "nothing to do" in again.err
    assert stack.containers()["engine"]["Id"] == engine["Id"]

    # A tag that moved is told, and what the lock has is pulled.
    stack.run("down").demand()
    second = registry.push(fake_engine, "team/engine:1")
    assert second != first
    moved = stack.run("up", "--no-smoke").demand()
    assert f"1 is {second} by now; the locked digest is pulled" in moved.err
    assert stack.containers()["engine"]["Config"]["Image"] == f"{name}@{first}"
    assert (stack.folder / "stack.lock").read_text() == written

    # Without the lock the digest in the configuration stands against the tag: nothing runs.
    stack.run("down").demand()
    registry.forget()
    (stack.folder / "stack.lock").unlink()
    stack.write_config(render_config(f"{name}:1@{first}"))
    stopped = stack.run("up", "--no-smoke").demand(9)
    assert first in stopped.err and second in stopped.err
    assert "the tag was moved" in stopped.err and "hint:" in stopped.err
    assert stack.containers() == {}

    # What the hint says works.
    stack.write_config(render_config(f"{name}:1@{second}"))
    stack.run("up", "--no-smoke").demand()
    assert read_locked(stack)["digest"] == second


def test_a_registry_that_is_down_ends_the_first_up_with_what_to_do(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack("down", render_config(f"127.0.0.1:{find_free_port()}/team/engine:1"))
    done = stack.run("up", "--no-smoke", timeout_seconds=60).demand(9)
    assert "connection refused" in done.err and "images.mirror" in done.err
    assert stack.containers() == {} and not (stack.folder / "stack.lock").exists()


def test_a_tag_that_was_never_there_is_told(
    make_registry: Callable[..., Registry], make_stack: Callable[..., Stack]
) -> None:
    registry = make_registry()
    registry.start()
    stack = make_stack("never", render_config(f"{registry.host}/team/engine:9"))
    done = stack.run("up", "--no-smoke").demand(9)
    assert f"{registry.host} has no" in done.err and "HTTP 404" in done.err


def test_a_registry_with_a_login_is_shown_the_one_of_docker(
    make_registry: Callable[..., Registry],
    make_stack: Callable[..., Stack],
    fake_engine: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = make_registry(HTPASSWD)
    login = {"auths": {registry.host: {"auth": base64.b64encode(b"me:secret").decode()}}}
    (tmp_path / "config.json").write_text(json.dumps(login))
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_CONFIG", str(tmp_path))
        digest = registry.push(fake_engine, "team/engine:1")
    stack = make_stack("login", render_config(f"{registry.host}/team/engine:1"))
    refused = stack.run("up", "--no-smoke").demand(9)
    assert "HTTP 401" in refused.err and f"docker login {registry.host}" in refused.err
    stack.environ["DOCKER_CONFIG"] = str(tmp_path)
    stack.run("up", "--no-smoke").demand()
    assert stack.containers()["engine"]["Config"]["Image"] == f"{registry.host}/team/engine@{digest}"


def test_an_image_that_cannot_be_had_does_not_hide_the_others(
    make_stack: Callable[..., Stack], fake_engine: str
) -> None:
    dead = f"127.0.0.1:{find_free_port()}"
    other = f'[services.node-exporter]\nimage = "{dead}/team/node-exporter:1"\n'
    stack = make_stack("partly", render_config(fake_engine, after=other, watchers=["node-exporter"]))
    done = stack.run("up", "--no-smoke").demand()
    assert f"`node-exporter` is left out: {dead} is not reachable: connection refused" in done.err
    assert list(stack.containers()) == ["engine"]
    assert answers(stack)
    assert "left out" in stack.run("status").demand().out


def test_a_pinned_commit_is_looked_for_where_upstream_has_it_and_a_mirrors_copy_is_a_claim(
    make_registry: Callable[..., Registry], make_stack: Callable[..., Stack], build_fake_engine: Callable[[str], str]
) -> None:
    registry = make_registry()
    # The first place has nothing; the second one has it.
    digest = registry.push(build_fake_engine(COMMIT), f"ecr/q9t5s3a7/vllm-cpu-release-repo:{COMMIT}-x86_64")
    mirrors = f"""
[images]
source = "registry"
[images.mirror]
"docker.io" = "{registry.host}/hub"
"public.ecr.aws" = "{registry.host}/ecr"
"""
    stack = make_stack("commit", render_config(None) + mirrors)
    refused = stack.run("up", "--no-smoke", "--commit", COMMIT).demand(9)
    assert "not verified" in refused.err and "--accept claimed" in refused.err
    assert stack.containers() == {}

    stack.run("up", "--no-smoke", "--commit", COMMIT, "--accept", "claimed").demand()
    engine = stack.containers()["engine"]
    assert engine["Config"]["Image"] == f"{registry.host}/ecr/q9t5s3a7/vllm-cpu-release-repo@{digest}"
    said = stack.status()["engine"]
    assert (said["commit"], said["commit_level"]) == (COMMIT, "claimed")
    locked = read_locked(stack)
    assert locked["reference"] == f"public.ecr.aws/q9t5s3a7/vllm-cpu-release-repo:{COMMIT}-x86_64"
    assert locked["digest"] == digest

    registry.stop()
    again = stack.run("up", "--no-smoke", "--commit", COMMIT, "--accept", "claimed").demand()
    assert "nothing to do" in again.err
    assert stack.containers()["engine"]["Id"] == engine["Id"]

    registry.start()
    other = "f" * 40
    unknown = stack.run("up", "--no-smoke", "--commit", other, "--accept", "claimed").demand(9)
    assert f"docker.io/vllm/vllm-openai-cpu:nightly-{other}: it has no such tag" in unknown.err
    assert f"public.ecr.aws/q9t5s3a7/vllm-cpu-release-repo:{other}-x86_64: it has no such tag" in unknown.err
    assert "engine.image" in unknown.err
    assert stack.containers()["engine"]["State"]["Running"]

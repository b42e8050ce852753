"""Weights, pulls and builds run side by side; whatever ends them, the same command goes on from there."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from stack.images.build import ensure_base_image
from stack.images.recipe import BaseRecipe, ImageRecipe, build_base_recipe, build_service_recipe
from stack.progress import ignore
from tests.fixtures.fake_hub import FakeHub, run_hub
from tests.fixtures.image_registry import Registry
from tests.scenarios.faults.ends import assert_up_goes_on, end_three_times
from tests.scenarios.harness import Running, Stack, start
from tests.scenarios.projects import SMALL, build_small_stack, render_config, render_small_config
from tests.unit.models.conftest import build_model_files


@dataclass
class SlowHub:
    """A hub that gives a model's weights only when the gate opens."""

    hub: FakeHub
    gate: threading.Event

    @property
    def model(self) -> str:
        return f'id = "acme/tiny"\nendpoint = "{self.hub.endpoint}"'

    def close_gate(self) -> None:
        self.gate.set()
        self.gate = threading.Event()
        self.hub.faults.clear()
        self.hub.hold("/storage/", self.gate)

    def open_gate(self) -> None:
        self.gate.set()
        self.hub.faults.clear()


@pytest.fixture
def slow_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowHub]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with contextmanager(run_hub)() as hub:
        hub.add_model("acme/tiny", build_model_files())
        yield SlowHub(hub, threading.Event())


@pytest.mark.fault(
    "Ctrl-C, SIGTERM or SIGKILL while the model is fetched",
    "what came stays on the shared volume, apart from whole models; the same command fetches the rest",
)
def test_up_ends_while_the_model_is_fetched(
    make_stack: Callable[..., Stack], fake_engine: str, slow_hub: SlowHub, tmp_path: Path
) -> None:
    stack = make_stack("fetches", render_config(fake_engine, model=slow_hub.model), data=tmp_path / "data")
    end_three_times(stack, lambda up: up.wait_said("\nmodel acme/tiny: "), slow_hub.close_gate)
    assert stack.containers() == {}
    assert list((stack.data / "stack" / "models").glob("hub/*/*/*")) == []
    slow_hub.open_gate()
    assert_up_goes_on(stack)
    stack.run("warm", "--verify").demand()


@pytest.mark.fault(
    "Ctrl-C, SIGTERM or SIGKILL while an image is pulled",
    "Docker keeps the layers that came; the same command pulls the rest",
)
def test_up_ends_while_an_image_is_pulled(pushed: Registry, make_stack: Callable[..., Stack], fake_engine: str) -> None:
    pushed.push(fake_engine, "acme/engine:1")
    stack = build_small_stack(make_stack, "pulls", render_small_config(f"{pushed.host}/acme/engine:1"))
    registry = pushed.process
    assert registry is not None

    def hold(up: Running) -> None:
        # Not from the beginning: it must tell the tag's digest first.
        up.wait_said("pull acme/engine: asking")
        registry.send_signal(signal.SIGSTOP)

    try:
        end_three_times(stack, hold, lambda: registry.send_signal(signal.SIGCONT))
    finally:
        registry.send_signal(signal.SIGCONT)
    assert stack.containers() == {}
    assert_up_goes_on(stack)
    stack.run("down").demand()
    pushed.forget()


SUITE = "oldstable"
# Nobody listens there: what can be built is built.
NO_REGISTRY = f"""
[images]
debian-suite = "{SUITE}"
mirror = {{ "docker.io" = "127.0.0.1:9/hub" }}
retries = 0
"""


@pytest.fixture
def fresh_base() -> Iterator[ImageRecipe]:
    """Name a base that no build has seen, so that nothing of a build on it is cached; give what is built on it."""
    mirror = "http://deb.debian.org/debian"
    base, recipe = build_base_recipe("bookworm", mirror), build_service_recipe("node-exporter", _fresh(mirror))
    client = docker.from_env()
    try:
        ensure_base_image(client, base, os.environ, ignore)
        # BuildKit knows a base by its layers: one more is another base. Slowly, or a build is over before its end.
        limit = f'echo "Acquire::http::Dl-Limit 2000; # {uuid.uuid4()}" > /etc/apt/apt.conf.d/99slow'
        container = client.containers.create(base.tag, ["sh", "-c", limit])
        container.start()
        container.wait()
        container.commit(*recipe.base.tag.split(":"))
        container.remove()
        yield recipe
        for name in (recipe.tag, recipe.base.tag):
            with suppress(docker.errors.ImageNotFound):
                client.images.remove(name, force=True)
    finally:
        client.close()


def _fresh(mirror: str) -> BaseRecipe:
    return build_base_recipe(SUITE, mirror)


def build_packages_config(image: str, model: str = SMALL) -> str:
    return render_config(image, after=NO_REGISTRY, model=model, watchers=["node-exporter"])


@pytest.mark.network
@pytest.mark.fault(
    "Ctrl-C, SIGTERM or SIGKILL while an image is built",
    "no half image is left; the same command builds it, from the steps that were done",
)
def test_up_ends_while_an_image_is_built(
    make_stack: Callable[..., Stack], fake_engine: str, fresh_base: ImageRecipe, tmp_path: Path
) -> None:
    stack = build_small_stack(make_stack, "builds", build_packages_config(fake_engine))
    stack.environ["TMPDIR"] = str(tmp_path)
    end_three_times(stack, lambda up: up.wait_said(f"build {fresh_base.tag.partition(':')[0]}: docker started"))
    assert stack.containers() == {}
    assert_up_goes_on(stack)
    assert "node-exporter" in stack.containers()
    # SIGKILL leaves its folder; for a minute it might be somebody's new one, then the next build takes it away.
    assert len(list(tmp_path.glob("stack-build-*"))) == 1


@pytest.mark.network
def test_weights_pulls_and_builds_run_side_by_side(
    pushed: Registry,
    make_stack: Callable[..., Stack],
    fake_engine: str,
    fresh_base: ImageRecipe,
    slow_hub: SlowHub,
    tmp_path: Path,
) -> None:
    pushed.push(fake_engine, "acme/engine:1")
    stack = make_stack(
        "overlap", build_packages_config(f"{pushed.host}/acme/engine:1", slow_hub.model), data=tmp_path / "data"
    )
    assert pushed.process is not None
    slow_hub.close_gate()
    with start(stack, "up", "--no-smoke") as up:
        built = f"build {fresh_base.tag.partition(':')[0]}"
        up.wait_said("pull acme/engine: asking")
        pushed.process.send_signal(signal.SIGSTOP)
        # Registry and hub are held: each of the three has begun before one of them can end.
        for begun in ("\nmodel acme/tiny: ", f"{built}: docker started"):
            up.wait_said(begun)
        pushed.process.send_signal(signal.SIGCONT)
        for ended in ("pull acme/engine: done", f"{built}: done"):
            up.wait_said(ended)
        assert "model acme/tiny: done" not in up.said
        slow_hub.open_gate()
        assert up.wait_end() == 0, up.said

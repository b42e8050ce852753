"""A private daemon with the fake engine's image, and projects that live on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.private_daemon import PrivateDaemon, find_reason
from tests.scenarios.conftest import STACKS
from tests.scenarios.harness import Done, Stack


@dataclass
class PrivateStack(Stack):
    """A project on the private daemon; its ports are inside the daemon's network."""

    daemon: PrivateDaemon | None = None

    def run(self, *arguments: str, **options: Any) -> Done:
        assert self.daemon is not None
        with self.daemon.network():
            return super().run(*arguments, **options)


@pytest.fixture(scope="module")
def private_daemon(fake_engine: str) -> Iterator[PrivateDaemon]:
    """A running private daemon that has the fake engine's image; docker, and the tool, talk to it."""
    reason = find_reason()
    if reason is not None:
        pytest.skip(reason)
    daemon = PrivateDaemon()
    try:
        daemon.start()
        daemon.load_image(fake_engine)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_HOST", daemon.host)
            yield daemon
    finally:
        daemon.close()


@pytest.fixture(scope="module")
def warm_models(make_stack: Callable[..., Stack], shared_models: Path) -> Path:
    """The shared volume with the demo model on it: nothing can be fetched from the daemon's network."""
    make_stack("warm", '[model]\nid = "demo"\n').run("warm").demand()
    return shared_models


@pytest.fixture
def make_private_stack(
    request: pytest.FixtureRequest, private_daemon: PrivateDaemon, tmp_path: Path, warm_models: Path
) -> Iterator[Callable[[str, str], PrivateStack]]:
    """Give projects on the private daemon, which are taken down when the test is done."""
    made: list[Stack] = []
    request.session.stash[STACKS] = made

    def make(name: str, config: str) -> PrivateStack:
        folder = tmp_path / name
        (folder / "home").mkdir(parents=True)
        stack = PrivateStack(name, folder, warm_models, daemon=private_daemon)
        stack.write_config(config)
        made.append(stack)
        return stack

    yield make
    for stack in made:
        stack.remove()

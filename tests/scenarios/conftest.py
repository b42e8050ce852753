"""Scenario fixtures: projects that clean up after themselves, and the fake engine's images."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures import fake_engine_image
from tests.fixtures.image_registry import Registry
from tests.scenarios.harness import ROOT, Stack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.docker)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    if outcome.get_result().failed:
        item.session.stash.setdefault(FAILED, set()).add(item.module.__name__)
        for stack in item.session.stash.get(STACKS, []):
            stack.keep_artifacts(item.name)


FAILED = pytest.StashKey[set]()
STACKS = pytest.StashKey[list]()


@pytest.fixture(scope="session")
def shared_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared volume of all scenarios of a run: the demo model is prepared once."""
    folder = tmp_path_factory.mktemp("models")
    for path in (folder, *folder.parents):
        if path.owner() == Path.home().owner() or os.geteuid() == 0:
            path.chmod(path.stat().st_mode | 0o755)
        if path == Path("/tmp"):
            break
    return folder


@pytest.fixture(scope="module")
def make_stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shared_models: Path
) -> Iterator[Callable[..., Stack]]:
    """Give projects that are taken down when the module is done."""
    made: list[Stack] = []
    request.session.stash.setdefault(STACKS, made)
    request.session.stash[STACKS] = made

    def make(name: str, config: str = "", *, user: str | None = None, data: Path | None = None) -> Stack:
        # The checkout's path is part of the name: two checkouts may run their tests at the same time.
        where = hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]
        folder = tmp_path_factory.mktemp(name)
        (folder / "home").mkdir()
        stack = Stack(f"t{where}-{name}", folder, data or shared_models, user)
        stack.write_config(config)
        made.append(stack)
        return stack

    yield make
    failed = request.module.__name__ in request.session.stash.get(FAILED, set())
    if failed and os.environ.get("STACK_KEEP_FAILED") == "1":
        return
    for stack in made:
        stack.remove()


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry for real images; asked for before `make_stack`, so that no container uses them any more."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs a real registry: apt-get install docker-registry")
    registry = Registry(tmp_path_factory.mktemp("pushed"))
    yield registry
    registry.stop()
    registry.forget()


@pytest.fixture(scope="session")
def build_fake_engine() -> Callable[[str], str]:
    """Give a function that builds the fake engine's image, labelled with a commit."""
    return fake_engine_image.build_fake_engine


@pytest.fixture(scope="session")
def fake_engine(build_fake_engine: Callable[[str], str]) -> str:
    """The fake engine's image, without a commit."""
    return build_fake_engine("")

"""Another machine: a daemon without images and a network whose way out leads nowhere and is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.private_daemon import PrivateDaemon, find_reason
from tests.fixtures.way_out import NAME_SERVER, WayOut
from tests.scenarios.conftest import STACKS
from tests.scenarios.harness import Stack
from tests.scenarios.reboot.conftest import PrivateStack

GIB = 1024**3


@pytest.fixture(scope="module")
def daemon() -> Iterator[PrivateDaemon]:
    """The other machine's daemon; containers ask a name server that lies outside."""
    reason = find_reason()
    if reason is not None:
        pytest.skip(reason)
    # A disk of its own: to take 4 GB of small files away one by one takes minutes.
    daemon = PrivateDaemon(data_bytes=24 * GIB, arguments=["--dns", NAME_SERVER])
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.close()


@pytest.fixture(scope="module")
def way_out(daemon: PrivateDaemon) -> Iterator[WayOut]:
    way = WayOut(daemon.namespace)
    try:
        way.open()
        yield way
    finally:
        way.close()


@pytest.fixture
def make_there(
    request: pytest.FixtureRequest, daemon: PrivateDaemon, way_out: WayOut, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str, str], Stack]]:
    """Give projects on the other machine, with a home and a shared volume of its own: nothing is on it."""
    made: list[Stack] = []
    request.session.stash[STACKS] = made

    def make(name: str, config: str) -> Stack:
        folder = tmp_path_factory.mktemp(name)
        for path in (folder / "home", folder / "data"):
            path.mkdir(mode=0o755)
        open_to_all(folder)
        stack = PrivateStack(name, folder, folder / "data", daemon=daemon)
        stack.write_config(config)
        made.append(stack)
        return stack

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", daemon.host)
        yield make
        for stack in made:
            stack.remove()


def open_to_all(folder: Path) -> None:
    """The engine runs as a user of its own."""
    for path in (folder, *folder.parents):
        if path == Path("/tmp"):
            return
        path.chmod(path.stat().st_mode | 0o755)

"""Whatever the hub does, `stack warm` must end with 7 and the next step, land nothing half, and go on afterwards.

No container is started.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stack.models.transfer import PART_SUFFIX
from stack.models.warm import list_snapshots
from tests.fixtures.fake_hub import FakeHub, run_hub, sha256
from tests.scenarios.harness import INTERRUPTED, Stack, start
from tests.unit.models.conftest import build_model_files

MODEL = "acme/tiny"
SHARD = "model-00002-of-00002.safetensors"
FOREVER = 1000


@dataclass
class Warmer(Stack):
    """A project that only warms: no container of it is ever made."""

    hub: FakeHub = field(default_factory=FakeHub)
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def storage(self) -> str:
        """Where the hub's storage has the last shard."""
        return sha256(self.files[SHARD])

    def find_landed(self) -> list[str]:
        return [snapshot.id for snapshot in list_snapshots(self.data / "stack" / "models")]

    def find_parts(self) -> dict[str, int]:
        parts = (self.data / "stack" / "models").rglob(f"*{PART_SUFFIX}")
        return {path.name.removesuffix(PART_SUFFIX): path.stat().st_size for path in parts}


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    with pytest.MonkeyPatch.context() as patch:
        # What the machine is told of proxies must not stand between a test and its loopback server.
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        yield from run_hub()


@pytest.fixture
def warmer(hub: FakeHub, tmp_path: Path) -> Warmer:
    hub.faults.clear()
    hub.requests.clear()
    files = build_model_files(400_000)
    hub.add_model(MODEL, files)
    (tmp_path / "home").mkdir()
    stack = Warmer(f"hub-{os.getpid()}", tmp_path, tmp_path / "data", hub=hub, files=files)
    stack.write_config(f'[model]\nendpoint = "{hub.endpoint}"\n\n[engine]\ndevice = "cpu"\n')
    return stack


def assert_healthy_hub_mends_it(warmer: Warmer) -> None:
    warmer.hub.faults.clear()
    path = Path(warmer.run("warm", "--model", MODEL, "--verify", "--json").demand().json()["path"])
    assert {item.name: item.read_bytes() for item in path.iterdir()} == {
        name: warmer.files[name] for name in warmer.files if (path / name).exists()
    }
    assert (path / SHARD).is_file()
    assert warmer.find_landed() == [MODEL]
    assert warmer.find_parts() == {}


def answer(status: int, path: str = "/api/models", **headers: str) -> Callable[[FakeHub], None]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda hub: hub.answer_with(status, path, times=FOREVER, headers=named)


@pytest.mark.parametrize(
    ("break_it", "said", "hint"),
    [
        pytest.param(
            answer(401, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found"),
            "`acme/tiny` is not on {hub}, or is private",
            "HF_TOKEN",
            id="401",
            marks=pytest.mark.fault(
                "the hub answers 401", "exit 7: that the model is missing or private, and where a token goes"
            ),
        ),
        pytest.param(
            answer(404, X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id: main"),
            "`acme/tiny` has no revision `main`",
            "/acme/tiny/commits/main",
            id="404",
            marks=pytest.mark.fault(
                "the hub answers 404", "exit 7: what is not there, model or revision, and the page that lists what is"
            ),
        ),
        pytest.param(
            answer(429, Retry_After="300"),
            "{hub} limits how often we may ask (status 429)",
            "try again in 300 s",
            id="429 for minutes",
            marks=pytest.mark.fault(
                "the hub answers 429",
                "a wait of up to a minute is waited for; a longer one ends with exit 7 and the time to come back",
            ),
        ),
        pytest.param(
            answer(503, Retry_After="0"),
            "{hub} answers with status 503",
            "try again in some minutes",
            id="5xx",
            marks=pytest.mark.fault(
                "the hub answers 5xx", "asked again a few times, each said; then exit 7, and what came stays"
            ),
        ),
        pytest.param(
            answer(503, "/storage/", Retry_After="0"), "answers with status 503", "try again", id="5xx of the storage"
        ),
        pytest.param(
            lambda hub: hub.redirect_in_circles("/api/models", times=FOREVER),
            "{hub} redirects in circles",
            "model.endpoint",
            id="redirect loop",
            marks=pytest.mark.fault(
                "the hub redirects in circles", "exit 7 at once: that it does, and to look at `model.endpoint`"
            ),
        ),
        pytest.param(
            lambda hub: hub.redirect_in_circles("/storage/", times=FOREVER),
            "redirects in circles",
            "model.endpoint",
            id="redirect loop of the storage",
        ),
        pytest.param(
            lambda hub: hub.corrupt_body("/storage/", times=FOREVER),
            "gave wrong bytes for `model-0000",
            "a proxy or mirror may alter downloads",
            id="wrong bytes",
            marks=pytest.mark.fault(
                "the hub sends wrong bytes of the right length",
                "fetched once more; wrong again: exit 7, the file is named, and nothing of it stays",
            ),
        ),
    ],
)
def test_a_hub_that_refuses_ends_with_7_and_the_next_step_and_a_healthy_one_mends_it(
    warmer: Warmer, break_it: Callable[[FakeHub], None], said: str, hint: str
) -> None:
    break_it(warmer.hub)
    done = warmer.run("warm", "--model", MODEL).demand(7)
    assert said.format(hub=warmer.hub.endpoint) in done.err
    assert hint in done.err.partition("hint: ")[2]
    assert "Traceback" not in done.err
    assert done.out == ""
    assert warmer.find_landed() == []
    assert_healthy_hub_mends_it(warmer)


def test_a_hub_that_limits_for_a_moment_is_waited_for(warmer: Warmer) -> None:
    warmer.hub.answer_with(429, "/api/models", headers={"Retry-After": "1"})
    done = warmer.run("warm", "--model", MODEL).demand()
    assert "the hub answers with status 429; trying again in 1 s" in done.err


@pytest.mark.fault(
    "the hub cuts a file and then goes away",
    "exit 7; what came stays on the volume, is not taken for the model, and the next run asks for the rest only",
)
def test_a_cut_file_is_no_model_and_the_next_run_asks_for_the_rest_of_it(warmer: Warmer) -> None:
    warmer.hub.cut_body(warmer.storage, 50_000)
    warmer.hub.answer_with(503, warmer.storage, times=FOREVER, headers={"Retry-After": "0"})
    done = warmer.run("warm", "--model", MODEL).demand(7)
    assert f"{SHARD}: the hub answers with status 503; trying again" in done.err
    assert warmer.find_landed() == []
    assert warmer.find_parts()[SHARD] == 50_000

    warmer.hub.requests.clear()
    assert_healthy_hub_mends_it(warmer)
    ranges = [request.headers.get("range", "") for request in warmer.hub.requests if warmer.storage in request.path]
    assert ranges == [f"bytes=50000-{len(warmer.files[SHARD]) - 1}"]


@pytest.mark.fault(
    "the hub is very slow",
    "a line at least every 10 s with bytes, rate and time left; Ctrl-C keeps what came, and the next run goes on there",
)
def test_a_slow_hub_is_reported_on_and_an_interrupted_download_goes_on(warmer: Warmer) -> None:
    warmer.hub.trickle_body(warmer.storage, 4_000, 0.4)
    with start(warmer, "warm", "--model", MODEL) as warm:
        warm.wait_said("B/s")
        assert warm.end(signal.SIGINT) == INTERRUPTED
        assert "the same command goes on from here" in warm.said
        assert "Traceback" not in warm.said
    assert warmer.find_landed() == []
    came = warmer.find_parts()[SHARD]
    assert 0 < came < len(warmer.files[SHARD])

    warmer.hub.requests.clear()
    assert_healthy_hub_mends_it(warmer)
    ranges = [request.headers.get("range", "") for request in warmer.hub.requests if warmer.storage in request.path]
    assert ranges == [f"bytes={came}-{len(warmer.files[SHARD]) - 1}"]


@pytest.mark.fault(
    "the hub sends a page where JSON is expected", "exit 7: that what answers is no model hub, and where"
)
def test_a_page_in_place_of_an_answer_is_no_hub(warmer: Warmer) -> None:
    warmer.hub.answer_page("/api/models", times=FOREVER)
    done = warmer.run("warm", "--model", MODEL).demand(7)
    assert f"{warmer.hub.endpoint} does not answer as a model hub" in done.err
    assert warmer.find_landed() == []
    assert_healthy_hub_mends_it(warmer)


@pytest.mark.network
def test_an_interrupted_fetch_of_the_demo_model_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    stack = Stack(f"demo-{os.getpid()}", tmp_path, tmp_path / "data")
    stack.write_config('[model]\nid = "demo"\n\n[engine]\ndevice = "cpu"\n')
    with start(stack, "warm") as warm:
        warm.wait_said("model smollm2-135m-instruct: ")
        assert warm.end(signal.SIGINT) == INTERRUPTED
        assert "Traceback" not in warm.said
    assert list_snapshots(stack.data / "stack" / "models") == []
    stack.run("warm", "--verify").demand()

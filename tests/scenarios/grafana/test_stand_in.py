"""Every run must become an annotation that links to its report, in a whole stack with a stand-in for Grafana.

The stand-in speaks Grafana's documented API; what a real Grafana shows, `test_grafana.py` tests by the same functions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import httpx2
import pytest

from tests.fixtures.fake_grafana_image import build_fake_grafana
from tests.scenarios.grafana.seen import BOARDS, see_alerts, see_boards, see_panels, see_run
from tests.scenarios.harness import Stack, eventually, run_docker
from tests.scenarios.projects import WATCHERS, render_config

RECORD = {
    "custom_id": "one", "method": "POST", "url": "/v1/chat/completions",
    "body": {"model": "demo", "messages": [{"role": "user", "content": "What do bees make?"}], "temperature": 0},
}  # fmt: skip


def render_drawn(engine: str, grafana: str, watchers: Sequence[str], scrape_seconds: int = 1) -> str:
    """Give a stack.toml with an image for Grafana."""
    drawn = (
        f'[services.prometheus]\nscrape-interval-seconds = {scrape_seconds}\n[services.grafana]\nimage = "{grafana}"\n'
    )
    return render_config(engine, after=drawn, watchers=watchers)


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    stack = make_stack("standin", render_drawn(fake_engine, build_fake_grafana(fake_engine), WATCHERS))
    stack.run("up", "--no-smoke").demand()
    return stack


@pytest.fixture(scope="module")
def grafana(stack: Stack) -> Iterator[httpx2.Client]:
    password = stack.run("status", "--json", "--show-secrets").demand().json()["secrets"]["grafana_password"]
    with httpx2.Client(base_url=stack.url("grafana"), auth=("admin", password), trust_env=False, timeout=30) as client:
        yield client


def test_boards_and_alerts_are_there(grafana: httpx2.Client) -> None:
    see_boards(grafana)
    # Pending until the first scrape.
    eventually(lambda: see_alerts(grafana)["VllmEngineDown"] == "inactive", "an alert that is inactive")


@pytest.mark.parametrize("uid", sorted(path.stem for path in BOARDS.glob("*.json")))
def test_every_panel_of_a_board_answers(grafana: httpx2.Client, uid: str) -> None:
    found = see_panels(grafana, uid)
    if uid == "overview":
        eventually(lambda: see_panels(grafana, uid)["Engine"], "a panel that shows the engine")
    assert found


def test_a_boot_a_smoke_and_a_replay_are_told_with_links_that_open(stack: Stack, grafana: httpx2.Client) -> None:
    see_run(grafana, "boot", "boot ready")
    verdict = "passed" if stack.run("smoke").code == 0 else "failed"
    see_run(grafana, "smoke", f"smoke {verdict}")
    (stack.folder / "one.jsonl").write_text(json.dumps(RECORD) + "\n")
    assert "Grafana does not show" not in stack.run("replay", "one.jsonl").demand().err
    told = see_run(grafana, "replay", "replay passed")
    assert "bees" not in json.dumps(told)


def test_a_grafana_that_is_gone_is_not_missed(stack: Stack) -> None:
    run_docker("stop", "--time", "1", stack.containers()["grafana"]["Id"])
    assert "Grafana does not show" not in stack.run("replay", "one.jsonl").demand().err

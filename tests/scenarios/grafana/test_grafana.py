"""A real Grafana in the stack: provisioned, closed to strangers, silent towards outside, and never locked.

Runs where STACK_TEST_GRAFANA_IMAGE names an image; the engine is the fake one, Prometheus a real one. Grafana
locks a user out after five refused logins in five minutes: this file makes the fifth with its last request.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from stack.assets import asset_path
from tests.scenarios.grafana.seen import see_alerts, see_boards, see_panels, see_run
from tests.scenarios.grafana.test_stand_in import RECORD, render_drawn
from tests.scenarios.harness import Stack, eventually, run_docker

pytestmark = pytest.mark.grafana

SCRAPE_SECONDS = 2
DASHBOARDS = {path.stem for path in asset_path("grafana", "dashboards").glob("*.json")}
REFUSED = (400, 403, 409, 412, 422)


def find_image() -> str:
    """Give the image under test: by its ID where it is here, so that nothing is asked for it."""
    name = os.environ["STACK_TEST_GRAFANA_IMAGE"]
    argv = ["docker", "image", "inspect", "--format", "{{.Id}}", name]
    done = subprocess.run(argv, capture_output=True, text=True)
    return name if done.returncode else done.stdout.strip()


def read_password(stack: Stack) -> str:
    return json.loads(stack.run("status", "--json", "--show-secrets").demand().out)["secrets"]["grafana_password"]


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    stack = make_stack("grafana", render_drawn(fake_engine, find_image(), ["prometheus", "grafana"], SCRAPE_SECONDS))
    stack.run("up", "--no-smoke").demand()
    return stack


@pytest.fixture(scope="module")
def grafana(stack: Stack) -> Iterator[httpx2.Client]:
    """A client that is signed in as this project's user."""
    with httpx2.Client(base_url=stack.url("grafana"), auth=("admin", read_password(stack)), trust_env=False) as client:
        eventually(lambda: client.get("/api/health").json()["database"] == "ok", "a healthy Grafana")
        yield client


@pytest.fixture(scope="module")
def stranger(grafana: httpx2.Client, stack: Stack) -> Iterator[httpx2.Client]:
    """A client that is not signed in."""
    with httpx2.Client(base_url=stack.url("grafana"), trust_env=False) as client:
        yield client


def read_dashboard(grafana: httpx2.Client, uid: str) -> dict[str, Any]:
    return grafana.get(f"/api/dashboards/uid/{uid}").raise_for_status().json()


def test_the_data_source_is_there_without_a_click_and_works(grafana: httpx2.Client) -> None:
    source = grafana.get("/api/datasources/uid/prometheus").raise_for_status().json()
    assert source["readOnly"]
    assert source["isDefault"]
    assert source["jsonData"]["timeInterval"] == f"{SCRAPE_SECONDS}s"

    def is_healthy() -> bool:
        answer = grafana.get("/api/datasources/uid/prometheus/health")
        return answer.status_code == 200 and answer.json()["status"] == "OK"

    eventually(is_healthy, "a data source that works")


@pytest.mark.parametrize("job", ["vllm", "grafana", "prometheus"])
def test_what_prometheus_scraped_comes_through_grafana(grafana: httpx2.Client, job: str) -> None:
    def count_targets() -> int:
        query = {"query": f'up{{job="{job}"}} == 1'}
        answer = grafana.get("/api/datasources/proxy/uid/prometheus/api/v1/query", params=query)
        return len(answer.json()["data"]["result"])

    eventually(lambda: count_targets() == 1, f"the target of `{job}`")


def test_every_dashboard_is_there_without_a_click(grafana: httpx2.Client) -> None:
    def list_dashboards() -> set[str]:
        return {hit["uid"] for hit in grafana.get("/api/search", params={"type": "dash-db"}).json()}

    eventually(lambda: list_dashboards() == DASHBOARDS, "the dashboards")
    see_boards(grafana)


def test_overview_is_what_opens_first(grafana: httpx2.Client) -> None:
    home = grafana.get("/api/dashboards/home").raise_for_status().json()
    assert (
        home["dashboard"]["title"]
        == json.loads(asset_path("grafana", "dashboards", "overview.json").read_text())["title"]
    )


@pytest.mark.parametrize("uid", sorted(DASHBOARDS))
def test_a_dashboard_can_be_neither_saved_nor_deleted(grafana: httpx2.Client, uid: str) -> None:
    before = read_dashboard(grafana, uid)
    assert before["meta"]["provisioned"]
    changed = before["dashboard"] | {"title": "Changed"}
    saved = grafana.post("/api/dashboards/db", json={"dashboard": changed, "overwrite": True})
    assert saved.status_code in REFUSED, saved.text
    deleted = grafana.delete(f"/api/dashboards/uid/{uid}")
    assert deleted.status_code in REFUSED, deleted.text
    assert read_dashboard(grafana, uid)["dashboard"]["title"] == before["dashboard"]["title"]


def test_the_data_source_can_be_neither_changed_nor_deleted(grafana: httpx2.Client) -> None:
    source = grafana.get("/api/datasources/uid/prometheus").json()
    changed = grafana.put("/api/datasources/uid/prometheus", json=source | {"url": "http://example.invalid"})
    assert changed.status_code in REFUSED, changed.text
    deleted = grafana.delete("/api/datasources/uid/prometheus")
    assert deleted.status_code in REFUSED, deleted.text


@pytest.mark.parametrize("password", ["admin", "not-the-password"])
def test_neither_the_default_nor_a_wrong_password_is_taken(stranger: httpx2.Client, password: str) -> None:
    assert stranger.get("/api/search", auth=("admin", password)).status_code == 401


@pytest.mark.parametrize(
    "path", ["/api/search", "/api/dashboards/uid/overview", "/api/datasources", "/api/admin/settings"]
)
def test_who_is_not_signed_in_gets_nothing(stranger: httpx2.Client, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code in (401, 403, 302, 404)
    if answer.status_code == 302:
        assert "/login" in answer.headers["location"]


def test_the_front_page_asks_who_is_there(stranger: httpx2.Client) -> None:
    answer = stranger.get("/")
    assert (answer.status_code, answer.headers.get("location")) == (302, "/login")


def test_nobody_can_sign_up(stranger: httpx2.Client) -> None:
    answer = stranger.post("/api/user/signup", json={"email": "stranger@example.invalid"})
    assert answer.status_code in (400, 401, 403, 404), answer.text


def test_the_password_shows_nowhere_but_in_its_file(stack: Stack, grafana: httpx2.Client) -> None:
    password = read_password(stack)
    file = stack.state / "secrets" / "grafana_password"
    assert file.stat().st_mode & 0o777 == 0o600
    assert password not in json.dumps(stack.containers())
    assert password not in (stack.state / "rendered" / "compose.override.json").read_text()
    assert password not in stack.run("logs", "grafana").demand().out
    assert password not in stack.run("status", "--json").demand().out


def test_every_setting_of_ours_is_one_that_this_grafana_knows_and_took(stack: Stack, grafana: httpx2.Client) -> None:
    """Telemetry off, no sign-up, no plugin downloads: a variable that Grafana does not know would do nothing."""
    env = dict(item.split("=", 1) for item in stack.containers()["grafana"]["Config"]["Env"])
    compose = asset_path("compose", "compose.yaml").read_text()
    ours = {name: value for name, value in env.items() if name.startswith("GF_") and f"{name}:" in compose}
    took = {}
    for section, keys in grafana.get("/api/admin/settings").raise_for_status().json().items():
        for key, value in keys.items():
            took["_".join(["GF", *section.replace(".", "_").replace("-", "_").upper().split(), key.upper()])] = value
    secret = ours.pop("GF_SECURITY_ADMIN_PASSWORD__FILE")
    assert secret == "/run/secrets/grafana_password"
    assert {name: took.get(name) for name in ours} == ours


def test_grafana_runs_without_rights_that_it_does_not_need(stack: Stack, grafana: httpx2.Client) -> None:
    made = stack.containers()["grafana"]
    assert made["HostConfig"]["ReadonlyRootfs"]
    assert made["HostConfig"]["CapDrop"] == ["ALL"]
    assert run_docker("exec", made["Id"], "id", "-u").strip() != "0"
    assert [item["HostIp"] for items in made["HostConfig"]["PortBindings"].values() for item in items] == ["127.0.0.1"]


def test_smoke_finds_grafana_well(stack: Stack, grafana: httpx2.Client) -> None:
    document = stack.run("smoke", "--json").json()
    [finding] = [item for item in document["checks"] if item["check"] == "grafana"]
    assert finding["status"] == "pass", finding


def test_up_again_leaves_grafana_alone(stack: Stack, grafana: httpx2.Client) -> None:
    before = stack.containers()["grafana"]["State"]["StartedAt"]
    assert "nothing to do" in stack.run("up", "--no-smoke").err
    assert stack.containers()["grafana"]["State"]["StartedAt"] == before


@pytest.mark.parametrize("uid", sorted(DASHBOARDS))
def test_every_panel_of_a_board_answers(grafana: httpx2.Client, uid: str) -> None:
    assert see_panels(grafana, uid)


def test_the_overview_shows_the_engine(grafana: httpx2.Client) -> None:
    eventually(lambda: see_panels(grafana, "overview")["Engine"], "a panel that shows the engine")


def test_alerts_are_shown_without_an_alertmanager(stack: Stack, grafana: httpx2.Client) -> None:
    # Pending until the first scrape.
    eventually(lambda: see_alerts(grafana)["VllmEngineDown"] == "inactive", "an alert that is inactive")
    rules = stack.state / "rendered" / "prometheus" / "rules" / "always.yaml"
    rules.write_text("groups: [{name: always, rules: [{alert: SomethingIsWrong, expr: vector(1)}]}]\n")
    prometheus = stack.containers()["prometheus"]["Id"]
    try:
        run_docker("kill", "--signal", "HUP", prometheus)
        eventually(lambda: see_alerts(grafana).get("SomethingIsWrong") == "firing", "an alert that fires")
    finally:
        rules.unlink()
        run_docker("kill", "--signal", "HUP", prometheus)


def test_a_boot_a_smoke_and_a_replay_are_told_with_links_that_open(stack: Stack, grafana: httpx2.Client) -> None:
    see_run(grafana, "boot", "boot ready")
    verdict = "passed" if stack.run("smoke").code == 0 else "failed"
    see_run(grafana, "smoke", f"smoke {verdict}")
    (stack.folder / "one.jsonl").write_text(json.dumps(RECORD) + "\n")
    stack.run("replay", "one.jsonl").demand()
    assert "bees" not in json.dumps(see_run(grafana, "replay", "replay passed"))


# The last ones: they change the password.


def test_a_lost_state_locks_nobody_out_of_the_grafana_that_runs(stack: Stack, grafana: httpx2.Client) -> None:
    old = read_password(stack)
    shutil.rmtree(stack.state)
    stack.run("up", "--no-smoke").demand()
    assert_new_password_is_taken(stack, old)


def test_a_lost_state_locks_nobody_out_of_an_old_volume(stack: Stack, grafana: httpx2.Client) -> None:
    old = read_password(stack)
    stack.run("down").demand()
    shutil.rmtree(stack.state)
    stack.run("up", "--no-smoke").demand()
    assert_new_password_is_taken(stack, old)
    document = stack.run("smoke", "--json").json()
    [finding] = [item for item in document["checks"] if item["check"] == "grafana"]
    assert finding["status"] == "pass", finding
    assert httpx2.get(stack.url("grafana") + "/api/search", auth=("admin", old), trust_env=False).status_code == 401


def assert_new_password_is_taken(stack: Stack, old: str) -> None:
    new = read_password(stack)
    assert new != old
    answer = httpx2.get(stack.url("grafana") + "/api/search", auth=("admin", new), trust_env=False)
    assert answer.status_code == 200

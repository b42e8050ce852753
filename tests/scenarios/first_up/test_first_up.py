"""The main job on the real engine: from nothing to a right answer, and every later `up`."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import threading
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stack.traffic.demo_phases import PHASES
from tests.fixtures.engine_builds import remove_images, removed_builds
from tests.fixtures.wheel_host import WheelHost, fetch_real_wheel, serve_wheel
from tests.scenarios.harness import Done, Stack, eventually, services_of

CONFIG = """
[model]
id = "demo"

[engine]
device = "cpu"

[images]
source = "packages"
"""


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack]) -> Stack:
    return make_stack("first", CONFIG)


@pytest.fixture(scope="module")
def first(stack: Stack) -> Done:
    return stack.run("up").demand()


def test_first_up_serves_watches_and_tests_the_model(first: Done) -> None:
    assert "engine" in first.out and "http://127.0.0.1:" in first.out
    assert "commit db9527a46873454610df6dbedf79a36d6bf1a7f6 (claimed), version 0.31.0" in first.out
    assert "smoke     passed: " in first.out
    for phase in ("load", "kv-cache", "server", "first-token"):
        assert f"{phase} " in first.out


def test_the_printed_curl_line_answers_rightly_when_pasted(first: Done) -> None:
    line = next(line for line in first.out.splitlines() if line.startswith("curl "))
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert "Berlin" in json.loads(done.stdout)["choices"][0]["message"]["content"]


def test_status_tells_services_and_the_engine_as_json(first: Done, stack: Stack) -> None:
    document = stack.status()
    services = services_of(document)
    assert services["engine"]["state"] == "running"
    assert services["prometheus"]["url"].startswith("http://127.0.0.1:")
    assert document["schema_version"] == 1
    assert document["engine"]["commit_level"] == "claimed"
    assert document["engine"]["model"] == "smollm2-135m-instruct"
    assert document["smoke"]["passed"] is True


def test_every_prometheus_target_is_up(first: Done, stack: Stack) -> None:
    url = stack.url("prometheus") + "/api/v1/targets"

    def all_up() -> bool:
        with urllib.request.urlopen(url, timeout=30) as answer:
            targets = json.load(answer)["data"]["activeTargets"]
        return {target["labels"]["job"] for target in targets} >= {"vllm", "node", "prometheus"} and all(
            target["health"] == "up" for target in targets
        )

    eventually(all_up, "every target up")


@pytest.fixture(scope="module")
def demo(first: Done, stack: Stack) -> dict[str, Any]:
    """A minute of the demo's traffic; what it leaves in the metrics is what the dashboards are held against."""
    done = stack.run("demo", "--minutes", "1.1", "--json")
    assert done.code == 0, (done.json()["problems"], done.err)
    return done.json()


def test_the_demo_brings_every_kind_of_end_and_a_queue_and_leaves_nothing_running(demo: dict[str, Any]) -> None:
    assert demo["is_passed"] and demo["left_running"] == 0
    outcomes = demo["now"]["outcomes"]
    assert all(outcomes[name] >= 2 for name in ("stop", "length", "hung up", "refused")), outcomes
    burst = next(phase for phase in demo["phases"] if phase["name"] == "burst")
    assert burst["most"]["waiting"] > 0, burst


def test_after_the_demo_every_panel_rule_and_alert_is_ok_or_conditional_with_its_reason(
    demo: dict[str, Any], stack: Stack
) -> None:
    document = stack.run("dashboards", "check", "--strict", "--json").demand().json()
    answers = document["answers"]
    assert {answer["kind"] for answer in answers} == {"panel", "variable", "record", "alert"}
    assert len(answers) == sum(file["queries"] for file in document["files"]) > 250
    assert {answer["outcome"] for answer in answers} == {"ok", "conditional"}
    waiting = [answer for answer in answers if answer["outcome"] == "conditional"]
    assert all(answer["reason"] for answer in waiting)
    # It waits for a GPU, an adapter, Grafana: for nothing that traffic would bring.
    assert not [answer for answer in waiting if re.search("nothing happened|less than twice", answer["reason"])]
    moved = {(Path(one["file"]).stem, one["name"]) for one in answers if one["outcome"] == "ok"}
    assert {(look.board, look.panel) for phase in PHASES for look in phase.looks} <= moved


@contextmanager
def asking(url: str, build_body: Callable[[int], dict[str, Any]], clients: int) -> Iterator[None]:
    """Clients that ask one request after another until the end."""
    over, numbers = threading.Event(), itertools.count()

    def ask() -> None:
        while not over.is_set():
            body = json.dumps({"model": "smollm2-135m-instruct", **build_body(next(numbers))}).encode()
            request = urllib.request.Request(f"{url}/v1/completions", body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=300).read()

    with ThreadPoolExecutor(clients) as pool:
        asked = [pool.submit(ask) for _ in range(clients)]
        try:
            yield
        finally:
            over.set()
    for one in asked:
        one.result()


def diagnose(stack: Stack) -> list[str]:
    """Name what limits the engine, without what surrounds it: this machine may do other work."""
    [engine] = stack.run("diagnose", "--seconds", "8", "--json").demand().json()["engines"]
    return [limit["name"] for limit in engine["limits"] if limit["name"] != "host-cpu"]


def test_diagnose_names_the_state_that_the_engine_is_brought_into(first: Done, stack: Stack) -> None:
    url = stack.url("engine")
    assert diagnose(stack) == ["idle"]
    story = {"prompt": "Once upon a time", "max_tokens": 200, "ignore_eos": True}
    with asking(url, lambda number: story, 8):
        assert diagnose(stack) == ["decode"]
    # None begins as another, so no cache knows it.
    with asking(url, lambda number: {"prompt": f"{number} of many notes. " * 250, "max_tokens": 1}, 4):
        assert diagnose(stack)[0] == "prefill"


def test_another_up_changes_nothing_and_says_so(first: Done, stack: Stack) -> None:
    before = stack.containers()
    again = stack.run("up").demand()
    assert "nothing to do" in again.err
    after = stack.containers()
    assert {name: item["Id"] for name, item in before.items()} == {name: item["Id"] for name, item in after.items()}
    assert all(item["State"]["StartedAt"] == after[name]["State"]["StartedAt"] for name, item in before.items())


def test_a_changed_setting_touches_only_the_service_that_it_is_for(first: Done, stack: Stack) -> None:
    before = stack.containers()
    stack.write_config(CONFIG + '\n[services.prometheus]\nretention-time = "7d"\n')
    plan = stack.run("up", "--dry-run").demand().out
    steps = [line for line in plan.splitlines() if line.startswith("#")]
    assert steps == ["#1 services: change prometheus, because prometheus has other arguments"]
    stack.run("up", "--no-smoke").demand()
    after = stack.containers()
    assert before["engine"]["State"]["StartedAt"] == after["engine"]["State"]["StartedAt"]
    assert before["prometheus"]["Id"] != after["prometheus"]["Id"]
    assert "--storage.tsdb.retention.time=7d" in after["prometheus"]["Args"]


def test_nothing_secret_and_nothing_open_shows_in_docker_inspect(first: Done, stack: Stack) -> None:
    for service, item in stack.containers().items():
        for bindings in (item["HostConfig"]["PortBindings"] or {}).values():
            assert all(binding["HostIp"] == "127.0.0.1" for binding in bindings), service
        assert item["HostConfig"]["ReadonlyRootfs"] and item["HostConfig"]["CapDrop"] == ["ALL"], service
        assert not item["HostConfig"]["Privileged"], service
        for secret in (stack.state / "secrets").glob("*"):
            assert secret.read_text().strip() not in json.dumps(item), f"{secret.name} shows in {service}"


def test_smoke_alone_writes_json_and_junit(first: Done, stack: Stack) -> None:
    done = stack.run("smoke", "--json", "--junit", "smoke.xml").demand()
    document = done.json()
    assert document["passed"] is True
    assert {check["check"] for check in document["checks"]} >= {
        "canaries",
        "likelihood",
        "agreement",
        "streaming",
    }
    assert (stack.folder / "smoke.xml").read_text().startswith("<?xml")


def test_down_keeps_models_logs_and_history_and_up_starts_again(first: Done, stack: Stack) -> None:
    stack.run("down").demand()
    assert stack.containers() == {}
    kept = list((stack.state / "boots").glob("*.log"))
    assert any("Starting vLLM server" in path.read_text(errors="replace") for path in kept)
    assert "Starting vLLM server" in stack.run("logs", "engine").demand().out
    again = stack.run("up").demand()
    assert "smoke     passed" in again.out
    assert "model" not in "".join(line for line in again.err.splitlines() if "fetch" in line)
    assert services_of(stack.status())["engine"]["state"] == "running"


def test_an_ejected_directory_is_valid_compose_without_the_tool(first: Done, stack: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "ejected"
    stack.run("eject", str(folder)).demand()
    done = subprocess.run(
        ["docker", "compose", "config", "--format", "json"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    engine = json.loads(done.stdout)["services"]["engine"]
    assert engine["read_only"] is True
    assert any(volume["source"].startswith(str(folder)) for volume in engine["volumes"])


# Another release than the shipped one, as if it were the wheel of a commit.
RELEASE, COMMIT = "0.32.0", "0123456789abcdef0123456789abcdef01234567"
VERSION = f"{RELEASE}+g{COMMIT[:9]}.cpu"


@pytest.fixture
def host(stack: Stack, tmp_path: Path) -> Iterator[WheelHost]:
    """A host of a real wheel; what comes of it is taken away, and so is the stack that runs it."""
    with removed_builds(), serve_wheel(fetch_real_wheel(tmp_path, RELEASE, VERSION), COMMIT) as host:
        yield host
        stack.run("down")
        remove_images(COMMIT)


@pytest.mark.network
@pytest.mark.skipif(
    os.environ.get("STACK_TEST_REAL_UPGRADE") != "1",
    reason="builds a second real engine, minutes: STACK_TEST_REAL_UPGRADE=1 runs it",
)
def test_an_upgrade_builds_the_wheel_of_a_commit_and_keeps_it_with_what_it_gained(
    first: Done, stack: Stack, host: WheelHost
) -> None:
    sources = f'\n[images.sources]\nwheel = "{host.url}/{{commit}}/{{variant}}vllm/metadata.json"\n'
    stack.write_config(CONFIG + sources)
    stack.run("up").demand()
    done = stack.run("upgrade", COMMIT, "--accept", "claimed", "--yes", "--json")
    found = done.demand().json()
    assert (found["outcome"], found["against"], found["new"]["version"]) == ("kept", [], VERSION), done.err
    # What vLLM 0.32 exports and 0.31 did not.
    appeared = {item["name"] for item in found["metrics"] if item["change"] == "appeared"}
    assert appeared >= {"vllm:admission_rejections", "vllm:prompt_tokens_cached_by_source"}
    assert not any(item["change"] == "gone" for item in found["metrics"])
    assert len(found["likelihoods"]) == 3 and all(item["is_fine"] for item in found["likelihoods"])
    counts = found["answers"]["counts"]
    assert counts["equal"] + counts["near tie"] == sum(counts.values()) > 0
    assert found["away_seconds"] > 0 and found["old"]["boot"] != found["new"]["boot"]

    lock = tomllib.loads((stack.folder / "stack.lock").read_text())
    assert (lock["engine"]["commit"], lock["engine"]["commit_level"]) == (COMMIT, "claimed")
    packages = lock["builds"]["engine/cpu"]["packages"]
    assert len(packages) > 100 and packages["torch"]["version"] == "2.13.0+cpu"
    assert all(len(item["sha256"]) == 64 for item in packages.values())
    answer = stack.run("chat", "--max-tokens", "16", "What is the capital of Germany?").demand()
    assert "Berlin" in answer.out and "nothing to do" in stack.run("up").demand().err
    assert [item["engine"] for item in stack.run("rollback", "--list", "--json").demand().json()["locks"]] == ["here"]

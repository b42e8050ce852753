"""An alert must reach its receiver, grouped with its kind, and so must its end; `for` is cut to 1 s to see it at once.

A real Prometheus, a real Alertmanager and the fake engine. The receiver is a server of this test on the host's bridge.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from stack.telemetry.alertmanager import render_alertmanager_config
from tests.scenarios.harness import Stack, eventually, run_docker
from tests.scenarios.projects import render_config

ALERTED = """
[services.prometheus]
scrape-interval-seconds = 1

[services.alertmanager]
enabled = true
webhook-url-file = "webhook-url"
"""
TOKEN = "a-token-that-nobody-may-see"
WAITS = {"group_wait: 10s": "group_wait: 2s", "group_interval: 1m": "group_interval: 3s"}


ALWAYS = """
groups:
  - name: always
    rules:
      - alert: SomethingIsWrong
        expr: vector(1)
        labels: {severity: critical, part: a}
        annotations: {summary: It is <wrong>}
"""


class Receiver(BaseHTTPRequestHandler):
    """Keeps what is posted."""

    got: list[dict[str, Any]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append({"path": self.path, **json.loads(body)})
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def receiver() -> Iterator[str]:
    """The URL, as a container reaches it, of a server that keeps what is posted."""
    bridge = json.loads(run_docker("network", "inspect", "bridge"))[0]["IPAM"]["Config"][0]["Gateway"]
    Receiver.got = []
    server = ThreadingHTTPServer((bridge, 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://{bridge}:{server.server_port}/{TOKEN}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str, receiver: str) -> Stack:
    stack = make_stack("alerts", render_config(fake_engine, after=ALERTED, watchers=["prometheus"]))
    (stack.folder / "webhook-url").write_text(receiver + "\n")
    stack.run("up", "--no-smoke").demand()
    hurry(stack)
    return stack


def hurry(stack: Stack) -> None:
    """Cut every wait of the rendered rules and of Alertmanager, and have both read them again."""
    rules = stack.state / "rendered" / "prometheus" / "rules" / "alerts.yaml"
    rules.write_text(re.sub(r"^( +)for: .*$", r"\1for: 1s", rules.read_text(), flags=re.MULTILINE))
    path = stack.state / "secrets" / "alertmanager_config"
    text = path.read_text()
    for wait, short in WAITS.items():
        assert wait in text
        text = text.replace(wait, short)
    path.write_text(text)
    for service in ("prometheus", "alertmanager"):
        run_docker("kill", "--signal", "HUP", stack.containers()[service]["Id"])


def find_told(status: str, alert: str) -> dict[str, Any] | None:
    for message in Receiver.got:
        if message["status"] == status and message["groupLabels"] == {"alertname": alert}:
            return message
    return None


def test_an_alert_fires_is_told_with_its_kind_and_its_end_is_told_too(stack: Stack) -> None:
    engine = stack.containers()["engine"]["Id"]
    run_docker("stop", "--time", "1", engine)
    firing = eventually(lambda: find_told("firing", "VllmEngineDown"), "the alert at the receiver", every_seconds=0.2)
    assert firing["path"] == f"/{TOKEN}"
    (alert,) = firing["alerts"]
    assert (alert["labels"]["instance"], alert["labels"]["severity"]) == ("engine", "critical")
    assert alert["annotations"]["runbook_url"] == "prometheus/runbook.md#vllmenginedown"
    events = stack.run("events", "--since", "2m").demand().out
    assert "alert VllmEngineDown fires: The engine does not answer Prometheus" in events
    run_docker("start", engine)
    resolved = eventually(lambda: find_told("resolved", "VllmEngineDown"), "its end", every_seconds=0.2)
    assert resolved["groupKey"] == firing["groupKey"]


def test_status_is_degraded_while_a_critical_alert_fires_and_says_since_when(stack: Stack) -> None:
    rules = stack.state / "rendered" / "prometheus" / "rules" / "always.yaml"
    rules.write_text(ALWAYS)
    try:
        run_docker("kill", "--signal", "HUP", stack.containers()["prometheus"]["Id"])
        document = eventually(
            lambda: found if (found := stack.status())["state"] == "degraded" else None, "a degraded stack"
        )
        (alert,) = [item for item in document["alerts"] if item["name"] == "SomethingIsWrong"]
        assert (alert["severity"], alert["summary"], alert["labels"]) == ("critical", "It is <wrong>", {"part": "a"})
        (reason,) = [item for item in document["reasons"] if "SomethingIsWrong" in item["message"]]
        assert reason["message"].endswith(f"{alert['since'][11:19]} UTC: It is <wrong>")
        said = stack.run("status", "--check").demand(1).out
        assert "SomethingIsWrong (critical) since" in said
    finally:
        rules.unlink()
        run_docker("kill", "--signal", "HUP", stack.containers()["prometheus"]["Id"])
    eventually(lambda: stack.status()["state"] == "up", "a stack that is up again")


def test_nobody_can_read_where_alerts_are_sent(stack: Stack) -> None:
    for name, item in stack.containers().items():
        assert TOKEN not in json.dumps(item), name
    assert TOKEN not in "".join(path.read_text() for path in (stack.state / "rendered").rglob("*") if path.is_file())
    assert (stack.state / "secrets" / "alertmanager_config").stat().st_mode & 0o077 == 0


def test_alertmanager_is_nobody_and_answers_on_loopback_alone(stack: Stack) -> None:
    item = stack.containers()["alertmanager"]
    assert item["Config"]["User"].split(":")[0] not in ("", "0", "root")
    assert item["HostConfig"]["ReadonlyRootfs"] is True
    (bindings,) = item["HostConfig"]["PortBindings"].values()
    assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"]
    assert stack.url("alertmanager").startswith("http://127.0.0.1:")


def test_up_puts_back_what_this_test_hurried_and_leaves_the_engine_alone(stack: Stack, receiver: str) -> None:
    engine = stack.containers()["engine"]["State"]["StartedAt"]
    (stack.folder / "stack.toml").write_text((stack.folder / "stack.toml").read_text() + "\n[slo.ttft]\nseconds = 1\n")
    before = {name: item["Id"] for name, item in stack.containers().items()}
    stack.run("up", "--no-smoke").demand()
    after = {name: item["Id"] for name, item in stack.containers().items()}
    assert {name for name in after if before[name] != after[name]} == {"prometheus"}
    assert stack.containers()["engine"]["State"]["StartedAt"] == engine
    rendered = (stack.state / "rendered" / "prometheus" / "rules" / "slo.yaml").read_text()
    assert 'le=\\"1.0\\"' in rendered
    assert (stack.state / "secrets" / "alertmanager_config").read_text() == render_alertmanager_config(receiver)

"""What scenarios hold a Grafana against finds each fault, on the stand-in and a Prometheus of canned answers."""

from __future__ import annotations

import httpx2
import pytest
import yaml

from stack.operations.annotations.send import render_text
from tests.fixtures.fake_grafana import FakeGrafana
from tests.scenarios.grafana import seen

PASSWORD = "correct horse"
LINK = "http://127.0.0.1:9090/user/smoke-3.html"


class Prometheus:
    """Answers every query with one number, and tells the shipped rules."""

    def __init__(self):
        self.refused = "nothing"
        self.value = "1"
        self.left_out = ""

    def __call__(self, path):
        if path == "/api/v1/rules":
            return 200, {"status": "success", "data": {"groups": [self._group(name) for name in ("alerts", "slo")]}}
        if self.refused in path:
            return 400, {"status": "error", "error": "it is refused"}
        return 200, {"data": {"resultType": "vector", "result": [{"metric": {"a": "b"}, "value": [1.0, self.value]}]}}

    def _group(self, name):
        groups = yaml.safe_load((seen.RULES / f"{name}.yaml").read_text())["groups"]
        rules = [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]
        told = [{"type": "alerting", "name": rule, "state": "inactive"} for rule in rules if rule != self.left_out]
        return {"name": name, "rules": [*told, {"type": "recording", "name": "a:b"}]}


@pytest.fixture
def prometheus():
    return Prometheus()


@pytest.fixture
def fake(prometheus):
    fake = FakeGrafana(password=PASSWORD, ask=prometheus)
    fake.add_dashboards(seen.BOARDS)
    fake.datasources["prometheus"] = None
    return fake


@pytest.fixture
def grafana(fake):
    def handle(request):
        target = request.url.raw_path.decode()
        status, document = fake.answer(request.method, target, request.headers.get("Authorization"), request.read())
        return httpx2.Response(status, json=document)

    with httpx2.Client(
        transport=httpx2.MockTransport(handle), base_url="http://grafana", auth=("admin", PASSWORD)
    ) as client:
        yield client


@pytest.fixture
def page(monkeypatch):
    """The page behind the link: status and text can be changed."""
    page = {"status": 200, "text": "smoke-3"}

    def get(url, *, trust_env):
        assert url == LINK
        return httpx2.Response(page["status"], html=page["text"])

    monkeypatch.setattr(seen.httpx2, "get", get)
    return page


@pytest.fixture
def told(fake):
    text = render_text("smoke passed", "12 checks", "smoke-3", LINK)
    item = {"id": 1, "time": 1000, "timeEnd": 1000, "tags": ["stack", "smoke"], "text": text}
    fake.annotations.append(item)
    return item


def test_boards_as_they_were_shipped_are_found_well(grafana):
    seen.see_boards(grafana)


def test_a_board_that_is_missing_is_found(grafana, fake):
    del fake.dashboards["slo"]
    with pytest.raises(AssertionError):
        seen.see_boards(grafana)


def test_a_panel_that_is_missing_is_found(grafana, fake):
    fake.dashboards["slo"]["panels"].pop()
    with pytest.raises(AssertionError, match="slo"):
        seen.see_boards(grafana)


@pytest.mark.parametrize("uid", sorted(path.stem for path in seen.BOARDS.glob("*.json")))
def test_every_query_of_a_board_is_asked_without_a_variable_left(grafana, fake, prometheus, uid, monkeypatch):
    asked = []
    monkeypatch.setattr(fake, "ask", lambda path: asked.append(path) or prometheus(path))
    found = seen.see_panels(grafana, uid)
    assert found
    assert all(found.values())
    assert not [path for path in asked if "%24" in path]
    assert len(asked) >= len(found)


def test_a_query_that_is_refused_is_found_with_its_panel(grafana, prometheus):
    prometheus.refused = "stack_info"
    with pytest.raises(AssertionError, match="overview: Identity"):
        seen.see_panels(grafana, "overview")


def test_a_panel_without_a_number_is_told_as_such(grafana, prometheus):
    prometheus.value = "NaN"
    assert set(seen.see_panels(grafana, "overview").values()) == {0}


def test_alerts_are_told_with_their_states(grafana):
    assert seen.see_alerts(grafana)["VllmEngineDown"] == "inactive"


def test_an_alert_that_is_not_there_is_found(grafana, prometheus):
    prometheus.left_out = "VllmEngineDown"
    with pytest.raises(AssertionError):
        seen.see_alerts(grafana)


def test_a_data_source_without_rules_is_found(grafana, fake):
    del fake.datasources["prometheus"]
    with pytest.raises(AssertionError, match="HTTP 404"):
        seen.see_alerts(grafana)


def test_a_run_whose_link_opens_is_found_well(grafana, told, page):
    assert seen.see_run(grafana, "smoke", "smoke passed") == told


def test_a_run_that_is_not_told_is_found(grafana, page):
    with pytest.raises(AssertionError, match="no annotation of a smoke"):
        seen.see_run(grafana, "smoke", "smoke passed")


@pytest.mark.parametrize("page_changes", [{"status": 404}, {"text": "another page"}])
def test_a_link_that_leads_nowhere_is_found(grafana, told, page, page_changes):
    page |= page_changes
    with pytest.raises(AssertionError):
        seen.see_run(grafana, "smoke", "smoke passed")


@pytest.mark.parametrize(
    "text",
    [
        render_text("smoke failed", "12 checks", "smoke-3", LINK),
        render_text("smoke passed", "12 checks", "smoke-3", None),
        render_text("smoke passed", "12 checks", "smoke-3", "/user/smoke-3.html"),
    ],
)
def test_another_verdict_and_a_link_that_grafana_would_swallow_are_found(grafana, told, page, text):
    told["text"] = text
    with pytest.raises(AssertionError):
        seen.see_run(grafana, "smoke", "smoke passed")

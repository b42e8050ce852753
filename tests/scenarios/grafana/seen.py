"""What must be seen in a Grafana: boards whose panels answer, alerts without an Alertmanager, runs with their reports.

Each function asks a Grafana by its documented API and fails by an assertion; a real one and a stand-in are held
against the same ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import unescape
from typing import Any

import httpx2
import yaml

from stack.assets import asset_path
from stack.telemetry.contract.variables import read_values

BOARDS = asset_path("grafana", "dashboards")
RULES = asset_path("prometheus", "rules")
_SHIPPED = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in BOARDS.glob("*.json")}
_WIDEST = {
    uid: {name: standing.widest for name, standing in read_values(board["templating"]["list"]).items()}
    for uid, board in _SHIPPED.items()
}
_LINK = re.compile(r'<a href="(http://127\.0\.0\.1:\d+/user/([a-z]+-\d+)\.html)">')


def see_boards(grafana: httpx2.Client) -> None:
    """Every shipped board is there as it was shipped."""
    shown = {hit["uid"] for hit in _get(grafana, "/api/search?type=dash-db")}
    assert shown == set(_SHIPPED)
    for uid, board in _SHIPPED.items():
        found = _get(grafana, f"/api/dashboards/uid/{uid}")
        assert found["meta"]["provisioned"] is True, uid
        assert _list_panels(found["dashboard"]) == _list_panels(board), uid


def see_panels(grafana: httpx2.Client, uid: str) -> dict[str, int]:
    """Every query of a board is answered without an error; give how many frames with a number each panel has."""
    board = _get(grafana, f"/api/dashboards/uid/{uid}")["dashboard"]
    found = {}
    for panel in _every_panel(board):
        if not panel.get("targets"):
            continue
        answer = grafana.post("/api/ds/query", json=build_query(panel, _WIDEST[uid]))
        results = answer.json().get("results", {})
        wrong = {ref: item.get("error", item["status"]) for ref, item in results.items() if item["status"] != 200}
        assert (answer.status_code, wrong) == (200, {}), f"{uid}: {panel['title']}: {answer.text[:500]}"
        assert set(results) == {target["refId"] for target in panel["targets"]}, f"{uid}: {panel['title']}"
        found[panel["title"]] = sum(_has_number(frame) for item in results.values() for frame in item["frames"])
    return found


def build_query(panel: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """Give what Grafana's pages send for a panel: its own variables are left to the server, those of the board not.

    Source: https://grafana.com/docs/grafana/latest/developer-resources/api-reference/http-api/api-legacy/data_source/
    """
    queries = []
    for target in panel["targets"]:
        expr = target["expr"]
        for name, value in variables.items():
            expr = re.sub(rf"\$(?:{name}\b|\{{{name}(?::\w+)?\}})", lambda _, value=value: value, expr)
        queries.append({**target, "expr": expr, "intervalMs": 15000, "maxDataPoints": 100})
    return {"queries": queries, "from": "now-1h", "to": "now"}


def see_alerts(grafana: httpx2.Client) -> dict[str, str]:
    """Grafana tells of every alert that Prometheus judges; give the state of each.

    No Alertmanager is asked: https://grafana.com/docs/grafana/latest/alerting/monitor-status/view-alert-rules/.
    """
    answer = _get(grafana, "/api/prometheus/prometheus/api/v1/rules")
    assert answer["status"] == "success"
    rules = [rule for group in answer["data"]["groups"] for rule in group["rules"] if rule["type"] == "alerting"]
    files = [yaml.safe_load((RULES / name).read_text(encoding="utf-8")) for name in ("alerts.yaml", "slo.yaml")]
    shipped = {rule.get("alert") for file in files for group in file["groups"] for rule in group["rules"]} - {None}
    assert shipped <= {rule["name"] for rule in rules}
    return {rule["name"]: rule["state"] for rule in rules}


def see_run(grafana: httpx2.Client, kind: str, said: str) -> dict[str, Any]:
    """The newest run of a kind is an annotation that says so, and its link opens its report; give the annotation."""
    found = _get(grafana, f"/api/annotations?tags=stack&tags={kind}&limit=10")
    assert found, f"no annotation of a {kind}"
    newest = max(found, key=lambda item: (item["time"], item["id"]))
    assert f"<b>{said}</b>" in newest["text"]
    link = _LINK.search(newest["text"])
    assert link is not None, newest["text"]
    # Not through Grafana: a browser follows it as it is.
    page = httpx2.get(unescape(link[1]), trust_env=False)
    assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html")
    assert link[2] in page.text
    return newest


def _get(grafana: httpx2.Client, path: str) -> Any:
    answer = grafana.get(path)
    assert answer.status_code == 200, f"{path}: HTTP {answer.status_code} {answer.text[:300]}"
    return answer.json()


def _every_panel(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [inner for panel in board["panels"] for inner in (panel, *panel.get("panels", ()))]


def _list_panels(board: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(panel["type"], panel["title"]) for panel in _every_panel(board)]


def _has_number(frame: Mapping[str, Any]) -> bool:
    columns = frame["data"]["values"][1:]
    return any(isinstance(value, int | float) for column in columns for value in column)

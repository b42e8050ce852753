"""The provisioning files: only keys that Grafana knows, fixed uids, nothing to edit, no secrets."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
import yaml

from stack.assets import asset_path

PROVISIONING = asset_path("grafana", "provisioning")
TEXT = {"type": "string", "minLength": 1}

# Source: https://grafana.com/docs/grafana/latest/administration/provisioning/ (keys we use, and none else).
DATASOURCES = {
    "type": "object",
    "required": ["apiVersion", "datasources"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": 1},
        "prune": {"type": "boolean"},
        "datasources": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "uid", "type", "access", "url", "isDefault", "editable"],
                "additionalProperties": False,
                "properties": {
                    "name": TEXT,
                    "uid": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,40}$"},
                    "type": {"const": "prometheus"},
                    "access": {"const": "proxy"},
                    "url": {"type": "string", "pattern": "^http://"},
                    "isDefault": {"type": "boolean"},
                    "editable": {"const": False},
                    "jsonData": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "httpMethod": {"enum": ["GET", "POST"]},
                            "prometheusType": {"const": "Prometheus"},
                            "timeInterval": TEXT,
                        },
                    },
                },
            },
        },
    },
}
DASHBOARDS = {
    "type": "object",
    "required": ["apiVersion", "providers"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": 1},
        "providers": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "type", "disableDeletion", "allowUiUpdates", "options"],
                "additionalProperties": False,
                "properties": {
                    "name": TEXT,
                    "type": {"const": "file"},
                    "disableDeletion": {"const": True},
                    "allowUiUpdates": {"const": False},
                    "updateIntervalSeconds": {"type": "integer", "minimum": 10},
                    "options": {
                        "type": "object",
                        "required": ["path"],
                        "additionalProperties": False,
                        "properties": {"path": {"const": "/etc/grafana/dashboards"}},
                    },
                },
            },
        },
    },
}


def load(kind: str) -> list[dict]:
    return [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((PROVISIONING / kind).glob("*.yaml"))]


@pytest.mark.parametrize(("kind", "schema"), [("datasources", DATASOURCES), ("dashboards", DASHBOARDS)])
def test_the_files_hold_what_grafana_expects(kind, schema):
    documents = load(kind)
    assert documents
    for document in documents:
        jsonschema.validate(document, schema)


def test_there_is_one_default_data_source_and_every_dashboard_names_it():
    (source,) = [source for document in load("datasources") for source in document["datasources"]]
    assert (source["uid"], source["isDefault"]) == ("prometheus", True)
    for path in asset_path("grafana", "dashboards").glob("*.json"):
        named = set(re.findall(r'"type": "prometheus",\s+"uid": "([^"]+)"', path.read_text(encoding="utf-8")))
        assert named == {source["uid"]}


def test_dashboards_do_not_share_a_uid():
    uids = [
        json.loads(path.read_text(encoding="utf-8"))["uid"]
        for path in asset_path("grafana", "dashboards").glob("*.json")
    ]
    assert len(uids) == len(set(uids))


def test_nothing_secret_is_in_the_files():
    for path in PROVISIONING.rglob("*.yaml"):
        assert not re.search(r"(?i)password|secure|token|basicAuth", path.read_text(encoding="utf-8")), path


def test_grafana_fills_in_only_the_scrape_interval():
    used = {
        name
        for path in PROVISIONING.rglob("*.yaml")
        for line in path.read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith("#")
        for name in re.findall(r"\$\{?(\w+)", line)
    }
    assert used == {"STACK_SCRAPE_INTERVAL"}

from __future__ import annotations

import json

import pytest
import yaml

from stack.assets import asset_path
from stack.telemetry.scrape import render_prometheus_config, render_targets

TEMPLATE = "global:\n  scrape_interval: 5s\n  evaluation_interval: 5s\nscrape_configs: []\n"


def test_the_interval_is_put_in_for_scrapes_and_rules():
    assert render_prometheus_config(TEMPLATE, scrape_interval_seconds=15) == TEMPLATE.replace("5s", "15s")


def test_the_shipped_config_with_its_own_interval_is_itself():
    shipped = asset_path("prometheus", "prometheus.yaml").read_text(encoding="utf-8")
    assert render_prometheus_config(shipped, scrape_interval_seconds=5) == shipped


def test_alerts_are_sent_where_there_is_somebody_to_send_them_to():
    template = asset_path("prometheus", "prometheus.yaml").read_text()
    alone = yaml.safe_load(render_prometheus_config(template, scrape_interval_seconds=5))
    served = yaml.safe_load(render_prometheus_config(template, scrape_interval_seconds=5, has_alertmanager=True))
    assert "alerting" not in alone
    assert served == alone | {
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["alertmanager.metrics:9093"]}]}]}
    }


def test_a_config_without_the_two_lines_is_refused():
    with pytest.raises(ValueError, match="1 global interval lines instead of 2"):
        render_prometheus_config("global:\n  scrape_interval: 5s\n", scrape_interval_seconds=5)


def test_a_service_of_the_stack_gets_its_target():
    files = render_targets({"engine", "prometheus", "node-exporter"})
    assert json.loads(files["node.json"]) == [
        {"targets": ["node-exporter.metrics:9100"], "labels": {"instance": "node-exporter"}}
    ]


def test_a_service_that_is_not_part_of_the_stack_has_an_empty_file_and_not_a_dead_target():
    files = render_targets({"engine", "prometheus"})
    assert {name: json.loads(text) for name, text in files.items()} == {
        "node.json": [],
        "alertmanager.json": [],
        "grafana.json": [],
        "dcgm.json": [],
    }

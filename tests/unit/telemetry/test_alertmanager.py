"""How alerts are grouped, and that their address is sent to and nowhere else named."""

from __future__ import annotations

import re

import yaml

from stack.assets import asset_path
from stack.telemetry.alertmanager import render_alertmanager_config


def test_without_an_address_alerts_are_grouped_and_sent_nowhere():
    document = yaml.safe_load(render_alertmanager_config(None))
    assert document["receivers"] == [{"name": "stack"}]
    assert document["route"]["receiver"] == "stack"
    assert document["route"]["group_by"] == ["alertname"]


def test_an_address_is_told_of_the_end_too_and_survives_whatever_is_in_it():
    url = 'https://hooks.example/a"b#c?d={{x}}'
    (receiver,) = yaml.safe_load(render_alertmanager_config(url))["receivers"]
    assert receiver["webhook_configs"] == [{"url": url, "send_resolved": True}]


def test_while_the_engine_is_down_only_what_is_critical_is_told_beside_it():
    (rule,) = yaml.safe_load(render_alertmanager_config(None))["inhibit_rules"]
    alerts = asset_path("prometheus", "rules", "alerts.yaml").read_text()
    named = re.fullmatch('alertname="(.+)"', rule["source_matchers"][0])[1]
    assert f"alert: {named}" in alerts
    assert rule["target_matchers"] == ['alertname=~"Vllm.+"', 'severity!="critical"']

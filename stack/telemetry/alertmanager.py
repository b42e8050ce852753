"""Render what Alertmanager is told: how alerts are grouped, and where they are sent. Pure."""

from __future__ import annotations

import json

# One person at one machine: told soon, once, and again twice a day. While the engine is down, what follows from that is
# no news: only the other critical alerts are told beside it.
# Source: https://prometheus.io/docs/alerting/latest/configuration/ (the same in Alertmanager 0.25 and later).
_CONFIG = """\
route:
  receiver: stack
  group_by: [alertname]
  group_wait: 10s
  group_interval: 1m
  repeat_interval: 12h
inhibit_rules:
  - source_matchers: ['alertname="VllmEngineDown"']
    target_matchers: ['alertname=~"Vllm.+"', 'severity!="critical"']
receivers:
  - name: stack
"""


def render_alertmanager_config(webhook_url: str | None) -> str:
    """Give alertmanager.yaml.

    Args:
        webhook_url: Where alerts are sent, their end too; None sends them nowhere, and the page of Alertmanager shows
            them all the same.
    """
    if webhook_url is None:
        return _CONFIG
    return f"{_CONFIG}    webhook_configs:\n      - url: {json.dumps(webhook_url)}\n        send_resolved: true\n"

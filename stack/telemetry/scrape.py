"""Render what Prometheus is told about one project: how often to scrape, and which services it has."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from types import MappingProxyType

# Each optional service has a job in prometheus.yaml that reads its targets from a file, so that a service
# that is not part of a stack is no target at all instead of one that is down.
# The address is the service's alias on the network that it shares with Prometheus (compose/compose.yaml):
# on the network that publishes ports, containers cannot reach one another.
OPTIONAL_TARGETS = MappingProxyType(
    {
        "node-exporter": ("node.json", "node-exporter.metrics:9100"),
        "alertmanager": ("alertmanager.json", "alertmanager.metrics:9093"),
        "grafana": ("grafana.json", "grafana.dashboards:3000"),
        "dcgm-exporter": ("dcgm.json", "dcgm-exporter.metrics:9400"),
    }
)

_ALERTING = """
alerting:
  alertmanagers:
    - static_configs:
        - targets: ["{address}"]
"""
_INTERVAL = re.compile(r"^(  (?:scrape|evaluation)_interval: )\S+$", re.MULTILINE)


def render_targets(services: Collection[str]) -> dict[str, str]:
    """Give the target files of a project: file name -> JSON text.

    Every optional job gets its file, an empty list where the service is not part of the stack, so that a
    service taken out of a running stack ceases to be a target.

    Args:
        services: The Compose services of the stack.

    Source:
        https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config
    """
    return {
        file_name: json.dumps([{"targets": [address], "labels": {"instance": service}}] if service in services else [])
        + "\n"
        for service, (file_name, address) in OPTIONAL_TARGETS.items()
    }


def render_prometheus_config(template: str, *, scrape_interval_seconds: int, has_alertmanager: bool = False) -> str:
    """Give prometheus.yaml with another scrape and evaluation interval, and with the Alertmanager where there is one.

    Args:
        template: The shipped prometheus.yaml.
        scrape_interval_seconds: At most 20: the recording rules look back over one minute, and a rate needs
            at least two samples there, three where one is lost.
        has_alertmanager: Whether alerts are sent to one.

    Raises:
        ValueError: The template has not exactly one line for each of the two intervals.
    """
    text, replaced = _INTERVAL.subn(rf"\g<1>{scrape_interval_seconds}s", template)
    if replaced != 2:
        raise ValueError(f"prometheus.yaml has {replaced} global interval lines instead of 2")
    return text + (_ALERTING.format(address=OPTIONAL_TARGETS["alertmanager"][1]) if has_alertmanager else "")

"""Prometheus and Grafana as the checks ask for them: rooms do not know one another, so their words meet here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stack.checks.smoke.target import RuleState, TargetState
from stack.telemetry.grafana_api import GrafanaApi
from stack.telemetry.prometheus_api import PrometheusApi

# Nobody waits for a group that is judged this seldom: after a start its first turn comes that much later.
_SELDOM_SECONDS = 30.0


class PrometheusFacts:
    """Prometheus as the checks ask for it.

    Args:
        api: The client.
    """

    def __init__(self, api: PrometheusApi) -> None:
        self.api = api

    def targets(self) -> Sequence[TargetState]:
        """Give every scrape target."""
        return [TargetState(item.job, item.url, item.health, item.last_error) for item in self.api.fetch_targets()]

    def rules(self) -> Sequence[RuleState]:
        """Give every rule that has been judged, or will be within seconds."""
        return [
            RuleState(item.group, item.name, item.health, item.last_error)
            for item in self.api.fetch_rules()
            if item.health != "unknown" or item.interval_seconds < _SELDOM_SECONDS
        ]

    def query(self, expression: str) -> Sequence[tuple[Mapping[str, str], float]]:
        """Give the series of an instant query."""
        return [(series.labels, series.value) for series in self.api.query(expression)]


class GrafanaFacts:
    """Grafana as the checks ask for it.

    Args:
        api: The client.
    """

    def __init__(self, api: GrafanaApi) -> None:
        self._api = api

    def health(self) -> str:
        """Give the state of Grafana's database."""
        return self._api.fetch_health().database

    def datasource_health(self) -> tuple[str, str]:
        """Give status and message of the data source's own test."""
        found = self._api.fetch_datasource_health("prometheus")
        return found.status, found.message

    def dashboards(self) -> Sequence[str]:
        """Give the uids of the dashboards that are there."""
        return [hit.uid for hit in self._api.fetch_dashboards()]

"""Which alerts fire now, asked with nothing but the standard library: `stack status` must be quick.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/#alerts (the same in Prometheus 2.42 and 3).
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PAGE = "/api/v1/alerts"
SEVERITIES = ("critical", "warning", "info")
"""The worst first."""
# Prometheus tells the time in nanoseconds; to the second is what a person reads.
_SECONDS = len("2026-11-22T01:02:03")


@dataclass(frozen=True)
class FiringAlert:
    """An alert that fires.

    Attributes:
        name: The rule's name.
        severity: `critical`, `warning`, `info`, or an empty string where its rule says none.
        since: When its condition began to hold, ISO 8601 in UTC, to the second.
        summary: What is wrong, in words.
        labels: Its other labels.
    """

    name: str
    severity: str
    since: str
    summary: str
    labels: Mapping[str, str]


def fetch_firing(port: int, *, timeout_seconds: float, host: str = "127.0.0.1") -> tuple[FiringAlert, ...] | None:
    """Give the alerts that fire, the worst first; None where Prometheus does not say so in time.

    Args:
        port: The host's port of Prometheus.
        timeout_seconds: For connecting and for each read.
        host: The host's address.
    """
    connection = http.client.HTTPConnection(host, port, timeout=timeout_seconds)
    try:
        connection.request("GET", _PAGE)
        answer = json.loads(connection.getresponse().read())
        found = [_parse(item) for item in answer["data"]["alerts"] if item["state"] == "firing"]
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError):
        return None
    finally:
        connection.close()
    return tuple(sorted(found, key=_place))


def _parse(item: Mapping[str, Any]) -> FiringAlert:
    labels = {str(name): str(value) for name, value in item["labels"].items()}
    summary = str((item.get("annotations") or {}).get("summary", ""))
    since = f"{str(item['activeAt'])[:_SECONDS]}+00:00"
    return FiringAlert(labels.pop("alertname"), labels.pop("severity", ""), since, summary, labels)


def _place(alert: FiringAlert) -> tuple[int, str, str, list[tuple[str, str]]]:
    rank = SEVERITIES.index(alert.severity) if alert.severity in SEVERITIES else len(SEVERITIES)
    return rank, alert.since, alert.name, sorted(alert.labels.items())

"""Ask Prometheus: is it ready, what does it scrape, are its rules healthy, what does a query give.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/ (the same in Prometheus 2.42 and 3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2

from stack.errors import ServiceApiError
from stack.telemetry.service_http import check_status, fetch_response, parse_json, read_answer

SERVICE = "prometheus"
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Target:
    """One scrape target.

    Attributes:
        job: The scrape job.
        instance: The target's `instance` label.
        url: What Prometheus asks.
        health: `up`, `down`, or `unknown` before the first scrape.
        last_error: Why the last scrape failed, or an empty string.
    """

    job: str
    instance: str
    url: str
    health: str
    last_error: str


@dataclass(frozen=True)
class Rule:
    """One recording or alerting rule.

    Attributes:
        group: Its rule group.
        name: What it records, or the alert's name.
        kind: `recording` or `alerting`.
        health: `ok`, `err`, or `unknown` before its first evaluation.
        last_error: Why the last evaluation failed, or an empty string.
        interval_seconds: How often its group is judged; the first time comes up to this long after the start.
    """

    group: str
    name: str
    kind: str
    health: str
    last_error: str
    interval_seconds: float = 0.0


@dataclass(frozen=True)
class Alert:
    """One alert that is pending or firing.

    Attributes:
        labels: Its labels; `alertname` is among them.
        state: `pending` or `firing`.
        active_at: Since when, RFC 3339.
        summary: The rule's summary, or an empty string.
    """

    labels: Mapping[str, str]
    state: str
    active_at: str
    summary: str


@dataclass(frozen=True)
class Series:
    """One series of a query's result.

    Attributes:
        labels: Its labels; empty for a scalar.
        points: (Unix time in seconds, value) pairs, one for an instant query.
    """

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def value(self) -> float:
        """The latest value."""
        return self.points[-1][1]


class PrometheusApi:
    """A client of one Prometheus.

    Args:
        client: The HTTP client to ask with.
        base_url: Where Prometheus is published, `http://127.0.0.1:9090`.
        timeout_seconds: How long to wait for one answer.
    """

    def __init__(self, client: httpx2.Client, base_url: str, *, timeout_seconds: float = 5.0) -> None:
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._timeout_seconds = timeout_seconds

    def is_ready(self) -> bool:
        """Tell whether Prometheus answers queries; False also where nothing answers at all."""
        try:
            url = f"{self._base_url}/-/ready"
            return fetch_response(self._client, SERVICE, url, timeout_seconds=self._timeout_seconds).is_success
        except ServiceApiError:
            return False

    def fetch_build_info(self) -> dict[str, str]:
        """Give `version`, `revision` and the rest of Prometheus' build."""
        return self._ask("status/buildinfo", lambda data: {key: str(value) for key, value in data.items()})

    def fetch_runtime_info(self) -> dict[str, str]:
        """Give `storageRetention` and what else it tells of how it runs."""
        return self._ask("status/runtimeinfo", lambda data: {key: str(value) for key, value in data.items()})

    def fetch_targets(self) -> tuple[Target, ...]:
        """Give every active target, by job and instance."""
        found = self._ask("targets", _parse_targets, params={"state": "active"})
        return tuple(sorted(found, key=lambda target: (target.job, target.instance)))

    def fetch_rules(self) -> tuple[Rule, ...]:
        """Give every rule, in the order of its files."""
        return self._ask("rules", _parse_rules)

    def fetch_alerts(self) -> tuple[Alert, ...]:
        """Give every alert that is pending or firing."""
        return self._ask("alerts", lambda data: tuple(_parse_alert(item) for item in data["alerts"]))

    def fetch_names(self) -> tuple[str, ...]:
        """Give the name of every metric that it has samples of."""
        return self._ask("label/__name__/values", lambda data: tuple(str(name) for name in data))

    def query(self, expr: str, *, at_seconds: float | None = None) -> tuple[Series, ...]:
        """Give the value of an expression now, or at a Unix time.

        Raises:
            ServiceApiError: Prometheus does not answer, or refuses the expression.
        """
        form = {"query": expr} | ({} if at_seconds is None else {"time": f"{at_seconds:.3f}"})
        return self._ask("query", _parse_result, form=form)

    def query_range(
        self, expr: str, *, start_seconds: float, end_seconds: float, step_seconds: float
    ) -> tuple[Series, ...]:
        """Give the values of an expression between two Unix times."""
        form = {
            "query": expr,
            "start": f"{start_seconds:.3f}",
            "end": f"{end_seconds:.3f}",
            "step": f"{step_seconds:g}",
        }
        return self._ask("query_range", _parse_result, form=form)

    def _ask(
        self,
        path: str,
        read: Callable[[Any], _Read],
        *,
        params: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> _Read:
        url = f"{self._base_url}/api/v1/{path}"
        response = fetch_response(
            self._client,
            SERVICE,
            url,
            method="POST" if form else "GET",
            params=params,
            form=form,
            timeout_seconds=self._timeout_seconds,
        )
        # Prometheus explains a refused query in JSON with status 400 or 422; a proxy's error page is no JSON.
        if not response.is_success and not _is_json(response):
            check_status(response, SERVICE, url)
        answer = parse_json(response, SERVICE, url)
        if not isinstance(answer, dict) or answer.get("status") != "success":
            said = answer.get("error") if isinstance(answer, dict) else None
            raise ServiceApiError(SERVICE, url, said or f"HTTP {response.status_code} without a result")
        return read_answer(answer.get("data"), read, SERVICE, url)


def _is_json(response: httpx2.Response) -> bool:
    return response.headers.get("content-type", "").startswith("application/json")


def _parse_targets(data: Mapping[str, Any]) -> list[Target]:
    return [_parse_target(item) for item in data["activeTargets"]]


def _parse_rules(data: Mapping[str, Any]) -> tuple[Rule, ...]:
    return tuple(_parse_rule(group, item) for group in data["groups"] for item in group["rules"])


def _parse_target(item: Mapping[str, Any]) -> Target:
    labels = item["labels"]
    return Target(
        job=labels.get("job", ""),
        instance=labels.get("instance", ""),
        url=item["scrapeUrl"],
        health=item["health"],
        last_error=item.get("lastError", ""),
    )


def _parse_rule(group: Mapping[str, Any], item: Mapping[str, Any]) -> Rule:
    return Rule(
        group=group["name"],
        name=item["name"],
        kind=item["type"],
        health=item["health"],
        last_error=item.get("lastError", ""),
        interval_seconds=float(group.get("interval", 0.0)),
    )


def _parse_alert(item: Mapping[str, Any]) -> Alert:
    return Alert(
        labels={str(name): str(value) for name, value in item["labels"].items()},
        state=item["state"],
        active_at=item["activeAt"],
        summary=str(item.get("annotations", {}).get("summary", "")),
    )


def _parse_result(data: Mapping[str, Any]) -> tuple[Series, ...]:
    kind, result = data["resultType"], data["result"]
    if kind == "matrix":
        return tuple(Series(item["metric"], _parse_points(item["values"])) for item in result)
    if kind == "vector":
        return tuple(Series(item["metric"], _parse_points([item["value"]])) for item in result)
    if kind == "scalar":
        return (Series({}, _parse_points([result])),)
    return ()


def _parse_points(pairs: list[list[Any]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(at), float(value)) for at, value in pairs)

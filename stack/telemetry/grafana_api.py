"""Ask Grafana: is it healthy, which dashboards and data sources has it, what do its annotations say.

Source: https://grafana.com/docs/grafana/latest/developer-resources/api-reference/http-api/ (12 and 13).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2

from stack.errors import ServiceApiError
from stack.telemetry.service_http import check_status, fetch_response, parse_json, read_answer

SERVICE = "grafana"
_ALL_DASHBOARDS = "5000"
_PASSWORD_HINT = "run `stack up`, which sets this project's password in Grafana"
_Read = TypeVar("_Read")


class GrafanaLoginError(ServiceApiError):
    """Grafana answers, and refuses our user or password."""


@dataclass(frozen=True)
class GrafanaHealth:
    """What `/api/health` says: the state of its `database` (`ok`), its `version` and `commit`."""

    database: str
    version: str
    commit: str


@dataclass(frozen=True)
class DashboardHit:
    """One dashboard that Grafana knows."""

    uid: str
    title: str
    url: str


@dataclass(frozen=True)
class DatasourceHealth:
    """Whether a data source works, in Grafana's own words: `status` (`OK` or `ERROR`) and `message`."""

    status: str
    message: str

    @property
    def is_ok(self) -> bool:
        """Whether the data source reaches its service."""
        return self.status == "OK"


@dataclass(frozen=True)
class Annotation:
    """One annotation.

    Attributes:
        annotation_id: Grafana's number for it.
        text: What it says.
        tags: Its tags.
        start_seconds: Unix time of its beginning.
        end_seconds: Unix time of its end, equal to the beginning for a moment.
    """

    annotation_id: int
    text: str
    tags: tuple[str, ...]
    start_seconds: float
    end_seconds: float


class GrafanaApi:
    """A client of one Grafana.

    Args:
        client: The HTTP client to ask with.
        base_url: Where Grafana is published, `http://127.0.0.1:3000`.
        user: The user to sign in as.
        password: Its password; shown nowhere.
        timeout_seconds: How long to wait for one answer.
    """

    def __init__(
        self, client: httpx2.Client, base_url: str, *, user: str, password: str, timeout_seconds: float = 5.0
    ) -> None:
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._auth = httpx2.BasicAuth(user, password)
        self._timeout_seconds = timeout_seconds

    def is_ready(self) -> bool:
        """Tell whether Grafana answers and its database works; False also where nothing answers at all."""
        try:
            return self.fetch_health().database == "ok"
        except ServiceApiError:
            return False

    def fetch_health(self) -> GrafanaHealth:
        """Give Grafana's own health; needs no password."""
        return self._json("GET", "/api/health", _parse_health)

    def fetch_dashboards(self) -> tuple[DashboardHit, ...]:
        """Give every dashboard, by uid."""
        params = {"type": "dash-db", "limit": _ALL_DASHBOARDS}
        found = self._json("GET", "/api/search", _parse_hits, params=params)
        return tuple(sorted(found, key=lambda hit: hit.uid))

    def fetch_dashboard(self, uid: str) -> dict[str, Any]:
        """Give a dashboard as Grafana holds it: `dashboard` (the model) and `meta` (`provisioned`, …)."""
        return self._json("GET", f"/api/dashboards/uid/{uid}", dict)

    def fetch_datasource_health(self, uid: str) -> DatasourceHealth:
        """Give whether a data source reaches its service; one that does not is a result, not an error.

        Raises:
            ServiceApiError: Grafana does not answer, or has no such data source.
        """
        url = f"{self._base_url}/api/datasources/uid/{uid}/health"
        response = self._ask("GET", url)
        # A data source that is there but does not work answers 400 with its own status and message.
        if response.status_code != httpx2.codes.BAD_REQUEST:
            check_status(response, SERVICE, url)
        return read_answer(parse_json(response, SERVICE, url), _parse_datasource_health, SERVICE, url)

    def fetch_annotations(self, *, tags: Sequence[str] = (), limit: int = 100) -> tuple[Annotation, ...]:
        """Give the annotations that have all these tags, the latest first."""
        params: list[tuple[str, str]] = [("limit", str(limit)), ("type", "annotation")]
        query = httpx2.QueryParams(params + [("tags", tag) for tag in tags])
        return self._json("GET", f"/api/annotations?{query}", _parse_annotations)

    def create_annotation(
        self, text: str, *, tags: Sequence[str], start_seconds: float, end_seconds: float | None = None
    ) -> int:
        """Write an annotation that shows on every dashboard asking for one of its tags; give its number.

        Args:
            text: What happened; never a prompt or a secret.
            tags: `stack` and what it is (`boot`, `smoke`, `replay`).
            start_seconds: Unix time of its beginning.
            end_seconds: Unix time of its end; None for a moment.
        """
        body: dict[str, Any] = {"text": text, "tags": list(tags), "time": _milliseconds(start_seconds)}
        if end_seconds is not None:
            body["timeEnd"] = _milliseconds(end_seconds)
        return self._json("POST", "/api/annotations", lambda answer: int(answer["id"]), body=body)

    def _ask(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> httpx2.Response:
        return fetch_response(
            self._client,
            SERVICE,
            url,
            method=method,
            params=params,
            body=body,
            auth=self._auth,
            timeout_seconds=self._timeout_seconds,
        )

    def _json(self, method: str, path: str, read: Callable[[Any], _Read], **request: Any) -> _Read:
        url = f"{self._base_url}{path}"
        response = self._ask(method, url, **request)
        if response.status_code == httpx2.codes.UNAUTHORIZED:
            raise GrafanaLoginError(SERVICE, url, "Grafana refuses our password", hint=_PASSWORD_HINT)
        check_status(response, SERVICE, url)
        return read_answer(parse_json(response, SERVICE, url), read, SERVICE, url)


def _parse_health(answer: Mapping[str, Any]) -> GrafanaHealth:
    return GrafanaHealth(*(str(answer.get(key, "")) for key in ("database", "version", "commit")))


def _parse_hits(answer: Sequence[Mapping[str, Any]]) -> list[DashboardHit]:
    return [DashboardHit(hit["uid"], hit["title"], hit.get("url", "")) for hit in answer]


def _parse_datasource_health(answer: Mapping[str, Any]) -> DatasourceHealth:
    return DatasourceHealth(str(answer["status"]), str(answer.get("message", "")))


def _parse_annotations(answer: Sequence[Mapping[str, Any]]) -> tuple[Annotation, ...]:
    return tuple(_parse_annotation(item) for item in answer)


def _parse_annotation(item: Mapping[str, Any]) -> Annotation:
    start = float(item["time"])
    return Annotation(
        annotation_id=int(item["id"]),
        text=str(item.get("text", "")),
        tags=tuple(item.get("tags") or ()),
        start_seconds=start / 1000,
        end_seconds=float(item.get("timeEnd") or start) / 1000,
    )


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)

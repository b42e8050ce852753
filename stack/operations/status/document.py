"""The JSON document of `stack status`, and of `stack up`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stack.history.records import BootRecord
from stack.operations.status.read import Status
from stack.operations.status.verdict import Verdict

SCHEMA_VERSION = 1


def build_document(status: Status, verdict: Verdict, secrets: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Give the JSON document; secrets only where they were asked for.

    - `state`: `up`, `degraded`, `down` or `foreign`.
    - `reasons`: what keeps it from being up: `service` (null for the whole stack), `message`, `hint`.
    - `drift`: in what the running stack differs from stack.toml and stack.lock: `service`, `what`, `wanted`, `found`
      (null where there is none), `hint` (the command that mends it).
    - `foreign`: containers under the project's name that this project did not make: `name`, `image`, `state`, `why`.
    - `alerts`: the alerts that fire, the worst first: `name`, `severity`, `since`, `summary`, `labels`; null where
      Prometheus does not tell.
    - `left_out`: services that the configuration asks for and this machine cannot run, with the reason.
    - `services`, `engine` (null where no engine's container is), `boot` and `smoke` (null where none is known).
    """
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "project": status.project,
        "state": verdict.state,
        "reasons": [vars(reason) for reason in verdict.reasons],
        "drift": [vars(drift) for drift in verdict.drift],
        "foreign": [vars(item) for item in status.foreign],
        "alerts": None if verdict.alerts is None else [vars(alert) for alert in verdict.alerts],
        "left_out": dict(verdict.left_out),
        "services": [vars(service) for service in status.services],
        "engine": None if status.engine is None else vars(status.engine),
        "boot": None if status.boot is None else _build_boot(status.boot),
        "smoke": None
        if status.smoke is None
        else {"passed": status.smoke.passed, "started_at": status.smoke.started_at.isoformat()},
    }
    if secrets is not None:
        document["secrets"] = dict(secrets)
    return document


def _build_boot(boot: BootRecord) -> dict[str, Any]:
    return {
        "id": boot.id,
        "started_at": boot.start.started_at.isoformat(),
        "outcome": boot.outcome,
        "total_seconds": boot.total_seconds,
        "cache_state": boot.cache_state,
        "phases": dict(boot.phases),
        "log_path": boot.start.log_path,
    }

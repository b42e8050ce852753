"""The JSON documents of `stack history` and `stack report`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stack.history.query import SMOKE, Entry
from stack.history.records import SmokeRecord, compare_phases
from stack.operations.history.runs import RunDetail

SCHEMA_VERSION = 1


def build_list_document(project: str, entries: Sequence[Entry]) -> dict[str, Any]:
    """Give the document of a list, the newest run first.

    - `name`: what `stack history RUN` and `stack report RUN` take; `kind`, `number` are its parts.
    - `started_at`: ISO 8601 in UTC.
    - `passed`: null for a boot that has not ended, or whose process was killed.
    - `boot`: the boot itself, or the one that was judged: `name`, `outcome` (`ready`, `failed`, `interrupted`, null),
      `commit` with `commit_level` and `rests_on`, `version`, `model`, `revision`, `device`, `host`, `total_seconds`,
      `cache_state`, `phases` in seconds; null where history does not know it.
    - `smoke`: the smoke itself, or the newest one of the boot: `name`, `started_at`, `passed`, `failed` (the names of
      the checks that failed); null where there is none, and for other runs.
    """
    return {"schema_version": SCHEMA_VERSION, "project": project, "runs": [build_entry(entry) for entry in entries]}


def build_run_document(detail: RunDetail) -> dict[str, Any]:
    """Give the document of one run: as in a list, and more.

    - `image_id`, `image_digest`, `argv`, `lock` (the text of stack.lock) and `log_path` of the boot, or null.
    - `related`: the names of smokes and other runs of the same boot.
    - `compared_with`: the name of the boot of the same kind before it, or null, and `deltas`: per phase `seconds` and
      `previous_seconds`.
    - `earlier`: boots of the same kind before it: `name`, `started_at`, `total_seconds`.
    - `checks`: those of the smoke: `check`, `status`, `message`, `seconds`, `hint`, `data`.
    - `report`: the report of any other run.
    """
    entry, earlier = detail.entry, detail.earlier
    boot = entry.boot
    deltas = compare_phases(boot.phases, earlier[0].phases) if boot is not None and earlier else []
    return {
        "schema_version": SCHEMA_VERSION,
        "project": detail.project,
        **build_entry(entry),
        "image_id": boot.start.image_id if boot else None,
        "image_digest": boot.start.image_digest if boot else None,
        "argv": read_argv(entry),
        "lock": detail.lock_text,
        "log_path": str(detail.log_path) if detail.log_path else None,
        "related": list(detail.related),
        "compared_with": f"boot-{earlier[0].id}" if deltas else None,
        "deltas": [vars(delta) for delta in deltas],
        "earlier": [
            {
                "name": f"boot-{other.id}",
                "started_at": other.start.started_at.isoformat(),
                "total_seconds": other.total_seconds,
            }
            for other in earlier
        ],
        "checks": [dict(item) for item in read_checks(entry.smoke.report)] if entry.smoke else None,
        "report": dict(entry.run.report) if entry.run else None,
    }


def build_entry(entry: Entry) -> dict[str, Any]:
    """Give one run as it stands in a list."""
    return {
        "name": entry.name,
        "kind": entry.kind,
        "number": entry.number,
        "started_at": entry.started_at.isoformat(),
        "passed": entry.is_passed,
        "boot": _build_boot(entry),
        "smoke": None if entry.smoke is None else _build_smoke(entry.smoke),
    }


def read_failed(smoke: SmokeRecord) -> list[str]:
    """Give the names of the checks that failed."""
    return [str(item.get("check")) for item in read_checks(smoke.report) if item.get("status") == "fail"]


def read_checks(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give the checks of a report; what another version may have written there instead is left out."""
    checks = report.get("checks")
    return [item for item in checks if isinstance(item, Mapping)] if isinstance(checks, list) else []


def read_argv(entry: Entry) -> list[str] | None:
    """Give the engine's command line, where the boot is known."""
    return [str(part) for part in entry.boot.start.args.get("argv", [])] if entry.boot is not None else None


def _build_boot(entry: Entry) -> dict[str, Any] | None:
    boot = entry.boot
    if boot is None:
        return None
    start = boot.start
    return {
        "name": f"boot-{boot.id}",
        "started_at": start.started_at.isoformat(),
        "outcome": boot.outcome,
        "commit": start.commit,
        "commit_level": start.commit_level,
        "rests_on": start.rests_on,
        "version": start.version,
        "model": start.model,
        "revision": start.revision,
        "device": start.device,
        "host": dict(start.host),
        "total_seconds": boot.total_seconds,
        "cache_state": boot.cache_state,
        "phases": dict(boot.phases),
    }


def _build_smoke(smoke: SmokeRecord) -> dict[str, Any]:
    return {
        "name": f"{SMOKE}-{smoke.id}",
        "started_at": smoke.started_at.isoformat(),
        "passed": smoke.passed,
        "failed": read_failed(smoke),
    }

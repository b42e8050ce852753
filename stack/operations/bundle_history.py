"""The history that a bundle carries: what was booted and judged, without prompts, paths and secrets.

Here it is one run of the kind `bundle`: boots of another machine must not pass for this one's, neither in
`stack status` nor in what is expected of the next boot.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from stack.bundles.problem import BundleError
from stack.history.records import BootRecord
from stack.history.store import History, open_history

KIND = "bundle"
_MOST_BOOTS = 50
_MOST_BYTES = 4 * 1024**2


def build_history_text(path: Path) -> str:
    """Give the history as JSON; an empty one where there is none.

    Raises:
        StackError: It is damaged.
    """
    history = open_history(path) if path.is_file() else None
    boots = [_describe(history, boot) for boot in history.recent_boots(_MOST_BOOTS)] if history else []
    return json.dumps({"schema_version": 1, "boots": boots}, indent=1) + "\n"


def _describe(history: History, boot: BootRecord) -> dict[str, Any]:
    start, smoke = boot.start, history.last_smoke(boot.id)
    return {
        "started_at": start.started_at.isoformat(),
        "commit": start.commit,
        "commit_level": start.commit_level,
        "version": start.version,
        "image_digest": start.image_digest,
        "image_id": start.image_id,
        # A directory's path is of one machine.
        "model": PurePosixPath(start.model).name if start.model.startswith("/") else start.model,
        "revision": start.revision,
        "device": start.device,
        "cache_state": boot.cache_state,
        "outcome": boot.outcome,
        "total_seconds": boot.total_seconds,
        "phases": dict(boot.phases),
        "smoke": _describe_smoke(smoke) if smoke is not None else None,
    }


def _describe_smoke(smoke: Any) -> dict[str, Any]:
    """Give which checks passed; what they say may hold prompts and answers."""
    checks = {str(item.get("check")): str(item.get("status")) for item in smoke.report.get("checks", [])}
    return {"passed": smoke.passed, "started_at": smoke.started_at.isoformat(), "checks": checks}


def parse_history(body: bytes) -> Mapping[str, Any]:
    """Read what a bundle says of its history.

    Raises:
        BundleError: It is none.
    """
    try:
        document = json.loads(body) if len(body) <= _MOST_BYTES else None
        boots = document["boots"]
        if document["schema_version"] != 1 or not all(isinstance(boot, dict) for boot in boots):
            raise ValueError("of another form")
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise BundleError("the bundle's history cannot be read", hint="save the bundle anew") from err
    return {"schema_version": 1, "boots": boots[:_MOST_BOOTS]}


def import_history(path: Path, document: Mapping[str, Any], bundle_sha256: str, created: str) -> bool:
    """Note a bundle's history in this project's; tell whether it was new.

    Raises:
        StackError: The history cannot be written.
    """
    history = open_history(path)
    known = {run.report.get("sha256") for run in history.list_runs(KIND, 1000)}
    if bundle_sha256 in known or not document["boots"]:
        return False
    smokes = [boot.get("smoke") or {} for boot in document["boots"]]
    report = {**document, "sha256": bundle_sha256, "created": created}
    now = datetime.datetime.now(datetime.UTC)
    history.note_run(KIND, now, None, any(smoke.get("passed") is True for smoke in smokes), report)
    return True

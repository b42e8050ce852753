"""The history that a bundle carries: what was booted and judged, without prompts, paths and secrets.

Here it is one run of the kind `bundle`: boots of another machine must not pass for this one's, neither in
`stack status` nor in what is expected of the next boot.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stack.bundles.manifest import Word
from stack.bundles.problem import BundleError
from stack.history.records import BootRecord, CacheState, CommitLevel, Outcome
from stack.history.store import History, open_history

KIND = "bundle"
_MOST_BOOTS = 50
_MOST_BYTES = 4 * 1024**2
_HINT = "save the bundle anew"

_T = TypeVar("_T")
_Few = Annotated[dict[Word, _T], Field(max_length=100)]


def build_history_text(path: Path) -> str:
    """Give the history as JSON; an empty one where there is none.

    Raises:
        StackError: It is damaged.
    """
    history = open_history(path) if path.is_file() else None
    boots = [_describe(history, boot) for boot in history.recent_boots(_MOST_BOOTS)] if history else []
    # What another version noted in its own way must not spoil the bundle for whoever loads it.
    boots = [boot for boot in boots if _is_sound(boot)]
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


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Smoke(_Said):
    passed: bool
    started_at: Word
    checks: _Few[Word]


class _Boot(_Said):
    started_at: Word
    commit: Word | None
    commit_level: CommitLevel
    version: Word | None
    image_digest: Word | None
    image_id: Word
    model: Word
    revision: Word | None
    device: Word
    cache_state: CacheState
    outcome: Outcome | None
    total_seconds: float | None
    phases: _Few[float]
    smoke: _Smoke | None


class _History(_Said):
    schema_version: Literal[1]
    boots: list[_Boot] = Field(max_length=_MOST_BOOTS)


def _is_sound(boot: Mapping[str, Any]) -> bool:
    try:
        _Boot.model_validate(boot)
    except ValidationError:
        return False
    return True


def parse_history(body: bytes) -> Mapping[str, Any]:
    """Read what a bundle says of its history; nothing but what `build_history_text` writes is taken.

    Raises:
        BundleError: It is none.
    """
    if len(body) > _MOST_BYTES:
        raise BundleError(f"the bundle's history has {len(body)} bytes, which none has", hint=_HINT)
    try:
        return _History.model_validate(json.loads(body)).model_dump()
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BundleError(f"the bundle's history cannot be read: {place}: {first['msg']}", hint=_HINT) from err
    except (ValueError, RecursionError) as err:
        raise BundleError("the bundle's history cannot be read", hint=_HINT) from err


def import_history(path: Path, document: Mapping[str, Any], bundle_sha256: str, created: str) -> bool:
    """Note a bundle's history in this project's; tell whether it was new.

    Raises:
        StackError: The history cannot be written.
    """
    history = open_history(path)
    known = {run.report.get("sha256") for run in history.list_runs(KIND, 1000)}
    if bundle_sha256 in known or not document["boots"]:
        return False
    # The newest smoke is of what the bundle holds; one that never was says nothing against it.
    verdicts = [boot["smoke"]["passed"] for boot in document["boots"] if boot["smoke"] is not None]
    report = {**document, "sha256": bundle_sha256, "created": created}
    history.note_run(KIND, datetime.datetime.now(datetime.UTC), None, all(verdicts[:1]), report)
    return True

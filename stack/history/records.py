"""What history keeps, as values: boots, smokes, other runs, locks, baselines, and how two boots compare."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

CommitLevel = Literal["verified", "claimed", "unknown"]
CacheState = Literal["warm", "cold", "none", "unknown"]
Outcome = Literal["ready", "failed", "interrupted"]


@dataclass(frozen=True)
class BootStart:
    """What is known of a boot when it starts.

    Attributes:
        kind: The key of `boot_kind`; boots of one kind can be compared.
        started_at: When, with its time zone.
        commit: The vLLM commit, where one is known.
        commit_level: How far that commit can be trusted.
        version: The vLLM version.
        image_digest: The image's digest, where it came from a registry.
        image_id: The local image ID.
        model: The model's id or directory.
        revision: The model's revision.
        device: `cuda` or `cpu`.
        args: The engine args, without any secret.
        log_path: Where the boot's log is kept.
        lock_sha256: The stack.lock that was written for it, as `History.note_lock` named it.
        host: What it ran on, by name, without serial numbers, addresses or host names.
        rests_on: What the commit was read from and what backs it, for people.
    """

    kind: str
    started_at: datetime
    commit: str | None
    commit_level: CommitLevel
    version: str | None
    image_digest: str | None
    image_id: str
    model: str
    revision: str | None
    device: str
    args: Mapping[str, Any] = field(default_factory=dict)
    log_path: str | None = None
    lock_sha256: str | None = None
    host: Mapping[str, str] = field(default_factory=dict)
    rests_on: str | None = None


@dataclass(frozen=True)
class BootRecord:
    """A boot as history knows it.

    Attributes:
        id: Its number; later boots have higher ones.
        start: What was known when it started.
        cache_state: Whether it found the compile caches warm.
        total_seconds: From start to the end of the boot; None while it runs or when its process was killed.
        outcome: How it ended; None as above.
        phases: Seconds by phase, in the order in which they were recorded.
    """

    id: int
    start: BootStart
    cache_state: CacheState
    total_seconds: float | None
    outcome: Outcome | None
    phases: Mapping[str, float]


@dataclass(frozen=True)
class SmokeRecord:
    """A smoke run as history knows it.

    Attributes:
        id: Its number; later runs have higher ones.
        boot_id: The boot it judged, where history knows it.
        started_at: When, with its time zone.
        passed: Whether no check failed.
        report: The JSON report.
    """

    id: int
    boot_id: int | None
    started_at: datetime
    passed: bool
    report: Mapping[str, Any]


@dataclass(frozen=True)
class RunRecord:
    """Anything else that was run and judged: a replay, an upgrade.

    Attributes:
        id: Its number among such runs of every kind; later runs have higher ones.
        kind: What it was, in one word: `replay`, `upgrade`.
        boot_id: The boot it judged, where history knows it.
        started_at: When, with its time zone.
        passed: What it was judged to be.
        report: The JSON report.
    """

    id: int
    kind: str
    boot_id: int | None
    started_at: datetime
    passed: bool
    report: Mapping[str, Any]


@dataclass(frozen=True)
class PassedLock:
    """A stack.lock with which a boot came up and passed a smoke test.

    Attributes:
        sha256: The hash of its text, 64 hex digits.
        text: The whole stack.lock, as it was written for the boot.
        passed_at: When the newest smoke test that it passed began, with its time zone.
        commit: The vLLM commit of that boot, where one is known.
        version: The vLLM version of that boot.
        model: The model's id or directory.
        revision: The model's revision.
    """

    sha256: str
    text: str
    passed_at: datetime
    commit: str | None
    version: str | None
    model: str
    revision: str | None


@dataclass(frozen=True)
class Baseline:
    """What a model revision scored when it was known to be right.

    Attributes:
        key: The key of `baseline_key`.
        scores: The scores and their tolerances, as the smoke test wrote them.
        created_at: When, with its time zone.
    """

    key: str
    scores: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True)
class PhaseDelta:
    """One phase in two boots of the same kind.

    Attributes:
        phase: The phase.
        seconds: In the current boot; None when it has no such phase.
        previous_seconds: In the previous boot; None when it had no such phase.
    """

    phase: str
    seconds: float | None
    previous_seconds: float | None


def boot_kind(*, image_id: str, model: str, revision: str | None, args: Mapping[str, Any], device: str) -> str:
    """Give the key that boots share when their phases can be compared; the order of args does not matter."""
    return _fingerprint([image_id, model, revision, dict(args), device])


def baseline_key(*, model: str, revision: str | None, dtype: str, device: str) -> str:
    """Give the key of a model revision in one numeric mode on one device, readable and exact."""
    return json.dumps([model, revision, dtype, device], separators=(",", ":"))


def compare_phases(current: Mapping[str, float], previous: Mapping[str, float]) -> list[PhaseDelta]:
    """Compare two boots phase by phase, in the current one's order; what only the previous had comes last."""
    phases = [*current, *(phase for phase in previous if phase not in current)]
    return [PhaseDelta(phase, current.get(phase), previous.get(phase)) for phase in phases]


def _fingerprint(parts: list[Any]) -> str:
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]

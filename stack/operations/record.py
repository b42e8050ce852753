"""What `up` writes down for the next time: the lock, and the run metrics that Prometheus reads."""

from __future__ import annotations

import datetime
from pathlib import Path

from stack.config.lock import Lock, LockedEngine, LockedFile, LockedImage, LockedModel, merge, render_lock, write_lock
from stack.history.records import BootRecord, RunRecord, SmokeRecord
from stack.history.schema import DamagedHistoryError
from stack.history.store import History, open_history
from stack.images.identity import is_upstream
from stack.images.reference import parse_reference
from stack.models.snapshot import Snapshot
from stack.operations.bench.history import KIND as BENCH
from stack.operations.bench.history import read_stored_bench
from stack.operations.images.fetch import FetchedImage, ImageFetcher
from stack.operations.images.identify import EngineIdentity
from stack.operations.images.locked_build import keep_build, lock_build
from stack.operations.images.resolve import build_lock_key
from stack.operations.pin.lock import keep_found, keep_pin
from stack.operations.resolve import Resolved
from stack.operations.run_facts import find_image_expiry
from stack.operations.session import Session
from stack.telemetry.other_runs import RUNS_KEPT, StoredRun, render_other_runs
from stack.telemetry.run_metrics import (
    FAILED,
    PASSED,
    SKIPPED,
    BootRun,
    RunIdentity,
    SmokeRun,
    render_run_metrics,
    write_run_metrics,
)


def open_project_history(session: Session) -> History:
    """Give the project's history; a damaged one is set aside and said, and a new one begins.

    Raises:
        StackError: It was written by a newer version, or cannot be written.
    """
    try:
        return open_history(session.paths.history)
    except DamagedHistoryError as err:
        session.say(f"{err.message}; a new one begins, and nothing else is lost")
        return open_history(session.paths.history)


def write_lock_entries(
    session: Session, resolved: Resolved, fetcher: ImageFetcher, identity: EngineIdentity, snapshot: Snapshot
) -> str:
    """Write what was resolved into stack.lock; give the text that it has now."""
    device = resolved.device.device
    images = {
        build_lock_key(service, device): _lock_image(
            fetcher.fetched(service),
            device if service == "engine" else None,
            resolved.lock.images.get(build_lock_key(service, device)),
        )
        for service in fetcher.services()
        # An image named by its local ID is true on this machine only.
        if fetcher.fetched(service).need.wanted or fetcher.fetched(service).need.recipe
    }
    found = identity.identity
    engine = LockedEngine(
        commit=found.commit,
        commit_level=found.level,
        version=found.version,
        accepted=session.config.engine.accept,
    )
    engine = keep_pin(resolved.lock.engine, engine)
    records = {service: fetcher.read_record(service) for service in fetcher.services()}
    key, build = build_lock_key("engine", device), lock_build(records.get("engine"))
    builds = {key: keep_build(resolved.lock.builds.get(key), build)} if build is not None else {}
    lock = merge(resolved.lock, Lock(engine=engine, images=images, builds=builds, model=_lock_model(snapshot)))
    write_lock(session.lock_path, lock)
    return render_lock(lock)


def check_locked_files(lock: Lock, snapshot: Snapshot) -> None:
    """Refuse a snapshot that has other files than the lock names for its revision.

    Raises:
        ModelError: It has.
    """
    merge(lock, Lock(model=_lock_model(snapshot)))


def write_metrics(session: Session, history: History) -> Path:
    """Bring the run metrics up to date from the history."""
    boots = [boot for boot in history.recent_boots(20) if boot.outcome == "ready"]
    smoke = history.last_smoke()
    newest = boots[0].start if boots else None
    identity = None
    if newest is not None:
        identity = RunIdentity(
            commit=newest.commit or "",
            commit_level=newest.commit_level,
            version=newest.version or "",
            model=newest.model,
            revision=newest.revision or "",
            image_digest=newest.image_digest or newest.image_id,
            device=newest.device,
        )
    run = None
    if smoke is not None:
        words = {"pass": PASSED, "warn": PASSED, "fail": FAILED, "skip": SKIPPED}
        checks = {str(item["check"]): words[item["status"]] for item in smoke.report.get("checks", [])}
        seconds = float(smoke.report.get("seconds", 0.0))
        run = SmokeRun(smoke.started_at.timestamp() + seconds, seconds, checks, _read_drift(smoke))
    now = datetime.datetime.now(datetime.UTC)
    expiry = find_image_expiry(session, newest.device, now) if newest is not None else None
    runs = [_stored_run(one) for one in history.list_runs(limit=RUNS_KEPT)]
    text = render_run_metrics(identity, [_boot_run(boot) for boot in boots], run, expiry)
    return write_run_metrics(session.paths.metrics, text + render_other_runs(runs))


def _read_drift(smoke: SmokeRecord) -> dict[str, float]:
    for item in smoke.report.get("checks", []):
        if item["check"] == "baseline":
            return {str(text): float(distance) for text, distance in item.get("data", {}).items()}
    return {}


def _boot_run(boot: BootRecord) -> BootRun:
    warm = {"warm": True, "cold": False}.get(boot.cache_state)
    start = boot.start
    seconds = boot.total_seconds or 0.0
    what = (start.commit or "", start.version or "", start.model)
    return BootRun(start.started_at.timestamp(), seconds, boot.phases, warm, *what)


def _stored_run(run: RunRecord) -> StoredRun:
    """Give what the metrics tell of a run; a report of a kind that measures nothing has no latencies."""
    commit = (run.report.get("engine") or {}).get("commit") or ""
    if run.kind == BENCH:
        return StoredRun(run.kind, run.started_at.timestamp(), run.passed, commit, *read_stored_bench(run.report))
    measured = run.report.get("now") or {}
    latencies = {
        (name, percentile): float(seconds)
        for name in ("ttft", "itl", "e2e")
        for percentile, seconds in (measured.get(f"{name}_seconds") or {}).items()
    }
    return StoredRun(run.kind, run.started_at.timestamp(), run.passed, commit, latencies)


def _lock_image(fetched: FetchedImage, device: str | None, old: LockedImage | None) -> LockedImage:
    need = fetched.need
    if need.source == "packages" or need.wanted is None:
        # Of several builds of one recipe the names differ by machine; the recipe is the same everywhere.
        name = need.recipe.tag if need.recipe is not None else need.name
        return LockedImage(reference=name, device=device, source="packages")
    reference = parse_reference(fetched.name) if "@" in fetched.name else need.wanted.reference
    digest = reference.digest or need.wanted.reference.digest
    published = need.wanted.published
    recorded = "public records" if published is not None and published.digest == digest else None
    if recorded is None and "@" in fetched.name and is_upstream(reference):
        recorded = "upstream"
    name = str(need.wanted.reference.with_digest(None))
    if recorded is None and old is not None and (old.reference, old.digest) == (name, digest):
        # Who said so once is not forgotten because a mirror serves the same bytes today.
        recorded = old.recorded_from
    new = LockedImage(
        reference=name,
        tag=need.wanted.reference.tag,
        digest=digest,
        device=device,
        source="registry",
        recorded_from=recorded or "registry",
    )
    return keep_found(old, new)


def _lock_model(snapshot: Snapshot) -> LockedModel | None:
    # A directory's path is true on this machine only.
    if snapshot.kind == "directory":
        return None
    files = {record.name: LockedFile(size_bytes=record.size_bytes, sha256=record.sha256) for record in snapshot.files}
    return LockedModel(id="demo" if snapshot.kind == "demo" else snapshot.id, revision=snapshot.revision, files=files)

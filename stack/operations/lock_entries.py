"""What `up` writes into stack.lock, and holds against it."""

from __future__ import annotations

from stack.config.lock import Lock, LockedEngine, LockedFile, LockedImage, LockedModel, merge, render_lock, write_lock
from stack.images.identity import is_upstream
from stack.images.reference import parse_reference
from stack.models.snapshot import Snapshot
from stack.operations.images.fetch import FetchedImage, ImageFetcher
from stack.operations.images.identify import EngineIdentity
from stack.operations.images.locked_build import keep_build, lock_build
from stack.operations.images.resolve import build_lock_key
from stack.operations.pin.lock import keep_found, keep_pin
from stack.operations.resolve import Resolved
from stack.operations.session import Session


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

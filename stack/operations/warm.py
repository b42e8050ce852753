"""`stack warm`: the model on the shared volume, unharmed, and in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stack.checks.cuda_support import DEFAULT_IMAGE, CudaImage
from stack.checks.gpus import read_gpus
from stack.config.host_paths import check_model_paths
from stack.config.lock import LOCK_NAME, Lock, load_lock
from stack.config.places import resolve_home
from stack.containers.daemon import read_image, read_mounted_folders
from stack.containers.render import LABEL_PROJECT
from stack.errors import ConfigError, HostError, ModelError
from stack.images.references import load_published_images
from stack.models.ensure import ensure_snapshot
from stack.models.find import find_snapshot
from stack.models.hub import is_commit
from stack.models.hub_access import is_hub_reachable, load_token
from stack.models.reference import parse_model_reference
from stack.models.snapshot import Snapshot, SnapshotKey
from stack.models.verify import check_snapshot
from stack.models.warm import PrunedFolder, list_snapshots, prune, read_into_page_cache
from stack.operations.choices import Choice, choose_device, choose_model
from stack.operations.images.engine_image import describe_cuda_image, find_cuda_image
from stack.operations.offline import REASON, demand_nothing, find_missing_model
from stack.operations.project import load_facts
from stack.operations.session import Session, has_gpu_runtime, load_project_lock


@dataclass(frozen=True)
class WarmResult:
    """What `warm` did.

    Attributes:
        choice: Which model, and why.
        snapshot: Its files.
        read_bytes: How much of it was read into memory.
        verified_files: How many files were hashed, where that was asked for.
        pruned: What was removed, where that was asked for.
    """

    choice: Choice
    snapshot: Snapshot
    read_bytes: int
    verified_files: int
    pruned: tuple[PrunedFolder, ...]


def run_warm(session: Session, *, verify: bool, prune_others: bool) -> WarmResult:
    """Have the model on the shared volume and in the page cache.

    Raises:
        ConfigError: The configuration names a directory or token that is not there.
        ModelError: It cannot be had, or a file is not what it should be.
    """
    config = session.config
    problems = check_model_paths(config)
    if problems:
        raise ConfigError(problems)
    lock = load_project_lock(session)
    locked, choice = lock.model, _choose_model(session, lock)
    session.say(str(choice))
    base = session.loaded.path.parent if session.loaded.path else None
    reference = parse_model_reference(choice.value, home=resolve_home(session.environ), base=base)
    locked_revision = locked.revision if locked is not None and locked.id == choice.value else None
    if config.model.revision is not None and is_commit(config.model.revision):
        locked_revision = config.model.revision
    wanted, volume = locked_revision or config.model.revision, config.model.volume
    if config.offline and find_snapshot(reference, revision=wanted, volume=volume) is None:
        demand_nothing(find_missing_model(reference, wanted, volume, lock))
    snapshot = ensure_snapshot(
        reference,
        revision=config.model.revision,
        volume=config.model.volume,
        endpoint=config.model.endpoint,
        token=load_token(config.model.token_file, session.environ),
        environ=session.environ,
        report=session.report,
        locked_revision=locked_revision,
        offline_reason=REASON if config.offline else None,
        deep=verify,
    )
    if verify and reference.kind == "directory":
        _verify(session, snapshot)
    read = read_into_page_cache(snapshot, session.report)
    pruned = tuple(prune(config.model.volume, _find_kept(session, snapshot))) if prune_others else ()
    return WarmResult(choice, snapshot, read, len(snapshot.files) if verify else 0, pruned)


def _choose_model(session: Session, lock: Lock) -> Choice:
    """Choose the model that `up` would choose."""
    config, gpus = session.config, read_gpus()
    image = _find_cuda_image(session, lock) if gpus.gpus else DEFAULT_IMAGE
    device = choose_device(config, gpus, image, lambda: _can_give_gpu(session))
    locked_id = lock.model.id if lock.model is not None else None
    seconds = config.images.timeout_seconds
    return choose_model(config, locked_id, device, lambda: is_hub_reachable(config.model.endpoint, seconds))


def _find_cuda_image(session: Session, lock: Lock) -> CudaImage:
    published, image_ids = load_published_images(), load_facts(session.paths.facts).image_ids
    try:
        return find_cuda_image(session.config, lock, published, partial(read_image, session.connect()), image_ids)
    except HostError:
        return describe_cuda_image(session.config, lock, published)


def _can_give_gpu(session: Session) -> bool:
    # The model must be the one that `up` will choose; without a daemon nothing speaks against the GPU.
    try:
        return has_gpu_runtime(session.connect())
    except HostError:
        return True


def _find_kept(session: Session, snapshot: Snapshot) -> set[SnapshotKey]:
    """Give the snapshots that must stay: this one, those of any project's container, and those that a lock names."""
    volume = session.config.model.volume
    mounted = {Path(source) for source in read_mounted_folders(session.connect(), LABEL_PROJECT)}
    locked = set()
    for path in session.paths.state.parent.glob(f"*/{LOCK_NAME}"):
        model = load_lock(path).model
        if model is not None:
            locked.add(model.revision)
    return {snapshot.key} | {
        item.key for item in list_snapshots(volume) if item.mount_root in mounted or item.revision in locked
    }


def _verify(session: Session, snapshot: Snapshot) -> None:
    problems = check_snapshot(snapshot, deep=True, report=session.report)
    if problems:
        raise ModelError(
            f"{len(problems)} files of {snapshot.id} are not what they should be: "
            + "; ".join(str(problem) for problem in problems),
            hint="bring the old files of your directory back, or remove the model from stack.lock to accept these",
        )

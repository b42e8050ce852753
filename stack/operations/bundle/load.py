"""`stack bundle load`: everything from a bundle to its place, after every byte of it was hashed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import docker

from stack.bundles.problem import BundleError
from stack.checks.host.filesystems import find_existing
from stack.config.load import CONFIG_NAME
from stack.operations.bundle.caches import take_caches
from stack.operations.bundle.history import import_history, parse_history
from stack.operations.bundle.load_images import ImageLoader
from stack.operations.bundle.model import receive_model
from stack.operations.bundle.open import OpenBundle, check_platform, demand_whole, open_bundle
from stack.operations.bundle.received_images import ReceivedImage, list_exact, receive_images
from stack.operations.bundle.target import LoadWishes, Target, build_target, write_target
from stack.operations.bundle.verify import verified_beside
from stack.operations.layout.engine import engine_uid
from stack.operations.project import load_facts, make_folders, write_facts
from stack.operations.session import Session, build_session, hold_project
from stack.progress import Report

_SPARE_BYTES = 64 * 1024**2
# The engine keeps the stream in a temporary folder while it unpacks it; packed layers grow about as much again.
_IN_ENGINE = 2


@dataclass(frozen=True)
class Loaded:
    """What was loaded.

    Attributes:
        opened: The bundle.
        project: The project that it is here.
        images: The image ID of each service.
        written: The files that were written.
        left_out: Keys of the bundle's configuration that were not taken.
        caches: How many files of compile caches were taken; None where the bundle has some and is not trusted.
        model_place: The directory that the model got for itself; None where it is under its id and revision.
        commit: The engine's commit, as far as anybody says one.
        level: What the engine's commit is worth here.
    """

    opened: OpenBundle
    project: str
    images: Mapping[str, str]
    written: tuple[Path, ...]
    left_out: tuple[str, ...]
    caches: int | None
    model_place: Path | None
    commit: str | None
    level: str


def run_load(where: Path, wishes: LoadWishes, report: Report, say: Callable[[str], None]) -> Loaded:
    """Load a bundle: nothing is changed here before all of it was found to be right.

    Raises:
        StackError: It is for another machine, damaged, or in conflict with what is here.
    """
    opened = open_bundle(where)
    check_platform(opened)
    demand_whole(opened)
    target = build_target(opened, wishes)
    session = build_session(target.loaded, wishes.environ, report, say)
    client = session.connect()
    with hold_project(session, "bundle load"):
        _demand_ours(session, wishes, target)
        images = receive_images(opened, client)
        history = parse_history(opened.read_part("history") or b"")
        with receive_model(opened.bundle, session.config.model.volume, target.model_place, report) as model:
            caches_bytes = sum(file.size_bytes for file in opened.bundle.list_part("cache")) if wishes.trust else 0
            _check_space(client, opened, images, {model.volume: model.missing_bytes, session.paths.cache: caches_bytes})
            with verified_beside(where, model, report) as wait_verified:
                ids = ImageLoader(opened, client, report).load(images, wait_verified)
            model.land(opened.bundle)
        caches = _take_caches(session, opened, wishes)
        _note_images(session, ids, images, wishes.target)
        write_target(target, wishes)
        _import(session, opened, history)
    engine = target.lock.engine
    return Loaded(
        opened,
        session.project,
        ids,
        tuple(target.files),
        target.left_out,
        caches,
        target.model_place,
        engine.commit if engine is not None else None,
        engine.commit_level if engine is not None else "unknown",
    )


def _demand_ours(session: Session, wishes: LoadWishes, target: Target) -> None:
    """Refuse to go on with the state, history and volumes of another directory's project of the same name.

    Raises:
        BundleError: The name is another's.
    """
    has_state = session.paths.facts.is_file() or session.paths.history.is_file()
    directory = load_facts(session.paths.facts).directory
    # A state from before directories were noted is this one's where a stack.toml here has the name already.
    is_ours = (
        wishes.target / CONFIG_NAME not in target.files
        if directory is None
        else (Path(directory).resolve() == wishes.target.resolve())
    )
    if has_state and not is_ours and not wishes.force:
        whose = f"{directory}" if directory is not None else "another directory, or of an `up` without a stack.toml"
        raise BundleError(
            f"project `{session.project}` is here already, and is that of {whose}",
            hint="`--project NAME` loads the bundle under another name; `--force` takes that project over",
        )


def _check_space(
    client: docker.DockerClient, opened: OpenBundle, images: list[ReceivedImage], others: Mapping[Path, int]
) -> None:
    """Say before the start which disk has no room; needs on one file system are added.

    Args:
        client: The engine.
        opened: The bundle.
        images: What goes into the engine.
        others: Bytes that go to other places.

    Raises:
        BundleError: One has none.
    """
    missing = {blob.digest: blob for item in images if item.image_id is None for blob in item.image.blobs}
    needs = {
        Path(client.info().get("DockerRootDir") or "/nowhere"): _IN_ENGINE
        * sum(b.size_bytes for b in missing.values()),
        **others,
    }
    by_device: dict[int, tuple[Path, int]] = {}
    for path, needed in needs.items():
        if needed and _is_of_this_machine(path):
            folder = find_existing(path)
            device = folder.stat().st_dev
            by_device[device] = (path, by_device.get(device, (path, 0))[1] + needed)
    for path, needed in by_device.values():
        free = shutil.disk_usage(find_existing(path)).free
        if needed + _SPARE_BYTES > free:
            raise BundleError(
                f"{path} has {free / 1e9:.1f} GB free, and about {needed / 1e9:.1f} GB are needed to load "
                f"{opened.source.where}",
                hint="make room (`docker system df`, `stack warm --prune`), or choose a larger disk with "
                "`model.volume`; nothing was loaded",
            )


def _is_of_this_machine(path: Path) -> bool:
    # Docker Desktop and remote daemons name a folder of another machine.
    try:
        return path.exists() or find_existing(path) != Path("/")
    except OSError:
        return False


def _note_images(session: Session, ids: Mapping[str, str], images: list[ReceivedImage], directory: Path) -> None:
    """Remember which image ID stands for which digest: the classic store knows only the ID after a load."""
    make_folders(session.paths, engine_uid())
    facts = load_facts(session.paths.facts)
    known = dict(facts.image_ids) | list_exact(ids, images)
    write_facts(session.paths.facts, replace(facts, image_ids=known, directory=str(directory)))


def _take_caches(session: Session, opened: OpenBundle, wishes: LoadWishes) -> int | None:
    """Put compile caches in their place, where the bundle is trusted: the engine runs what is in them."""
    files = opened.bundle.list_part("cache")
    if not wishes.trust:
        return None if files else 0
    make_folders(session.paths, engine_uid())
    return take_caches(session.paths.cache, opened, engine_uid(), session.report)


def _import(session: Session, opened: OpenBundle, history: Mapping[str, object]) -> None:
    found = opened.bundle.list_part("history")
    if found:
        import_history(session.paths.history, history, found[0].sha256, opened.bundle.created)

"""The lock as it is taken from a bundle: what it names, but not what it says that was worth. Pure.

A digest is upstream's only where this machine knows it to be: from a lock of its own, or from the shipped table.
Everything else that whoever saved the bundle says of where an image came from is a claim.
"""

from __future__ import annotations

from collections.abc import Mapping

from stack.bundles.manifest import Bundle
from stack.bundles.problem import BundleError
from stack.config.lock import Lock, LockedEngine, LockedFile, LockedImage, LockedModel
from stack.images.reference import parse_reference
from stack.images.references import PublishedImage
from stack.operations.bundle.save_images import name_carried

FROM_BUNDLE = "bundle"


def build_received_lock(
    lock: Lock,
    own: Lock,
    published: Mapping[str, PublishedImage],
    bundle: Bundle,
    *,
    override: str | None = None,
    is_model_known: bool = True,
    trust: bool = False,
) -> Lock:
    """Give the lock to write here.

    Args:
        lock: The bundle's.
        own: This project's, as it is here; an empty one where there is none.
        published: The shipped table.
        bundle: The manifest.
        override: The engine image that the configuration names here.
        is_model_known: Whether the model goes under its own id and revision.
        trust: Whether whoever saved it is trusted with where other images and packages come from.
    """
    images = {
        name: entry.model_copy(update={"recorded_from": _judge(name, entry, own, published)})
        for name, entry in lock.images.items()
        if trust or _is_known(name, entry, own, published, bundle)
    }
    engine = _judge_engine(lock.engine, images, own, published, bundle, override)
    builds = {name: build for name, build in lock.builds.items() if trust or own.builds.get(name) == build}
    model = build_locked_model(bundle) if is_model_known else None
    return Lock(engine=engine, images=images, builds=builds, model=model)


def build_locked_model(bundle: Bundle) -> LockedModel | None:
    """Give what a lock says of a bundle's model; a directory's path is true on one machine only."""
    model = bundle.model
    if model.kind == "directory":
        return None
    files = {
        file.name: LockedFile(size_bytes=file.size_bytes, sha256=file.sha256) for file in bundle.list_part("model")
    }
    return LockedModel(id="demo" if model.kind == "demo" else model.id, revision=model.revision, files=files)


def _is_known(
    name: str, entry: LockedImage, own: Lock, published: Mapping[str, PublishedImage], bundle: Bundle
) -> bool:
    """Tell whether nothing is fetched, by what an entry says, that neither is here nor in the bundle."""
    if _is_same(entry, own.images.get(name)) or _find_published(entry, published) is not None:
        return True
    if entry.source == "packages":
        # Such a name stands for a recipe, and counts only where this machine's own recipe has it.
        return True
    service = "engine" if name == f"engine/{bundle.device}" else name
    image = next((image for image in bundle.images if image.service == service), None)
    if image is None:
        return False
    if entry.digest is None:
        return entry.reference == name_carried(image.image_id)
    return entry.digest == image.digest


def _is_same(entry: LockedImage | None, mine: LockedImage | None) -> bool:
    return entry is not None and mine is not None and (mine.reference, mine.digest) == (entry.reference, entry.digest)


def _judge(name: str, entry: LockedImage, own: Lock, published: Mapping[str, PublishedImage]) -> str | None:
    if entry.digest is None:
        # Nobody has it but whoever built it; `up` writes the same.
        return "registry" if entry.source == "registry" else None
    mine = own.images.get(name)
    if mine is not None and _is_same(entry, mine):
        return mine.recorded_from
    return "public records" if _find_published(entry, published) is not None else FROM_BUNDLE


def _find_published(entry: LockedImage, published: Mapping[str, PublishedImage]) -> PublishedImage | None:
    for image in published.values():
        if entry.digest is not None and image.digest == entry.digest:
            return image
    return None


def _judge_engine(
    engine: LockedEngine | None,
    images: Mapping[str, LockedImage],
    own: Lock,
    published: Mapping[str, PublishedImage],
    bundle: Bundle,
    override: str | None,
) -> LockedEngine | None:
    if engine is None:
        return None
    if engine.commit is None:
        return engine.model_copy(update={"commit_level": "unknown"})
    key = f"engine/{bundle.device}"
    entry, mine = images.get(key), own.images.get(key)
    if entry is not None and _is_what_runs(entry, bundle, override):
        if _is_same(entry, mine) and own.engine is not None and own.engine.commit == engine.commit:
            return engine.model_copy(update={"commit_level": own.engine.commit_level, "accepted": own.engine.accepted})
        known = _find_published(entry, published)
        if known is not None and known.commit == engine.commit:
            return engine.model_copy(update={"commit_level": "verified", "rests_on": "the shipped table of images"})
    said = f"a bundle of project {bundle.project}, saved {bundle.created}, says so"
    return engine.model_copy(update={"commit_level": "claimed", "accepted": "claimed", "rests_on": said})


def _is_what_runs(entry: LockedImage, bundle: Bundle, override: str | None) -> bool:
    """Tell whether the engine's image in the bundle is proved to be the locked one, and no other is to run."""
    image = next((image for image in bundle.images if image.service == "engine"), None)
    if image is None or entry.digest is None or image.digest != entry.digest:
        return False
    if override is None or override.startswith("sha256:"):
        return override is None
    named, locked = parse_reference(override), parse_reference(entry.reference)
    return named.digest == entry.digest or (named.digest is None and named == locked.with_digest(None))


def demand_acceptance(lock: Lock, wanted_commit: str | None, *, is_accepted: bool) -> None:
    """Refuse a pinned commit that nothing but the bundle vouches for, unless that was accepted.

    Args:
        lock: The lock to write here.
        wanted_commit: The commit that the bundle's configuration asks for.
        is_accepted: Whether `--accept claimed` was said for this machine.

    Raises:
        BundleError: It is pinned, and claimed only.
    """
    engine = lock.engine
    if engine is None or engine.commit_level != "claimed" or is_accepted:
        return
    if engine.pinned is None and wanted_commit != engine.commit:
        return
    raise BundleError(
        f"the bundle pins commit {engine.commit}, and nothing that this machine knows says that its image is of it",
        hint="`--accept claimed` takes the word of whoever saved the bundle",
    )


def names_same(one: Lock, other: Lock) -> bool:
    """Tell whether two locks name the same images, model and commit, whatever they say of where those came from."""
    return _describe(one) == _describe(other)


def _describe(lock: Lock) -> tuple[object, ...]:
    return (
        lock.engine.commit if lock.engine else None,
        {name: (entry.reference, entry.digest, entry.source) for name, entry in lock.images.items()},
        lock.model,
    )


def names_model(lock: Lock, bundle: Bundle) -> bool:
    """Tell whether a lock names the bundle's model with every one of its files."""
    return lock.model is not None and lock.model == build_locked_model(bundle)


def check_locked_model(lock: Lock, bundle: Bundle, where: object) -> None:
    """Hold the bundle's model against what a lock says of the same.

    Args:
        lock: The bundle's own lock, or this project's.
        bundle: The manifest.
        where: The lock's place, for the message.

    Raises:
        BundleError: They are of one revision, and not the same files.
    """
    locked, model = lock.model, build_locked_model(bundle)
    if locked is None or model is None or (locked.id, locked.revision) != (model.id, model.revision):
        return
    if locked.files and locked.files != model.files:
        names = sorted(
            name for name in {*locked.files, *model.files} if locked.files.get(name) != model.files.get(name)
        )
        raise BundleError(
            f"the bundle's model is not the one that {where} names: {model.id} at {str(model.revision)[:19]} "
            f"has another {names[0]}",
            hint="whoever saved it saves it anew; if its files are right, delete the model from that lock",
        )

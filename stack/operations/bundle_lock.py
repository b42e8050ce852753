"""The lock as it is taken from a bundle: what it names, but not what it says that was worth. Pure.

A digest is upstream's only where this machine knows it to be: from a lock of its own, or from the shipped table.
Everything else that whoever saved the bundle says of where an image came from is a claim.
"""

from __future__ import annotations

from collections.abc import Mapping

from stack.bundles.manifest import Bundle
from stack.bundles.problem import BundleError
from stack.config.lock import Lock, LockedEngine, LockedImage
from stack.images.references import PublishedImage

FROM_BUNDLE = "bundle"


def build_received_lock(lock: Lock, own: Lock, published: Mapping[str, PublishedImage], bundle: Bundle) -> Lock:
    """Give the lock to write here.

    Args:
        lock: The bundle's.
        own: This project's, as it is here; an empty one where there is none.
        published: The shipped table.
        bundle: The manifest.
    """
    images = {
        name: entry.model_copy(update={"recorded_from": _judge(name, entry, own, published)})
        for name, entry in lock.images.items()
    }
    engine = _judge_engine(lock.engine, images, own, published, bundle)
    return lock.model_copy(update={"images": images, "engine": engine})


def _judge(name: str, entry: LockedImage, own: Lock, published: Mapping[str, PublishedImage]) -> str | None:
    if entry.digest is None:
        # Nobody has it but whoever built it; `up` writes the same.
        return "registry" if entry.source == "registry" else None
    mine = own.images.get(name)
    if mine is not None and (mine.reference, mine.digest) == (entry.reference, entry.digest):
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
) -> LockedEngine | None:
    if engine is None or engine.commit is None:
        return engine
    entry, mine = images.get(f"engine/{bundle.device}"), own.images.get(f"engine/{bundle.device}")
    is_mine = (
        entry is not None and mine is not None and (mine.reference, mine.digest) == (entry.reference, entry.digest)
    )
    if is_mine and own.engine is not None and own.engine.commit == engine.commit:
        return engine.model_copy(update={"commit_level": own.engine.commit_level, "accepted": own.engine.accepted})
    known = _find_published(entry, published) if entry is not None else None
    if known is not None and known.commit == engine.commit:
        return engine.model_copy(update={"commit_level": "verified", "rests_on": "the shipped table of images"})
    said = f"a bundle of project {bundle.project}, saved {bundle.created}, says so"
    return engine.model_copy(update={"commit_level": "claimed", "accepted": "claimed", "rests_on": said})


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


def check_locked_model(lock: Lock, bundle: Bundle) -> None:
    """Hold the bundle's model against what its own lock says of the same.

    Raises:
        BundleError: They are of one revision, and not the same files.
    """
    model = lock.model
    if model is None or model.revision != bundle.model.revision:
        return
    files = {file.name: (file.size_bytes, file.sha256) for file in bundle.list_part("model")}
    locked = {name: (file.size_bytes, file.sha256) for name, file in model.files.items()}
    if files != locked:
        raise BundleError("the bundle's model is not the one that the lock names", hint="save the bundle anew")

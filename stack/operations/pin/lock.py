"""What a pin means to `up`: the engine that stack.lock holds, unless the configuration asks for another. Pure."""

from __future__ import annotations

import datetime

from stack.config.lock import Lock, LockedEngine, LockedImage
from stack.config.schema import StackConfig
from stack.images.sources import load_sources

_WARN_AFTER_DAYS = 7


def find_pin(config: StackConfig, lock: Lock) -> LockedEngine | None:
    """Give the engine that `stack pin` wrote down, or None where there is none or the configuration has another."""
    pin, asked = lock.engine, config.engine
    if pin is None or pin.pinned is None or asked.image is not None:
        return None
    is_same = asked.commit in (None, pin.commit) and asked.version in (None, pin.version, pin.pinned.removeprefix("v"))
    return pin if is_same else None


def use_pin(config: StackConfig, lock: Lock) -> StackConfig:
    """Give the configuration as the pin completes it: with its commit, and with the level that was accepted for it.

    A release that is built here and whose commit nobody knows is named by its version.
    """
    pin = find_pin(config, lock)
    if pin is None:
        return config
    if pin.commit is None:
        built = [name for name, entry in lock.images.items() if (name[:7], entry.source) == ("engine/", "packages")]
        asked = {"version": pin.version} if built and pin.version else {}
    else:
        accept = "claimed" if pin.commit_level == "claimed" else config.engine.accept
        asked = {"commit": pin.commit, "version": None, "accept": accept}
    engine = config.engine.model_copy(update=asked)
    return config.model_copy(update={"engine": engine})


def describe_pin(config: StackConfig, lock: Lock, device: str) -> tuple[str, str] | None:
    """Give what the engine is pinned to, and why or why not; None where nothing is pinned."""
    pin = lock.engine
    if pin is None or pin.pinned is None:
        return None
    asked = config.engine.image or config.engine.commit or config.engine.version
    if find_pin(config, lock) is None:
        return str(asked), f"asked for; the pin of stack.lock (`stack pin {pin.pinned}`) is not used"
    entry = lock.images.get(f"engine/{device}")
    return pin.commit or (entry and entry.digest) or pin.version or "unknown", f"pinned by `stack pin {pin.pinned}`"


def find_fading(config: StackConfig, lock: Lock, device: str, now: datetime.datetime) -> str | None:
    """Say that the pinned image is about to be deleted upstream, or None while it is not.

    Whoever knows that the archive has it need not ask.
    """
    entry = lock.images.get(f"engine/{device}")
    age = read_age_days(entry, now)
    if find_pin(config, lock) is None or age is None or age <= _WARN_AFTER_DAYS:
        return None
    return (
        f"the pinned engine is a nightly of {age} days, and the archive does not have it; "
        f"{describe_expiry(entry, now)}: `stack pin --archive` keeps it"
    )


def read_age_days(entry: LockedImage | None, now: datetime.datetime) -> int | None:
    """Give the age of an image that upstream will delete, or None for one that stays or says no date."""
    if entry is None or entry.created is None or find_kept_nights(entry) is None:
        return None
    try:
        created = datetime.datetime.fromisoformat(entry.created)
    except ValueError:
        return None
    created = created if created.tzinfo else created.replace(tzinfo=datetime.UTC)
    return (now - created).days


def read_expiry(entry: LockedImage | None, now: datetime.datetime) -> datetime.datetime | None:
    """Give when upstream is expected to delete the image's tag, or None where it is not known to."""
    age = read_age_days(entry, now)
    if entry is None or age is None:
        return None
    return now + datetime.timedelta(days=(find_kept_nights(entry) or 0) - age)


def find_kept_nights(entry: LockedImage) -> int | None:
    """Give how many nights' tags upstream keeps where an image was found, or None where none are deleted."""
    source = load_sources().find(entry.found_by)
    return source.keeps if source is not None else None


def describe_expiry(entry: LockedImage | None, now: datetime.datetime) -> str | None:
    """Say when upstream is expected to delete the image's tag, or None where it is not known to."""
    age = read_age_days(entry, now)
    if entry is None or age is None:
        return None
    left = (find_kept_nights(entry) or 0) - age
    day = (now + datetime.timedelta(days=left)).date().isoformat()
    if left <= 0:
        return f"upstream keeps the newest {find_kept_nights(entry)} nightlies: its tag was to be deleted about {day}"
    return f"upstream keeps the newest {find_kept_nights(entry)} nightlies: its tag is deleted about {day}"


def merge_pin(old: Lock, engine: LockedEngine, key: str, image: LockedImage) -> tuple[Lock, list[str]]:
    """Put a pin into a lock, and give the names of what is dropped: engines of another commit on other devices."""
    same = old.engine is not None and old.engine.commit == engine.commit and engine.commit is not None
    dropped = [name for name in old.images if name.startswith("engine/") and name != key and not same]
    images = {name: entry for name, entry in old.images.items() if name not in dropped} | {key: image}
    builds = {name: build for name, build in old.builds.items() if name not in dropped}
    return old.model_copy(update={"engine": engine, "images": images, "builds": builds}), dropped


def keep_pin(old: LockedEngine | None, new: LockedEngine) -> LockedEngine:
    """Give an engine that `up` read with what the pin of the same commit, or else release, says beside it."""
    if old is None or old.pinned is None or old.commit != new.commit:
        return new
    if new.commit is None and new.version is not None and old.version != new.version:
        return new
    return new.model_copy(update={"pinned": old.pinned, "rests_on": old.rests_on, "accepted": old.accepted})


def keep_found(old: LockedImage | None, new: LockedImage) -> LockedImage:
    """Give an image that `up` had with what the pin of the same digest says beside it."""
    if old is None or (old.reference, old.digest) != (new.reference, new.digest):
        return new
    return new.model_copy(update={"found_by": old.found_by, "variant": old.variant, "created": old.created})

"""Whether the images that run are those that configuration and lock name. Pure."""

from __future__ import annotations

from stack.config.lock_schema import LockedImage
from stack.config.schema import StackConfig
from stack.containers.daemon import ServiceState
from stack.containers.definition import Difference
from stack.images.reference import ImageReference, parse_reference
from stack.operations.images.wanted import is_image_id, read_overrides
from stack.operations.status.read import Status


def find_image_differences(config: StackConfig, status: Status) -> list[tuple[str, Difference]]:
    """Give each service whose image is not the one that configuration and lock name, with the difference."""
    overrides = read_overrides(config)
    found = []
    for name, state in status.states.items():
        key = f"engine/{status.engine.device}" if name == "engine" and status.engine is not None else name
        difference = _compare(overrides.get(name), status.lock.images.get(key), state, status)
        if difference is not None:
            found.append((name, difference))
    return found + [("engine", difference) for difference in _compare_identity(config, status)]


def _compare(
    override: str | None, locked: LockedImage | None, state: ServiceState, status: Status
) -> Difference | None:
    if override is not None and is_image_id(override):
        return None if state.image_id == override else Difference("image", override, state.image)
    asked = parse_reference(override) if override is not None else None
    if asked is not None and (locked is None or not _names_same(parse_reference(locked.reference), asked)):
        digest = asked.digest
        named = state.image == f"{asked.name}@{digest}" if digest else False
        return None if named or _is_known_as(asked, state, status) else Difference("image", override, state.image)
    if locked is None:
        return None
    if locked.source == "packages":
        return None if state.image == locked.reference else Difference("image", locked.reference, state.image)
    if locked.digest is None or _has_digest(locked, state, status):
        return None
    return Difference("image", f"{locked.reference}@{locked.digest}", state.image)


def _names_same(locked: ImageReference, asked: ImageReference) -> bool:
    return locked.name == asked.name and (asked.digest is not None or locked.tag == asked.tag)


def _is_known_as(asked: ImageReference, state: ServiceState, status: Status) -> bool:
    """Tell whether the running image goes by a name that was asked for."""
    image = status.images.get(state.image_id, {})
    names = [parse_reference(tag) for tag in image.get("RepoTags") or []]
    return any((name.name, name.tag) == (asked.name, asked.tag) for name in names)


def _has_digest(locked: LockedImage, state: ServiceState, status: Status) -> bool:
    """Tell whether what runs is the locked digest: by its name, by Docker's record, or by the ID seen under it."""
    digests = [state.image, *(status.images.get(state.image_id, {}).get("RepoDigests") or [])]
    if any(text.endswith(f"@{locked.digest}") for text in digests):
        return True
    remembered = [image_id for name, image_id in status.facts.image_ids.items() if name.endswith(f"@{locked.digest}")]
    return state.image_id in remembered


def _compare_identity(config: StackConfig, status: Status) -> list[Difference]:
    engine = status.engine
    if engine is None:
        return []
    differences = []
    for what, asked, runs in (
        ("commit", config.engine.commit, engine.commit),
        ("version", config.engine.version, engine.version),
    ):
        if asked is not None and runs is not None and asked != runs:
            differences.append(Difference(what, asked, runs))
    return differences

"""`offline`: nothing outside of this machine is asked, and what is missing here is named before anything starts.

The gate is `demand_online`: whoever opens a client for registries, packages or the model hub, or begins a build,
passes it first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stack.config.lock import Lock
from stack.config.schema import StackConfig
from stack.errors import ImageError, ModelError
from stack.images.references import Device, WantedImage, load_published_images
from stack.images.source import Source, SourceChoice
from stack.images.wheels import CommitWheel
from stack.models.demo import DEMO_FILES, DEMO_REVISION
from stack.models.directory import check_directory
from stack.models.find import find_damage
from stack.models.hub import is_commit
from stack.models.reference import ModelReference
from stack.models.snapshot import FileRecord
from stack.models.warm import list_snapshots
from stack.operations.images.needs import ImageNeed, resolve_packages_need, resolve_registry_need
from stack.operations.images.wanted import build_recipes

if TYPE_CHECKING:
    from stack.operations.resolve import Resolved

REASON = "offline: as asked"
_BRING = "`stack bundle load FILE` brings what another machine saved with `stack bundle save`"


class OfflineError(ImageError):
    """Something outside of this machine would have to be asked.

    Args:
        what: What would have been asked or done.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is out of reach ({REASON})", hint=f"leave out `--offline`; or {_BRING}")


def demand_online(config: StackConfig, what: str) -> None:
    """Let nobody out where the configuration says `offline`.

    Args:
        config: The configuration.
        what: What is about to be asked or done.

    Raises:
        OfflineError: It says so.
    """
    if config.offline:
        raise OfflineError(what)


@dataclass(frozen=True)
class Missing:
    """One thing that `up` needs and this machine does not have.

    Attributes:
        kind: An image, or the model.
        what: Which one, by everything that names it exactly.
        why: How that was seen.
        hint: What helps, beside a bundle.
        parts: Of a model each file that is missing, where that is known.
    """

    kind: Literal["image", "model"]
    what: str
    why: str
    hint: str
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n    ".join([f"{self.what}: {self.why}", *self.parts])


def choose_source_here(
    config: StackConfig,
    device: Device,
    wanted: Mapping[str, WantedImage],
    find_image: Callable[[str], Mapping[str, Any] | None],
    image_ids: Mapping[str, str],
) -> SourceChoice:
    """Choose where the images are from by which of them are here; those of a registry where that tells nothing.

    Args:
        config: The configuration.
        device: What the engine computes on.
        wanted: The published image of each service that the configuration does not name.
        find_image: Gives the daemon's inspect document of a name, or None.
        image_ids: The image ID behind each reference when it was accepted.
    """
    if not wanted:
        return SourceChoice("registry", f"{REASON}, and every image is named")
    mirror = config.images.mirror
    pulled = [
        resolve_registry_need(service, image, find_image, None, image_ids, mirror) for service, image in wanted.items()
    ]
    # Without the engine of a commit, whose recipe only upstream could tell.
    buildable = [name for name in wanted if name != "engine" or config.engine.commit is None]
    recipes, _ = build_recipes(config, buildable, device, load_published_images(), _refuse_wheel)
    built = [resolve_packages_need(service, recipe, find_image) for service, recipe in recipes.items()]
    by_source: list[tuple[Source, str, list[ImageNeed]]] = [
        ("registry", "published", pulled),
        ("packages", "built", built),
    ]
    # The first of equals.
    source, word, needs = max(by_source, key=lambda item: _count_here(item[2]))
    return SourceChoice(source, f"{REASON}, and {_count_here(needs)} of {len(wanted)} {word} images are here")


def _count_here(needs: Sequence[ImageNeed]) -> int:
    return sum(need.action == "none" for need in needs)


def _refuse_wheel(commit: str) -> CommitWheel:
    raise OfflineError(f"the wheel of {commit}")


def find_missing_images(needs: Mapping[str, ImageNeed]) -> list[Missing]:
    """Name every image that would have to be pulled or built."""
    return [_describe_image(need) for need in needs.values() if need.action in ("pull", "build")]


def _describe_image(need: ImageNeed) -> Missing:
    reference = need.wanted.reference if need.wanted is not None else None
    name, hint = need.name, "with a network, `stack up` without `--offline` fetches images"
    if reference is not None:
        name = f"{reference.with_digest(None)}{f', {reference.digest}' if reference.digest else ''}"
    if need.service not in ("engine", "prometheus", "gateway"):
        hint += f"; `services.{need.service}.enabled = false` does without {need.service}"
    return Missing("image", f"the image of {need.service} ({name})", need.cause, hint)


def find_missing_model(reference: ModelReference, revision: str | None, volume: Path, lock: Lock) -> list[Missing]:
    """Name the model, with every file of it that is not on the volume as far as its files are known.

    Args:
        reference: The model, whose snapshot is not there or not as it was.
        revision: The hub's commit or revision; None where nothing names one.
        volume: The shared volume.
        lock: stack.lock, which may know the files.
    """
    hint = "with a network, `stack warm` fetches the model"
    if reference.kind == "directory":
        return _check_directory(reference)
    at = revision or (DEMO_REVISION if reference.kind == "demo" else None)
    name = f"the model {reference.id}{f' at {at}' if at else ''}"
    problems = find_damage(reference, revision=revision, volume=volume)
    if problems is not None:
        parts = tuple(str(problem) for problem in problems)
        why = f"on the volume {volume} it is not as it landed"
        return [Missing("model", name, why, hint, parts)] if parts else []
    why = f"it is not on the volume {volume}"
    here = [item.revision for item in list_snapshots(volume) if (item.kind, item.id) == ("hub", reference.id)]
    if here and not is_commit(at):
        why = f"nothing here tells which commit that is; on the volume: {', '.join(here)}"
        hint = f"`--revision {here[0]}` serves what is here"
    files = _list_files(reference, at, lock)
    return [Missing("model", name, why, hint, tuple(f"{file.name} ({file.size_bytes} bytes)" for file in files))]


def _check_directory(reference: ModelReference) -> list[Missing]:
    path = (reference.path or Path(reference.id)).absolute()
    try:
        check_directory(path)
    except ModelError as err:
        return [Missing("model", f"the model in {path}", err.message, err.hint or "see `stack up --help`")]
    # Its hashes are taken on the way, which asks nobody.
    return []


def _list_files(reference: ModelReference, revision: str | None, lock: Lock) -> list[FileRecord]:
    if reference.kind == "demo":
        return list(DEMO_FILES)
    model = lock.model
    if model is None or (model.id, model.revision) != (reference.id, revision):
        return []
    return [FileRecord(name, file.size_bytes, file.sha256) for name, file in model.files.items()]


def demand_here(config: StackConfig, resolved: Resolved) -> None:
    """Refuse to begin an offline `up` where something is missing, and name all of it.

    Raises:
        ImageError: An image is missing, and perhaps more.
        ModelError: Only the model, or some of its files.
    """
    if not config.offline:
        return
    missing = find_missing_images(resolved.needs)
    if resolved.snapshot is None:
        revision = resolved.locked_revision or config.model.revision
        missing += find_missing_model(resolved.reference, revision, config.model.volume, resolved.lock)
    demand_nothing(missing)


def demand_nothing(missing: list[Missing]) -> None:
    """Refuse to begin where something is missing, and name all of it.

    Raises:
        ImageError: An image is missing, and perhaps more.
        ModelError: Only the model, or some of its files.
    """
    if not missing:
        return
    lines = "\n".join(f"- {item}" for item in missing)
    hint = "\n".join([_BRING, *dict.fromkeys(item.hint for item in missing)])
    error = ImageError if any(item.kind == "image" for item in missing) else ModelError
    raise error(f"{REASON}, and this is not on this machine:\n{lines}", hint=hint)

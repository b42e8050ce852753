"""Where a bundle's configuration goes: a directory, which may have one of its own already."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.bundles.manifest import Bundle, Part
from stack.bundles.problem import BundleError
from stack.config.load import CONFIG_NAME, LoadedConfig, load_config
from stack.config.lock import LOCK_NAME, Lock, load_lock, parse_lock, render_lock
from stack.images.references import load_published_images
from stack.operations.bundle.config import (
    Settings,
    load_settings,
    parse_settings,
    render_settings,
    says_same,
    take_settings,
)
from stack.operations.bundle.lock import (
    build_received_lock,
    check_locked_model,
    demand_acceptance,
    names_model,
    names_same,
)
from stack.operations.bundle.open import OpenBundle
from stack.operations.bundle.place import has_model, place_model
from stack.operations.write import write_whole

_PATH = ("/", ".", "~")


@dataclass(frozen=True)
class LoadWishes:
    """What was asked of a load.

    Attributes:
        target: The directory for stack.toml and stack.lock.
        environ: The environment.
        flags: Values from the command line by dotted key.
        trust: Whether whoever saved the bundle is trusted.
        force: Whether files and names that are here may be replaced.
    """

    target: Path
    environ: Mapping[str, str]
    flags: Mapping[str, Any]
    trust: bool = False
    force: bool = False


@dataclass(frozen=True)
class Target:
    """What will be written, and with which configuration that goes on.

    Attributes:
        loaded: The configuration as it will be.
        files: Text by path of what is to be written.
        left_out: Keys of the bundle's configuration that are not taken.
        lock: The lock as it will be.
        model_place: The directory that the model gets for itself; None where it goes under its id and revision.
    """

    loaded: LoadedConfig
    files: Mapping[Path, str]
    left_out: tuple[str, ...]
    lock: Lock
    model_place: Path | None


@dataclass(frozen=True)
class _Taken:
    """A configuration that goes with the bundle: this machine's own, or the bundle's (then with its text)."""

    loaded: LoadedConfig
    model_place: Path | None
    text: str | None


def build_target(opened: OpenBundle, wishes: LoadWishes) -> Target:
    """Decide what is written; writes nothing.

    Raises:
        StackError: A file is there and says something else, or the bundle's is no configuration.
    """
    config_path, lock_path = wishes.target / CONFIG_NAME, wishes.target / LOCK_NAME
    _check_folder(wishes.target)
    is_accepted = "claimed" in (wishes.flags.get("engine.accept"), wishes.environ.get("STACK_ENGINE_ACCEPT"))
    settings, left_out = _read_settings(opened, wishes, is_accepted)
    lock, own_lock = _read_lock(opened), load_lock(lock_path)
    check_locked_model(lock, opened.bundle, f"{LOCK_NAME} in {opened.source.where}")
    check_locked_model(own_lock, opened.bundle, lock_path)
    taken = _match_own(opened.bundle, settings, own_lock, wishes) or _take(opened.bundle, settings, own_lock, wishes)
    received = build_received_lock(
        lock, own_lock, load_published_images(), opened.bundle, override=taken.loaded.config.engine.image,
        is_model_known=taken.model_place is None, trust=wishes.trust,
    )  # fmt: skip
    conflicts = [config_path] if taken.text is not None and config_path.is_file() else []
    conflicts += [lock_path] if lock_path.is_file() and not names_same(own_lock, received) else []
    _refuse(conflicts, taken, opened.bundle, wishes)
    files: dict[Path, str] = {}
    if taken.text is not None:
        if is_accepted and received.engine is not None and received.engine.commit_level == "claimed":
            taken = _take(opened.bundle, settings | {("engine", "accept"): "claimed"}, own_lock, wishes)
        files[config_path] = str(taken.text)
    if lock_path in conflicts or not lock_path.is_file():
        is_accepted = is_accepted or (taken.text is None and taken.loaded.config.engine.accept == "claimed")
        demand_acceptance(received, settings.get(("engine", "commit")), is_accepted=is_accepted)
        files[lock_path] = render_lock(received)
    return Target(taken.loaded, files, tuple(left_out), received, taken.model_place)


def _check_folder(target: Path) -> None:
    found = next((path for path in (target, *target.parents) if path.exists()), target)
    if not found.is_dir():
        raise BundleError(f"{found} is no directory", hint="name another with `--to DIRECTORY`")


def _read_settings(opened: OpenBundle, wishes: LoadWishes, is_accepted: bool) -> tuple[Settings, list[str]]:
    settings = parse_settings(_read_text(opened, "config"), opened.source.where / CONFIG_NAME)
    settings, left_out = take_settings(settings, opened.bundle, trust=wishes.trust, accept=is_accepted)
    # The directory is this project's from now on, also for a command that is given no `--project`.
    project = wishes.flags.get("project") or wishes.environ.get("STACK_PROJECT")
    try:
        render_settings(settings)
    except TypeError as err:
        raise BundleError(f"the config in {opened.source.where} holds what no key takes: {err}") from err
    return settings | ({("project",): project} if project else {}), left_out


def _read_text(opened: OpenBundle, part: Part) -> str:
    try:
        return (opened.read_part(part) or b"").decode()
    except UnicodeDecodeError as err:
        raise BundleError(
            f"the {part} in {opened.source.where} is no UTF-8 text", hint="whoever saved it saves it anew"
        ) from err


def _read_lock(opened: OpenBundle) -> Lock:
    return parse_lock(_read_text(opened, "lock"), opened.source.where / LOCK_NAME)


def _match_own(bundle: Bundle, settings: Settings, own_lock: Lock, wishes: LoadWishes) -> _Taken | None:
    """Give this machine's own configuration where it says what the bundle's does."""
    path = wishes.target / CONFIG_NAME
    own = load_settings(path)
    if own is None:
        return None
    loaded, own_id = load_config(path, wishes.environ, wishes.flags), str(own.get(("model", "id"), ""))
    wanted, place = _place(bundle, settings, own_lock, loaded.config.model.volume, own_id)
    if place is not None and own_id != str(place) and (bundle.model.kind == "hub" or not own_id.startswith(_PATH)):
        return None
    return _Taken(loaded, place, None) if says_same(own, wanted, bundle, trust=wishes.trust) else None


def _take(bundle: Bundle, settings: Settings, own_lock: Lock, wishes: LoadWishes) -> _Taken:
    """Load the configuration as it will be, with everything that this machine adds; give its text too."""
    with tempfile.TemporaryDirectory(prefix="stack-bundle-") as folder:
        draft = Path(folder) / CONFIG_NAME
        draft.write_text(render_settings(settings))
        volume = load_config(draft, wishes.environ, wishes.flags).config.model.volume
        settings, place = _place(bundle, settings, own_lock, volume)
        text = render_settings(settings)
        draft.write_text(text)
        return _Taken(load_config(draft, wishes.environ, wishes.flags), place, text)


def _place(
    bundle: Bundle, settings: Settings, own_lock: Lock, volume: Path, own_id: str | None = None
) -> tuple[Settings, Path | None]:
    """Decide where the model goes, and have the settings name it there; clients call it what they called it."""
    model, place = bundle.model, place_model(bundle, volume)
    # What an earlier load put into a directory of its own stays there.
    is_known = own_id != str(place) and (names_model(own_lock, bundle) or has_model(bundle, volume))
    if model.kind == "demo" or (model.kind == "hub" and is_known):
        named = {("model", "id"): "demo" if model.kind == "demo" else model.id}
        return {path: named.get(path, value) for path, value in settings.items()}, None
    gone = {("model", "id"), ("model", "revision")}
    settings = {path: value for path, value in settings.items() if path not in gone} | {("model", "id"): str(place)}
    return ({("model", "served-name"): model.id} if model.kind == "hub" else {}) | settings, place


def _refuse(conflicts: list[Path], taken: _Taken, bundle: Bundle, wishes: LoadWishes) -> None:
    if conflicts and not wishes.force:
        named = " and ".join(map(str, conflicts))
        why = ""
        if taken.model_place is not None and bundle.model.kind == "hub":
            why = f" (no {LOCK_NAME} here names the files of {bundle.model.id}, so it goes to a directory of its own)"
        raise BundleError(
            f"{named} {'is' if len(conflicts) == 1 else 'are'} there already, and the bundle's say something else{why}",
            hint="load into another directory with `--to DIRECTORY`, or replace what is there with `--force`",
        )


def write_target(target: Target, wishes: LoadWishes) -> None:
    """Write what was decided; what is replaced stays beside it under a name of its own.

    Raises:
        StackError: It cannot be written.
    """
    for path, text in target.files.items():
        if path.is_file():
            write_whole(_find_free(path), path.read_bytes().decode())
        write_whole(path, text)


def _find_free(path: Path) -> Path:
    """Give a name for what is replaced that nothing has: the first one kept is the user's own."""
    names = (f"{path.name}.before{f'.{number}' if number > 1 else ''}" for number in itertools.count(1))
    return next(free for name in names if not (free := path.with_name(name)).exists())

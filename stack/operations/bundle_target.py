"""Where a bundle's configuration goes: a directory, which may have one of its own already."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.bundles.manifest import Bundle
from stack.bundles.problem import BundleError
from stack.config.load import CONFIG_NAME, LoadedConfig, load_config
from stack.config.lock import LOCK_NAME, Lock, load_lock, parse_lock, render_lock
from stack.images.references import load_published_images
from stack.operations.bundle_config import (
    Settings,
    parse_settings,
    render_settings,
    says_same,
    take_settings,
)
from stack.operations.bundle_lock import build_received_lock, check_locked_model, demand_acceptance, names_same
from stack.operations.bundle_model import place_model
from stack.operations.bundle_open import OpenBundle
from stack.operations.project import write_whole


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
    """

    loaded: LoadedConfig
    files: Mapping[Path, str]
    left_out: tuple[str, ...]
    lock: Lock


def build_target(opened: OpenBundle, wishes: LoadWishes) -> Target:
    """Decide what is written; writes nothing.

    Raises:
        StackError: A file is there and says something else, or the bundle's is no configuration.
    """
    config_path, lock_path = wishes.target / CONFIG_NAME, wishes.target / LOCK_NAME
    is_accepted = "claimed" in (wishes.flags.get("engine.accept"), wishes.environ.get("STACK_ENGINE_ACCEPT"))
    text = (opened.read_part("config") or b"").decode("utf-8", "replace")
    settings, left_out = take_settings(
        parse_settings(text, opened.source.where / CONFIG_NAME), trust=wishes.trust, accept=is_accepted
    )
    if opened.bundle.model.kind == "directory":
        settings.pop(("model", "id"), None)
    own = parse_settings(config_path.read_text(), config_path) if config_path.is_file() else None
    is_same = own is not None and says_same(own, settings)
    lock, own_lock = _read_lock(opened), load_lock(lock_path)
    received = build_received_lock(lock, own_lock, load_published_images(), opened.bundle)
    if is_accepted and received.engine is not None and received.engine.commit_level == "claimed":
        settings[("engine", "accept")] = "claimed"
    has_lock = lock_path.is_file()
    conflicts = [config_path] if own is not None and not is_same else []
    conflicts += [lock_path] if has_lock and not names_same(own_lock, received) else []
    _refuse(conflicts, wishes)
    if is_same:
        loaded, files = load_config(config_path, wishes.environ, wishes.flags), {}
        is_accepted = is_accepted or loaded.config.engine.accept == "claimed"
    else:
        loaded, text = _load(opened.bundle, settings, wishes)
        files = {config_path: text}
    if not has_lock or lock_path in conflicts:
        demand_acceptance(received, settings.get(("engine", "commit")), is_accepted=is_accepted)
        check_locked_model(received, opened.bundle)
        files[lock_path] = render_lock(received)
    return Target(loaded, files, tuple(left_out), received)


def _read_lock(opened: OpenBundle) -> Lock:
    text = (opened.read_part("lock") or b"").decode("utf-8", "replace")
    return parse_lock(text, opened.source.where / LOCK_NAME)


def _load(bundle: Bundle, settings: Settings, wishes: LoadWishes) -> tuple[LoadedConfig, str]:
    """Load the configuration as it will be, with everything that this machine adds; give its text too."""
    with tempfile.TemporaryDirectory(prefix="stack-bundle-") as folder:
        draft = Path(folder) / CONFIG_NAME
        draft.write_text(render_settings(settings))
        place = place_model(bundle, load_config(draft, wishes.environ, wishes.flags).config.model.volume)
        if place is not None:
            settings = settings | {("model", "id"): str(place)}
        text = render_settings(settings)
        draft.write_text(text)
        return load_config(draft, wishes.environ, wishes.flags), text


def _refuse(conflicts: list[Path], wishes: LoadWishes) -> None:
    if conflicts and not wishes.force:
        named = " and ".join(map(str, conflicts))
        raise BundleError(
            f"{named} {'is' if len(conflicts) == 1 else 'are'} there already, and the bundle's say something else",
            hint="load into another directory with `--to DIRECTORY`, or replace what is there with `--force`",
        )


def write_target(target: Target, wishes: LoadWishes) -> None:
    """Write what was decided; what is replaced stays beside it under a name of its own.

    Raises:
        StackError: It cannot be written.
    """
    for path, text in target.files.items():
        if path.is_file():
            write_whole(path.with_name(f"{path.name}.before"), path.read_text())
        write_whole(path, text)

"""What stack.lock keeps of an image built from packages, so that the next build comes to the same. Pure."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stack.config.lock import Lock, LockedBuild, LockedPackage
from stack.images.build_record import read_package_set
from stack.images.packages import Package, PackageSet
from stack.images.recipe import ImageRecipe
from stack.images.wheels import CommitWheel


def lock_build(record: Mapping[str, Any] | None) -> LockedBuild | None:
    """Give what the lock keeps of a build's record; None for an image without Python packages."""
    found = read_package_set(record) if record is not None else None
    if record is None or found is None:
        return None
    inputs = record["inputs"]
    return LockedBuild(
        distribution=inputs["distribution"],
        version=inputs["version"],
        wheel=inputs.get("wheel"),
        machine=found.machine,
        python=found.python,
        packages={item.name: LockedPackage(version=item.version, sha256=item.sha256) for item in found.packages},
    )


def keep_build(old: LockedBuild | None, new: LockedBuild) -> LockedBuild:
    """Give the lock's own entry where the same packages came out: files of another architecture do not replace it."""
    if old is None or _read_inputs(old) != _read_inputs(new) or old.machine == new.machine:
        return new
    same = {name: item.version for name, item in old.packages.items()}
    return old if same == {name: item.version for name, item in new.packages.items()} else new


def use_locked_build(recipe: ImageRecipe, lock: Lock, device: str) -> ImageRecipe:
    """Give the recipe with the packages that the lock has for the same engine, else as it is."""
    build = lock.builds.get(f"engine/{device}")
    arguments = dict(recipe.arguments)
    inputs = (arguments.get("DISTRIBUTION"), arguments.get("VERSION"), arguments.get("WHEEL") or None)
    if build is None or inputs != _read_inputs(build):
        return recipe
    packages = tuple(Package(name, item.version, item.sha256) for name, item in build.packages.items())
    return replace(recipe, locked=PackageSet(build.machine, build.python, packages))


def find_locked_wheel(lock: Lock, commit: str | None, device: str) -> CommitWheel | None:
    """Give the wheel of a commit that the lock has for this architecture, so that nobody has to be asked."""
    build, engine = lock.builds.get(f"engine/{device}"), lock.engine
    if build is None or build.wheel is None or engine is None or commit is None or engine.commit != commit:
        return None
    return CommitWheel(build.wheel, build.version) if build.machine == platform.machine() else None


def _read_inputs(build: LockedBuild) -> tuple[str, str, str | None]:
    return build.distribution, build.version, build.wheel

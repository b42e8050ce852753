"""What an image built from packages is made of, and the tag that names exactly that.

Pure but for reading the shipped files: the same recipe gives the same tag on every machine, so that an image
that is already here under its tag need not be built again.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

from stack.assets import asset_path
from stack.errors import ImageError
from stack.images.packages import PackageSet

BUILT_BY = "stack (packages)"
# No public registry answers for this name: an image of ours that is missing is never looked up elsewhere.
REPOSITORY = "localhost/stack"


@dataclass(frozen=True)
class BaseRecipe:
    """The Debian root filesystem that every image built here starts from.

    Attributes:
        suite: Debian's suite.
        mirror: The archive to take it from.
        include: Packages beyond the minimal base.
    """

    suite: str
    mirror: str
    include: tuple[str, ...]

    @property
    def tag(self) -> str:
        """Give the image's name; the mirror does not change what is in it."""
        return f"{REPOSITORY}/base:{self.suite}-{_hash(self.suite, *self.include)}"


@dataclass(frozen=True)
class ImageRecipe:
    """One image: a folder with a Dockerfile, and its arguments.

    Attributes:
        service: The Compose service that it is for.
        folder: The folder that holds the Dockerfile and what it copies.
        arguments: Build arguments that decide what is in the image, by name.
        base: What it starts from.
        variant: What the tag shows before its hash (`cpu-0.32.0`, `bookworm`).
        locked: The packages that an earlier build of the same came to, to be had again; None asks for what the
            package index has today. The tag does not tell: the image's label does.
    """

    service: str
    folder: Path
    arguments: tuple[tuple[str, str], ...]
    base: BaseRecipe
    variant: str
    locked: PackageSet | None = None

    @property
    def tag(self) -> str:
        """Give the image's name: it changes when a file, an argument or the base changes."""
        files = [path.read_bytes().hex() for path in sorted(self.folder.iterdir()) if path.is_file()]
        digest = _hash(self.base.tag, json.dumps(self.arguments), *files)
        return f"{REPOSITORY}/{self.service}:{self.variant}-{digest}"

    @property
    def locked_tag(self) -> str:
        """Give the name for where another build of the same recipe, with other packages, has the first."""
        return f"{self.tag}-{_hash(self.locked.hash())[:8]}" if self.locked is not None else self.tag


def load_packages() -> dict:
    """Read the table of what is built from packages, compose/images/packages.toml."""
    return tomllib.loads(asset_path("compose", "images", "packages.toml").read_text())


def build_base_recipe(suite: str, mirror: str) -> BaseRecipe:
    """Give the base's recipe for a Debian suite taken from a mirror."""
    return BaseRecipe(suite, mirror, tuple(load_packages()["base"]["include"]))


def build_engine_recipe(
    device: str,
    base: BaseRecipe,
    *,
    version: str | None = None,
    commit: str | None = None,
    wheel: str | None = None,
) -> ImageRecipe:
    """Give the engine's recipe.

    Args:
        device: `cpu` or `cuda`.
        base: What it starts from.
        version: A release on PyPI; None takes the shipped one.
        commit: The commit that the wheel was built from, where its publisher says so; it becomes the
            image's label.
        wheel: The URL of a per-commit wheel, instead of a release.
    """
    table = load_packages()["engine"][device]
    shown = version or table["version"]
    arguments = {
        "DISTRIBUTION": "vllm" if wheel else table["distribution"],
        "VERSION": shown,
        "WHEEL": wheel or "",
        "TORCH": "" if wheel else table["torch"],
        "TORCH_INDEX": table["torch-index"],
        "EXCLUDE": ",".join(table["exclude"]),
        "PRELOAD": ":".join(table["preload"]),
        "COMMIT": commit or "",
        "BUILT_BY": BUILT_BY,
    }
    variant = f"{device}-{commit[:12] if commit else shown}"
    return ImageRecipe("engine", _folder("engine"), tuple(sorted(arguments.items())), base, variant)


def build_service_recipe(service: str, base: BaseRecipe) -> ImageRecipe:
    """Give the recipe of a service that Debian packages (`prometheus`, `alertmanager`, `node-exporter`, `gateway`).

    Raises:
        ImageError: No package is known for the service.
    """
    name = {"gateway": "nginx"}.get(service, service)
    folder = _folder(name)
    if not (folder / "Dockerfile").is_file():
        raise ImageError(
            f"`{service}` cannot be built from packages: no package registry has it",
            hint="reach a container registry, or name an image with `services.<name>.image`",
        )
    return ImageRecipe(service, folder, (("BUILT_BY", BUILT_BY),), base, base.suite)


def is_buildable(service: str) -> bool:
    """Tell whether a service can be built from packages at all."""
    return (_folder({"gateway": "nginx"}.get(service, service)) / "Dockerfile").is_file()


def _folder(name: str) -> Path:
    return asset_path("compose", "images", name)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]

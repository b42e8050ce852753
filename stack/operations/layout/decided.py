"""What every service is built from, and the stamps that tell when one must start anew."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from stack.config.schema import StackConfig
from stack.operations.project import ProjectPaths


@dataclass(frozen=True)
class Decided:
    """What every service is built from.

    Attributes:
        config: The configuration.
        images: The image of each service that runs.
        ports: The host's port of each published service.
        paths: The project's folders.
        files: The text of each mounted file; hashed into the services that mount it.
    """

    config: StackConfig
    images: Mapping[str, str]
    ports: Mapping[str, int]
    paths: ProjectPaths
    files: Mapping[str, str]


def hash_below(files: Mapping[str, str], prefix: str, *, skip: str = "\0") -> str:
    """Give the stamp of all mounted files below a path."""
    return build_stamp(
        *(f"{name}\0{files[name]}" for name in sorted(files) if name.startswith(prefix) and not name.startswith(skip))
    )


def build_stamp(*parts: str) -> str:
    """Give the stamp of what a service reads when it starts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

"""[engine.mounts], [images.mirror] and [images.sources]: what may stand on either side (pure)."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from stack.config.toml_text import show_path
from stack.config.values import check_mirror, check_registry, check_template, check_wheel_template
from stack.errors import Problem

RESERVED_CONTAINER_PATHS: Mapping[str, str] = {
    "/models": "the model",
    "/cache": "the engine's caches",
    "/tmp": "temporary files",
    "/run/secrets": "secrets",
    "/opt/stack": "its start script",
    "/dev": "devices",
    "/proc": "the kernel",
    "/sys": "the kernel",
}


def check_mounts(mounts: Mapping[str, Any]) -> list[Problem]:
    """Give what is wrong with the container paths of [engine.mounts]."""
    problems = []
    seen: dict[PurePosixPath, str] = {}
    for target in mounts:
        message = _check_target(target)
        if message is None:
            path = PurePosixPath(posixpath.normpath(target))
            twin = seen.setdefault(path, target)
            if twin != target:
                message = f"is the same place as `{twin}`"
        if message is not None:
            problems.append(Problem(show_path(("engine", "mounts", target)), message))
    return problems


def check_mirrors(mirrors: Mapping[str, Any]) -> list[Problem]:
    """Give what is wrong with the hosts of [images.mirror]."""
    problems = []
    for host, mirror in mirrors.items():
        try:
            check_registry(host)
            check_mirror(mirror)
        except ValueError as err:
            problems.append(Problem(show_path(("images", "mirror", host)), str(err)))
    return problems


def check_sources(sources: Mapping[str, Any]) -> list[Problem]:
    """Give what is wrong with the references of [images.sources]; `wheel` is a URL."""
    problems = []
    for name, template in sources.items():
        try:
            check_wheel_template(template) if name == "wheel" else check_template(template)
        except ValueError as err:
            problems.append(Problem(show_path(("images", "sources", name)), str(err)))
    return problems


def _check_target(target: str) -> str | None:
    if not target.startswith("/") or not target.isprintable():
        return "must be an absolute path in the container; the path on this machine goes to the right of `=`"
    if ".." in target.split("/"):
        return "must not hold `..`"
    path = PurePosixPath("/" + posixpath.normpath(target).lstrip("/"))
    # In images /var/run is a link to /run.
    if path.is_relative_to("/var/run"):
        path = PurePosixPath("/run") / path.relative_to("/var/run")
    if path == PurePosixPath("/"):
        return "would cover the whole image"
    for reserved, purpose in RESERVED_CONTAINER_PATHS.items():
        if PurePosixPath(reserved).is_relative_to(path):
            return f"would cover `{reserved}`, where the engine has {purpose}"
        if path.is_relative_to(reserved):
            return f"is inside `{reserved}`, where the engine has {purpose}; take a path of your own"
    return None

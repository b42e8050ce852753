"""`stack eject`: the stack as a plain Compose directory that works without this tool."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from stack.assets import asset_path
from stack.containers.layout import Layout, Service
from stack.containers.render import render_json, render_override
from stack.errors import ModelError, StackError
from stack.models.snapshot import Snapshot
from stack.operations.assemble import render_files
from stack.operations.decide import decide_layout
from stack.operations.project import write_whole
from stack.operations.resolve import Resolved, resolve
from stack.operations.session import Session, check_tools


@dataclass(frozen=True)
class Ejected:
    """What was written.

    Attributes:
        folder: The directory.
        secrets: Secret files that its user has to make, relative to the directory.
        images: The image of each service.
    """

    folder: Path
    secrets: tuple[str, ...]
    images: dict[str, str]


def run_eject(session: Session, folder: Path) -> Ejected:
    """Write the directory.

    Raises:
        StackError: It is there and not empty.
        ModelError: The model is not on the shared volume yet.
    """
    if folder.exists() and any(folder.iterdir()):
        raise StackError(f"{folder} is not empty", hint="name a new directory")
    resolved = resolve(session, check_tools(session))
    if resolved.snapshot is None:
        raise ModelError(f"{resolved.reference.id} is not on the shared volume yet", hint="stack warm")
    images = {service: need.name for service, need in resolved.needs.items()}
    layout, _ = decide_layout(session, resolved, resolved.snapshot, images)
    _write(session, layout, resolved, resolved.snapshot, folder)
    secrets = sorted(
        {f"secrets/{path.name}" for service in layout.services.values() for path in service.secrets.values()}
    )
    return Ejected(folder, tuple(secrets), images)


def _write(session: Session, layout: Layout, resolved: Resolved, snapshot: Snapshot, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in layout.compose_files:
        shutil.copyfile(asset_path("compose", name), folder / name)
    for name, text in render_files(session.config, list(layout.services)).items():
        write_whole(folder / "files" / name, text)
    for name in ("secrets", "cache", "metrics"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "secrets").chmod(0o700)
    relative = {
        session.paths.rendered: Path("./files"),
        session.paths.secrets: Path("./secrets"),
        session.paths.cache: Path("./cache"),
        session.paths.metrics: Path("./metrics"),
    }
    ejected = replace(
        layout, services={name: _relocate(service, relative) for name, service in layout.services.items()}
    )
    write_whole(folder / "compose.override.json", render_json(render_override(ejected)))
    files = ":".join([*layout.compose_files, "compose.override.json"])
    write_whole(folder / ".env", f"COMPOSE_PROJECT_NAME={layout.project}\nCOMPOSE_FILE={files}\n")
    write_whole(folder / "README.md", _render_readme(layout, resolved, snapshot))


def _relocate(service: Service, relative: dict[Path, Path]) -> Service:
    mounts = tuple(replace(mount, source=_relocate_path(mount.source, relative)) for mount in service.mounts)
    secrets = {name: _relocate_path(path, relative) for name, path in service.secrets.items()}
    return replace(service, mounts=mounts, secrets=secrets)


def _relocate_path(path: Path, relative: dict[Path, Path]) -> Path:
    for root, target in relative.items():
        if path == root or root in path.parents:
            return target / path.relative_to(root)
    return path


def _render_readme(layout: Layout, resolved: Resolved, snapshot: Snapshot) -> str:
    secrets = [path.name for service in layout.services.values() for path in service.secrets.values()]
    lines = [
        f"# {layout.project}",
        "",
        "A Compose directory that needs nothing but Docker: `docker compose up -d`.",
        "",
        f"- model: {snapshot.id} @ {snapshot.revision}, read from {snapshot.mount_root}",
        *(f"- {name}: {service.image}" for name, service in layout.services.items()),
    ]
    for service, reason in layout.left_out.items():
        lines.append(f"- {service} is left out: {reason}")
    if secrets:
        lines += ["", "Secrets are not part of it. Make each before the first start, mode 0600:", ""]
        lines += [f"- `secrets/{name}`" for name in sorted(set(secrets))]
    built = [service.image for service in layout.services.values() if service.image.startswith("localhost/")]
    if built:
        lines += [
            "",
            "These images were built on this machine; elsewhere bring them with `docker save` and `load`:",
            "",
        ]
        lines += [f"- `{image}`" for image in built]
    return "\n".join(lines) + "\n"

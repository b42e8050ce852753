"""`stack eject`: the stack as a plain Compose directory that works without this tool."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from stack.assets import asset_path
from stack.containers.layout import Layout, Service
from stack.containers.render import render_json, render_override
from stack.errors import ModelError, StackError
from stack.models.snapshot import Snapshot
from stack.operations.access import GATEWAY_KEY
from stack.operations.layout.decide import decide_layout
from stack.operations.layout.engine import engine_uid
from stack.operations.layout.files import render_files
from stack.operations.layout.services import GRAFANA_UID
from stack.operations.project import ProjectPaths
from stack.operations.resolve import resolve
from stack.operations.session import Session, check_tools
from stack.operations.write import write_whole

# What stack/containers/gateway.py renders, for a shell without this tool.
GATEWAY_KEY_RECIPE = """\
digest=$(openssl md5 -binary secrets/api_key | base64 | tr '+/' '-_' | tr -d '=')
printf 'secure_link "%s";\\nsecure_link_md5 "$stack_presented_key";\\n' "$digest" >secrets/gateway_key"""


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
    _write(session, layout, resolved.snapshot, folder)
    return Ejected(folder, tuple(sorted(f"secrets/{name}" for name in _list_owners(layout))), images)


def _write(session: Session, layout: Layout, snapshot: Snapshot, folder: Path) -> None:
    try:
        _make_folders(folder)
        for name in layout.compose_files:
            shutil.copyfile(asset_path("compose", name), folder / name)
    except OSError as err:
        raise StackError(f"{err.filename}: {err.strerror}", hint="name another directory") from err
    for name, text in render_files(session.config, list(layout.services)).items():
        write_whole(folder / "files" / name, text)
    for path in [folder / "files", *(folder / "files").rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    ejected = relocate(layout, session.paths)
    write_whole(folder / "compose.override.json", render_json(render_override(ejected, may_pull=True)))
    files = ":".join([*layout.compose_files, "compose.override.json"])
    write_whole(folder / ".env", f"COMPOSE_PROJECT_NAME={ejected.project}\nCOMPOSE_FILE={files}\n")
    write_whole(folder / "README.md", render_readme(layout, snapshot))


def _make_folders(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, mode in (("files", 0o755), ("metrics", 0o755), ("reports", 0o755), ("secrets", 0o700), ("cache", 0o700)):
        (folder / name).mkdir(exist_ok=True)
        (folder / name).chmod(mode)
    if os.geteuid() == 0:
        os.chown(folder / "cache", engine_uid(), 0)


def relocate(layout: Layout, paths: ProjectPaths) -> Layout:
    """Give a layout whose files lie in the directory itself; models and the user's own mounts stay."""
    relative = {
        paths.rendered: Path("files"),
        paths.secrets: Path("secrets"),
        paths.cache: Path("cache"),
        paths.metrics: Path("metrics"),
        paths.reports: Path("reports"),
    }
    services = {name: _relocate(service, relative) for name, service in layout.services.items()}
    # A name of its own: volumes and containers of the project that it came from are not its own.
    return replace(layout, project=f"{layout.project}-ejected", services=services)


def _relocate(service: Service, relative: dict[Path, Path]) -> Service:
    mounts = tuple(replace(mount, source=_relocate_path(mount.source, relative)) for mount in service.mounts)
    secrets = {name: _relocate_path(path, relative) for name, path in service.secrets.items()}
    return replace(service, mounts=mounts, secrets=secrets)


def _relocate_path(path: Path, relative: dict[Path, Path]) -> Path:
    for root, target in relative.items():
        if path == root or root in path.parents:
            return target / path.relative_to(root)
    return path


def render_readme(layout: Layout, snapshot: Snapshot) -> str:
    """Give the directory's README: what it runs, and what its user has to bring."""
    blocks = [
        f"# {layout.project}",
        "A Compose directory that needs nothing but Docker: `docker compose up -d`. It publishes the ports of the "
        f"project that it was ejected from: stop that one first (`stack down --project {layout.project}`).",
        "\n".join(
            [
                f"- model: {snapshot.id} @ {snapshot.revision}, read from {snapshot.mount_root}",
                *(f"- {name}: {service.image}" for name, service in layout.services.items()),
                *(f"- {name} is left out: {reason}" for name, reason in layout.left_out.items()),
            ]
        ),
        f"`cache/` must belong to the engine's user, `{layout.services['engine'].user}`.",
    ]
    owners = _list_owners(layout)
    if owners:
        blocks.append(
            "Secrets are not part of it. Make each before the first start, mode 0600, without a final line "
            "break, owned by its container's user:"
        )
        blocks.append("\n".join(f"- `secrets/{name}`, `chown {owner}`" for name, owner in owners.items()))
    if GATEWAY_KEY in owners:
        blocks.append("The gateway's file holds a digest of the key that clients show, which is the engine's:")
        blocks.append(f"```sh\n{GATEWAY_KEY_RECIPE}\n```")
    built = [service.image for service in layout.services.values() if "@" not in service.image]
    if built:
        blocks.append("These images have no digest; elsewhere bring them with `docker save` and `load`:")
        blocks.append("\n".join(f"- `{image}`" for image in built))
    return "\n\n".join(blocks) + "\n"


def _list_owners(layout: Layout) -> dict[str, str]:
    return {
        path.name: service.user or str(GRAFANA_UID)
        for service in layout.services.values()
        for path in service.secrets.values()
    }

"""Room on the disks for what has yet to be fetched and built; needs on one filesystem are added together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stack.checks.host.amounts import describe_bytes
from stack.checks.host.check import HostCheck, HostContext, Outcome
from stack.checks.host.filesystems import Filesystem, read_filesystem

_GIB = 1024**3
# Below that, logs, metrics and the engine's caches fill the disk within days.
_SPARE_BYTES = 2 * _GIB
_DOCKER = "images"


@dataclass(frozen=True)
class Need:
    """What one purpose needs of a filesystem; `low_bytes` is certain, `high_bytes` likely."""

    name: str
    path: Path
    low_bytes: int
    high_bytes: int
    is_known: bool = True


def run(context: HostContext) -> Outcome:
    """Hold free space against what is needed, a filesystem at a time."""
    needs = list_needs(context)
    groups: dict[int, tuple[Filesystem, list[Need]]] = {}
    for need in needs:
        filesystem = read_filesystem(need.path, context.world.statvfs)
        groups.setdefault(filesystem.device, (filesystem, []))[1].append(need)
    rows = [judge(filesystem, group) for filesystem, group in groups.values()]
    worst = max(rows, key=lambda row: ("pass", "warn", "fail").index(row.status))
    data = {"filesystems": [dict(row.data) for row in rows]}
    said = "; ".join(row.message for row in rows if row.status == worst.status or worst.status == "pass")
    return Outcome(worst.status, said, worst.hint, data, worst.why)


def list_needs(context: HostContext) -> list[Need]:
    """List every purpose with its need."""
    target, info = context.target, context.read_docker().info or {}
    needs = [
        Need(f.name, f.path, f.needed_bytes or 0, f.needed_bytes or 0, f.needed_bytes is not None)
        for f in target.folders
    ]
    root = find_data_root(context, info.get("DockerRootDir"))
    if root is not None:
        wanted = [image for image in target.images if image.action != "none"]
        low = sum(image.least_bytes or 0 for image in wanted)
        high = sum(image.likely_bytes or image.least_bytes or 0 for image in wanted)
        is_known = all(image.likely_bytes is not None for image in wanted)
        needs.append(Need(_DOCKER, root, low, high, is_known))
    return needs


def find_data_root(context: HostContext, told: str | None) -> Path | None:
    """Give where the daemon keeps images, as far as that is a folder of this machine."""
    if told is None or not Path(told).is_absolute():
        return None
    path = context.world.root / told.lstrip("/")
    # Docker Desktop and remote daemons name a folder of another machine.
    return path if path.exists() else None


def judge(filesystem: Filesystem, needs: list[Need]) -> Outcome:
    """Judge one filesystem."""
    low, high = sum(need.low_bytes for need in needs), sum(need.high_bytes for need in needs)
    names = ", ".join(f"{need.name} {describe_bytes(need.high_bytes)}" for need in needs if need.high_bytes)
    unknown = [need.name for need in needs if not need.is_known]
    parts = ([f"about {describe_bytes(high)} needed ({names})"] if high else ["nothing has to be fetched"]) + [
        f"the size of {name} is not known" for name in unknown
    ]
    said = f"{describe_bytes(filesystem.free_bytes)} free at {filesystem.path}: {', '.join(parts)}"
    data = {
        "path": str(filesystem.path),
        "free_bytes": filesystem.free_bytes,
        "total_bytes": filesystem.total_bytes,
        "needed_bytes": high,
        "purposes": [need.name for need in needs],
    }
    where = "`docker system df` and `docker system prune`" if any(need.name == _DOCKER for need in needs) else "`du`"
    hint = f"make room (see {where}), or move one elsewhere (`model.volume`, XDG_STATE_HOME, XDG_CACHE_HOME)"
    if filesystem.free_bytes < low:
        why = "a pull, a build or a download would end with `no space left on device`"
        return Outcome("fail", said, hint, data, why)
    if filesystem.free_bytes < high + _SPARE_BYTES:
        why = "what is fetched may just fit, but logs, metrics and caches grow"
        return Outcome("warn", said, hint, data, why)
    return Outcome("pass", said, data=data)


CHECK = HostCheck("disk-space", run, order=330, is_quick=True)

"""Room for files, which a disk with free space may still lack."""

from __future__ import annotations

from stack.checks.host.check import HostCheck, HostContext, Outcome
from stack.checks.host.check_disk_space import list_needs
from stack.checks.host.filesystems import read_filesystem

# Counted: the CPU engine's image holds 78,000 files, and its build cache as many again.
_IMAGE_FILES = 160_000
_FEW_FILES = 10_000


def run(context: HostContext) -> Outcome:
    """Count what can still be made, on every filesystem that the stack writes to."""
    is_fetched = any(image.action != "none" for image in context.target.images)
    short, data = [], []
    for need in list_needs(context):
        filesystem = read_filesystem(need.path, context.world.statvfs)
        wanted = _IMAGE_FILES if need.name == "images" and is_fetched else _FEW_FILES
        if filesystem.free_inodes is None:
            continue
        data.append({"path": str(filesystem.path), "free_inodes": filesystem.free_inodes, "needed_inodes": wanted})
        if filesystem.free_inodes < wanted:
            short.append(f"{filesystem.free_inodes} at {filesystem.path} ({need.name}: about {wanted} needed)")
    if short:
        return Outcome(
            "warn",
            f"few inodes are free: {'; '.join(dict.fromkeys(short))}",
            hint="see `df -i`; many small files lie somewhere: `docker system prune`, old caches",
            why="`no space left on device` comes also when no more files can be made, with gigabytes free",
            data={"filesystems": data},
        )
    if not data:
        return Outcome("pass", "the filesystems make inodes as they need them")
    return Outcome(
        "pass", f"at least {min(row['free_inodes'] for row in data)} inodes free", data={"filesystems": data}
    )


CHECK = HostCheck("inodes", run, order=340, is_quick=True)

"""How much memory there is, by the kernel and by control groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Memory:
    """Memory in bytes; what the kernel does not say is 0."""

    total_bytes: int
    available_bytes: int
    swap_total_bytes: int
    swap_free_bytes: int


def parse_meminfo(text: str) -> Memory:
    """Read `/proc/meminfo`, which counts in KiB (proc_meminfo(5))."""
    rows = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            rows[name] = int(words[0]) * 1024
    names = ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")
    return Memory(*(rows.get(name, 0) for name in names))


def read_cgroup_limit(proc: Path, sys: Path) -> int | None:
    """Give the least memory limit over this process's control groups in bytes, or None where there is none.

    Source: cgroups(7): `/proc/self/cgroup` holds `0::PATH` (version 2) or `N:memory:PATH` (version 1); the limits
    are `memory.max` and `memory.limit_in_bytes`. A group's parents limit it too.
    """
    limits = []
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            limits += _read_limits(sys / "fs/cgroup", path, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _read_limits(sys / "fs/cgroup/memory", path, "memory.limit_in_bytes")
    # Version 1 says "no limit" as the largest multiple of a page in 63 bits.
    limits = [limit for limit in limits if limit < 1 << 60]
    return min(limits, default=None)


def _read_limits(root: Path, path: str, name: str) -> list[int]:
    limits = []
    folder = root / path.lstrip("/")
    while True:
        try:
            text = (folder / name).read_text().strip()
        except OSError:
            text = "max"
        if text.isdigit():
            limits.append(int(text))
        if folder == root or root not in folder.parents:
            return limits
        folder = folder.parent

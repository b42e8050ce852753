"""How much memory this machine has."""

from __future__ import annotations

from pathlib import Path


def read_total_memory_bytes() -> int:
    """Give this machine's memory."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0

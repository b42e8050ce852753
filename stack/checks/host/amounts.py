"""Bytes and seconds in words. Pure."""

from __future__ import annotations

_KIB, _MIB, _GIB = 1024, 1024**2, 1024**3


def describe_bytes(size_bytes: float) -> str:
    """Give an amount in the largest binary unit that leaves a number of at least one."""
    for unit, name in ((_GIB, "GiB"), (_MIB, "MiB"), (_KIB, "KiB")):
        if abs(size_bytes) >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes:.0f} bytes"


def describe_seconds(seconds: float) -> str:
    """Give a time in whole words a person would use for it."""
    seconds = abs(seconds)
    for unit, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"

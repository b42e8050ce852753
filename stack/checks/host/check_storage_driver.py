"""How the daemon stores images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stack.checks.host.check import HostCheck, HostContext, Outcome

_CONTAINERD = "io.containerd.snapshotter.v1"
# https://docs.docker.com/engine/storage/drivers/select-storage-driver/: what is left to choose from on Linux.
_GOOD = frozenset({"overlay2", "overlayfs", "fuse-overlayfs", "btrfs", "zfs", "stargz", "nydus"})


def run(context: HostContext) -> Outcome:
    """Judge the storage driver."""
    info = context.read_docker().info or {}
    driver = str(info.get("Driver", "unknown"))
    store = "containerd image store" if is_containerd_store(info) else "classic image store"
    data = {"driver": driver, "containerd": is_containerd_store(info)}
    said = f"{driver} ({store})"
    if driver in ("vfs", "native"):
        return Outcome(
            "warn",
            f"the storage driver is {said}",
            hint='see https://docs.docker.com/engine/storage/drivers/: `"storage-driver": "overlay2"` in '
            "/etc/docker/daemon.json, on ext4 or xfs (ftype=1)",
            why="it copies a whole image for every layer and every container: tens of GB and minutes for an engine",
            data=data,
        )
    if driver not in _GOOD:
        return Outcome(
            "warn",
            f"the storage driver is {said}, which is not among those that Docker still maintains",
            hint="see https://docs.docker.com/engine/storage/drivers/",
            why="a removed driver loses all images at the next upgrade of Docker",
            data=data,
        )
    return Outcome("pass", said, data=data)


def is_containerd_store(info: Mapping[str, Any]) -> bool:
    """Tell whether images lie in containerd's own store (the default of new installations since engine 29)."""
    return any(_CONTAINERD in str(row) for row in info.get("DriverStatus") or [])


CHECK = HostCheck("storage-driver", run, order=50, is_quick=True, needs_docker=True)

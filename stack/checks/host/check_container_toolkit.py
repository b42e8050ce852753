"""The way from the daemon to an NVIDIA GPU, by the daemon's own word: a file on PATH proves nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stack.checks.host.check import HostCheck, HostContext, Outcome

# Where the daemon looks for CDI specifications when it names no other folders (the CDI specification).
_CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi")
# CDI is on by default from engine 28.2 (its release notes), and could be switched on from 25.0.
_INSTALL = (
    "`./scripts/up` installs the NVIDIA container toolkit; or: `sudo nvidia-ctk runtime configure --runtime=docker && "
    "sudo systemctl restart docker`"
)


def run(context: HostContext) -> Outcome:
    """Judge whether the daemon can give a GPU to a container."""
    engine, info = context.target.engine, context.read_docker().info or {}
    runtime = "nvidia" in (info.get("Runtimes") or {})
    devices = find_cdi_devices(info)
    folders = tuple(info.get("CDISpecDirs") or ())
    specs = find_cdi_specs(context.world.root, folders or _CDI_FOLDERS)
    data = {
        "runtime": runtime,
        "default_runtime": info.get("DefaultRuntime"),
        "cdi_devices": list(devices),
        "cdi_folders": list(folders),
        "cdi_specs": [str(path) for path in specs],
    }
    if runtime or devices:
        ways = (["its `nvidia` runtime"] if runtime else []) + ([f"CDI ({', '.join(devices)})"] if devices else [])
        return Outcome("pass", f"the daemon gives GPUs to containers through {' and '.join(ways)}", data=data)
    if engine.device_asked != "cuda" and not context.read_gpus().gpus:
        return Outcome("skip", "the engine needs no GPU, and there is none", data=data)
    toolkit = (context.world.root / "usr/bin/nvidia-ctk").exists()
    seen = "the NVIDIA container toolkit is installed, but " if toolkit else ""
    extra = "; CDI files are here, but the daemon reads none" if specs else ""
    message = f"{seen}the daemon has neither an `nvidia` runtime nor a CDI device{extra}"
    asked = engine.device_asked == "cuda"
    why = "without it no container gets a GPU" + ("" if asked else ", so the engine runs on the CPU")
    return Outcome("fail" if asked else "warn", message, hint=_INSTALL, why=why, data=data)


def find_cdi_devices(info: Mapping[str, Any]) -> tuple[str, ...]:
    """List the NVIDIA devices that the daemon discovered by CDI (`DiscoveredDevices`, engine 28.2 and newer)."""
    rows = info.get("DiscoveredDevices") or []
    names = [str(row.get("ID", "")) if isinstance(row, Mapping) else str(row) for row in rows]
    return tuple(sorted(name for name in names if "nvidia.com/gpu" in name))


def find_cdi_specs(root: Path, folders: tuple[str, ...]) -> list[Path]:
    """List the files that describe NVIDIA's GPUs in the folders for CDI specifications."""
    found = []
    for folder in folders:
        for path in sorted((root / folder.lstrip("/")).glob("*")):
            if path.suffix in (".yaml", ".yml", ".json") and _names_nvidia(path):
                found.append(path)
    return found


def _names_nvidia(path: Path) -> bool:
    try:
        text = path.read_text(errors="replace")[:100_000]
    except OSError:
        return False
    if path.suffix == ".json":
        try:
            return json.loads(text).get("kind") == "nvidia.com/gpu"
        except (ValueError, AttributeError):
            return False
    return any(
        line.replace('"', "").replace("'", "").split() == ["kind:", "nvidia.com/gpu"] for line in text.split("\n")
    )


CHECK = HostCheck("container-toolkit", run, order=60, is_quick=True, needs_docker=True)

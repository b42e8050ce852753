"""What history is told of a boot when it starts: the engine's identity, its model and arguments, and the host."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stack.checks.gpus import read_gpus
from stack.checks.host.check_cpu import parse_name
from stack.containers.daemon import ServiceState, translated
from stack.errors import StackError
from stack.history.records import BootStart, boot_kind
from stack.operations.session import Session
from stack.operations.up.outcome import UpResult

_CPUINFO = Path("/proc/cpuinfo")
_MACHINE_ID = Path("/etc/machine-id")
_HOST_ID_DIGITS = 8


def build_start(
    up: UpResult,
    state: ServiceState,
    started: datetime.datetime,
    *,
    log_path: str,
    lock_sha256: str | None,
    host: Mapping[str, str],
) -> BootStart:
    """Give what is known of the boot of a container that was just started."""
    assert up.identity is not None and up.layout is not None
    found, snapshot = up.identity.identity, up.snapshot
    device = up.layout.device
    model, revision = (snapshot.id, snapshot.revision) if snapshot else ("", None)
    args = {"argv": list(up.layout.services["engine"].command or ())}
    return BootStart(
        kind=boot_kind(image_id=state.image_id, model=model, revision=revision, args=args, device=device),
        started_at=started,
        commit=found.commit,
        commit_level=found.level,
        version=found.version,
        image_digest=up.identity.digest,
        image_id=state.image_id,
        model=model,
        revision=revision,
        device=device,
        args=args,
        log_path=log_path,
        lock_sha256=lock_sha256,
        host=host,
        rests_on=found.rests_on,
    )


def read_host(session: Session, up: UpResult) -> dict[str, str]:
    """Read what this machine is, as far as its parts tell; what cannot be read is left out."""
    device = up.resolved.device
    gpus = [gpu.name for gpu in device.gpus]
    try:
        with translated("asking the daemon about its host"):
            info: dict[str, Any] = session.connect().info()
    except StackError:
        # Worth a line in a report, and not a boot that went well.
        info = {}
    driver = read_gpus().driver if gpus else None
    return build_host(info, _read(_CPUINFO), _read(_MACHINE_ID), gpus=gpus, driver=driver)


def build_host(
    info: Mapping[str, Any], cpuinfo: str, machine_id: str, *, gpus: list[str], driver: str | None
) -> dict[str, str]:
    """Give what names a kind of machine, and an id that tells two of a kind apart; no serials, no host name.

    Args:
        info: The daemon's word on its host.
        cpuinfo: The text of `/proc/cpuinfo`.
        machine_id: The text of `/etc/machine-id`, which must not leave the machine: only a keyed hash of it is kept.
            Source: https://www.freedesktop.org/software/systemd/man/latest/machine-id.html.
        gpus: The names of the engine's GPUs.
        driver: The GPU driver's version.
    """
    memory = info.get("MemTotal")
    key = machine_id.strip()
    known = {
        "id": hmac.new(key.encode(), b"stack history", hashlib.sha256).hexdigest()[:_HOST_ID_DIGITS] if key else None,
        "cpu": parse_name(cpuinfo) or info.get("Architecture") or platform.machine(),
        "cores": info.get("NCPU"),
        "memory": f"{memory / 2**30:.1f} GiB" if memory else None,
        "gpu": ", ".join(gpus),
        "driver": driver,
        "os": info.get("OperatingSystem"),
        "kernel": info.get("KernelVersion"),
        "docker": info.get("ServerVersion"),
    }
    return {name: str(value) for name, value in known.items() if value}


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""

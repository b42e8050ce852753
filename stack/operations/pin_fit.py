"""Whether an engine image fits this machine, told before it is pulled."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import docker

from stack.checks.gpus import GpuReport
from stack.config.schema import StackConfig
from stack.containers.daemon import translated
from stack.errors import HostError
from stack.images.fit import HostFacts, Judgement, find_misfits
from stack.images.manifests import build_platform


def read_host(
    config: StackConfig, device: str, report: GpuReport, client: docker.DockerClient | None, machine: str
) -> HostFacts:
    """Give what of this machine decides whether an image runs here.

    Args:
        config: The configuration, for the GPUs that the engine may get.
        device: What the engine shall compute on.
        report: What the driver says of the GPUs.
        client: The Docker daemon, or None.
        machine: This machine's architecture as the kernel names it.
    """
    asked = config.engine.devices
    names = [str(name) for name in asked] if isinstance(asked, (list, tuple)) else None
    gpus = [gpu for gpu in report.gpus if names is None or str(gpu.index) in names or gpu.uuid in names]
    return HostFacts(
        platform=build_platform(machine),
        device=device,
        gpus=tuple((gpu.name, gpu.capability) for gpu in gpus),
        driver=report.driver,
        no_gpu=report.reason,
        free_bytes=_read_free_bytes(client),
    )


def demand_fit(verdict: Sequence[Judgement], anyway: bool, command: str) -> None:
    """Stop where an image does not fit this machine, unless that was overridden.

    Raises:
        HostError: It does not fit.
    """
    misfits = find_misfits(verdict)
    if misfits and not anyway:
        raise HostError(
            f"the image does not fit this machine:\n{describe_misfits(misfits)}",
            hint=f"pin another variant (`--cuda`, `--device`), or go on all the same: `{command}`",
        )


def describe_misfits(misfits: Sequence[Judgement]) -> str:
    """Give what speaks against an image, one line each."""
    return "\n".join(f"- {item.what}: {item.message}" for item in misfits)


def _read_free_bytes(client: docker.DockerClient | None) -> int | None:
    if client is None:
        return None
    with translated("asking where images are kept"):
        root = Path(client.info().get("DockerRootDir") or "")
    try:
        # A daemon on another machine keeps them where this one cannot look.
        return shutil.disk_usage(root).free if root.is_absolute() else None
    except OSError:
        return None

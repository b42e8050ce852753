"""Whether an engine image fits this machine, told before it is pulled."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import docker

from stack.checks.cuda_support import CudaImage, describe_kernels, has_kernels, judge_driver
from stack.checks.gpus import GpuReport
from stack.config.schema import StackConfig
from stack.containers.daemon import translated
from stack.errors import HostError
from stack.images.fit import (
    EngineFacts,
    HostFacts,
    Judgement,
    Verdict,
    find_misfits,
    judge_disk,
    judge_platform,
)
from stack.images.manifests import build_platform
from stack.operations.images.engine_image import build_cuda_image

_VERDICTS: dict[str, Verdict] = {"yes": "fits", "no": "does not fit", "perhaps": "unknown", "unknown": "unknown"}


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


def judge_fit(facts: EngineFacts, host: HostFacts, environ: Mapping[str, str]) -> list[Judgement]:
    """Hold an engine image against a machine.

    Args:
        facts: What the image's config says.
        host: The machine.
        environ: The engine's environment.
    """
    found = [judge_platform(facts, host)]
    if host.device == "cuda":
        image = build_cuda_image(facts, "the image's own word")
        found += [_judge_driver(image, host, environ), _judge_kernels(image, host)]
    return [*found, judge_disk(facts, host)]


def _judge_driver(image: CudaImage, host: HostFacts, environ: Mapping[str, str]) -> Judgement:
    if host.driver is None:
        return Judgement("driver", "does not fit", host.no_gpu or "no NVIDIA driver is here")
    verdict = judge_driver(image, host.driver, [name for name, _ in host.gpus], environ)
    return Judgement("driver", _VERDICTS[verdict.runs], "; ".join([verdict.message, *verdict.remedies]))


def _judge_kernels(image: CudaImage, host: HostFacts) -> Judgement:
    if not host.gpus:
        return Judgement("kernels", "does not fit", host.no_gpu or "no NVIDIA GPU is here")
    if not image.arches:
        return Judgement("kernels", "unknown", "the image does not say which compute capabilities it has kernels for")
    named = {f"{name} ({major}.{minor})": (major, minor) for name, (major, minor) in host.gpus}
    fit = [name for name, capability in named.items() if has_kernels(image, capability)]
    without = ", ".join(name for name in named if name not in fit)
    if not fit:
        return Judgement("kernels", "does not fit", f"no kernels for {without}: it has {describe_kernels(image)}")
    but = f", but none for {without}" if without else ""
    return Judgement("kernels", "fits", f"it has kernels for {', '.join(fit)}{but}: {describe_kernels(image)}")


def demand_fit(
    verdict: Sequence[Judgement],
    anyway: bool,
    command: str,
    *,
    ways: str = "pin another variant (`--cuda`, `--device`)",
) -> None:
    """Stop where an image does not fit this machine, unless that was overridden.

    Args:
        verdict: What was judged.
        anyway: Whether it was overridden.
        command: What overrides it.
        ways: What else can be done.

    Raises:
        HostError: It does not fit.
    """
    misfits = find_misfits(verdict)
    if misfits and not anyway:
        raise HostError(
            f"the image does not fit this machine:\n{describe_misfits(misfits)}",
            hint=f"{ways}, or go on all the same: `{command}`",
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

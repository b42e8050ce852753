"""What an engine image was built for, by its config alone, and whether platform and disk take it. Pure.

Source: the base images of NVIDIA set `CUDA_VERSION` and `NVIDIA_REQUIRE_CUDA` (the container toolkit's constraints:
words are alternatives, commas join; github.com/NVIDIA/nvidia-container-toolkit), vLLM's Dockerfile sets
`TORCH_CUDA_ARCH_LIST`. Which driver and which board that needs is judged where the host is known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stack.images.manifests import ImageConfig

Verdict = Literal["fits", "does not fit", "unknown"]
Version = tuple[int, int]

# Brands of NVML without forward compatibility; an image that names one means minor version compatibility.
_CONSUMER_BRANDS = frozenset({"geforce", "geforcertx", "titan", "titanrtx"})
# What lies on the disk of a pulled vLLM image beside what came over the network: layers unpack to about two and a
# half times their size, and the compressed ones stay until the last is unpacked.
_DISK_RATIO = 3.5
_GIB = 1024**3


@dataclass(frozen=True)
class EngineFacts:
    """What an image's config says it was built for; None means that it does not say.

    Attributes:
        platform: `os/architecture`.
        cuda: The CUDA version inside.
        required_cuda: The CUDA version that the driver must know.
        spared_drivers: Driver branches below that which professional boards may have all the same.
        spared_consumer_drivers: The same for GeForce and TITAN.
        arches: What it has kernels for, as `TORCH_CUDA_ARCH_LIST` spells it.
        size_bytes: What a pull moves.
    """

    platform: str | None = None
    cuda: Version | None = None
    required_cuda: Version | None = None
    spared_drivers: tuple[int, ...] = ()
    spared_consumer_drivers: tuple[int, ...] = ()
    arches: tuple[str, ...] = ()
    size_bytes: int | None = None


@dataclass(frozen=True)
class HostFacts:
    """What of a machine decides whether an image runs.

    Attributes:
        platform: `os/architecture` of its containers.
        device: What the engine shall compute on.
        gpus: Name and compute capability of each GPU that the engine may get.
        driver: The NVIDIA driver's version, or None.
        no_gpu: Why there is no GPU, where there is none.
        free_bytes: Free space where Docker keeps images, or None.
    """

    platform: str
    device: str
    gpus: tuple[tuple[str, Version], ...] = ()
    driver: str | None = None
    no_gpu: str = ""
    free_bytes: int | None = None


@dataclass(frozen=True)
class Judgement:
    """One thing that was judged.

    Attributes:
        what: `platform`, `driver`, `kernels` or `disk`.
        verdict: How it came out.
        message: What was compared, a sentence without a final period.
    """

    what: str
    verdict: Verdict
    message: str


def read_engine_facts(config: ImageConfig, size_bytes: int | None) -> EngineFacts:
    """Read what an image was built for from its config."""
    environment = config.environment
    required, spared, spared_consumer = _parse_requirement(environment.get("NVIDIA_REQUIRE_CUDA", ""))
    return EngineFacts(
        config.platform,
        _parse_version(environment.get("CUDA_VERSION", "")),
        required,
        spared,
        spared_consumer,
        tuple(re.split(r"[\s;,]+", environment.get("TORCH_CUDA_ARCH_LIST", "").strip())) if _lists(config) else (),
        size_bytes,
    )


def find_misfits(judgements: Sequence[Judgement]) -> list[Judgement]:
    """Give what speaks against the image."""
    return [item for item in judgements if item.verdict == "does not fit"]


def judge_platform(facts: EngineFacts, host: HostFacts) -> Judgement:
    """Hold an image's platform against the machine's."""
    if facts.platform is None:
        return Judgement("platform", "unknown", "the image does not say which platform it is made for")
    same = facts.platform.split("/")[:2] == host.platform.split("/")[:2]
    text = f"the image is for {facts.platform}, this machine is {host.platform}"
    return Judgement("platform", "fits" if same else "does not fit", text)


def judge_disk(facts: EngineFacts, host: HostFacts) -> Judgement:
    """Hold what a pull takes against what is free."""
    if facts.size_bytes is None:
        return Judgement("disk", "fits", "the image is here already")
    needed = facts.size_bytes * _DISK_RATIO
    size = f"{facts.size_bytes / _GIB:.1f} GiB to pull, about {needed / _GIB:.1f} GiB on the disk"
    if host.free_bytes is None:
        return Judgement("disk", "unknown", f"{size}; how much is free is not known")
    verdict: Verdict = "fits" if host.free_bytes >= needed else "does not fit"
    return Judgement("disk", verdict, f"{size}, {host.free_bytes / _GIB:.1f} GiB free")


def _lists(config: ImageConfig) -> bool:
    return bool(config.environment.get("TORCH_CUDA_ARCH_LIST", "").strip())


def _parse_requirement(text: str) -> tuple[Version | None, tuple[int, ...], tuple[int, ...]]:
    """Give the CUDA version that any board needs, and the driver branches with which some boards need less."""
    required: Version | None = None
    spared: dict[bool, dict[int, None]] = {False: {}, True: {}}
    for alternative in text.split():
        parts = dict(re.findall(r"(cuda|brand|driver)(?:>=|=)([^,\s]+)", alternative))
        if set(parts) == {"cuda"}:
            required = _parse_version(parts["cuda"])
        elif "driver" in parts and "cuda" not in parts:
            brand = parts.get("brand")
            kinds = (True, False) if brand is None else (brand in _CONSUMER_BRANDS,)
            for kind in kinds:
                spared[kind][_parse_major(parts["driver"])] = None
    return required, tuple(spared[False]), tuple(spared[True])


def _parse_version(text: str) -> Version | None:
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def _parse_major(text: str) -> int:
    match = re.match(r"\d+", text)
    return int(match[0]) if match else 0

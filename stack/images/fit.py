"""Whether an engine image can run on a machine, judged from its config alone, before it is pulled. Pure.

Source: the base images of NVIDIA set `CUDA_VERSION` and `NVIDIA_REQUIRE_CUDA` (the container toolkit's constraints:
words are alternatives, commas join; github.com/NVIDIA/nvidia-container-toolkit), vLLM's Dockerfile sets
`TORCH_CUDA_ARCH_LIST`; the driver each CUDA version comes with is a table of NVIDIA's CUDA release notes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stack.images.manifests import ImageConfig

Verdict = Literal["fits", "does not fit", "unknown"]
Version = tuple[int, int]

# CUDA version to the driver branch that it came with.
_DRIVERS: dict[Version, int] = {
    (11, 8): 520, (12, 0): 525, (12, 1): 530, (12, 2): 535, (12, 3): 545, (12, 4): 550, (12, 5): 555,
    (12, 6): 560, (12, 8): 570, (12, 9): 575, (13, 0): 580, (13, 1): 590,
}  # fmt: skip
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
        spared_drivers: Driver branches below that which datacenter GPUs may have all the same.
        arches: What it has kernels for, as `TORCH_CUDA_ARCH_LIST` spells it.
        size_bytes: What a pull moves.
    """

    platform: str | None = None
    cuda: Version | None = None
    required_cuda: Version | None = None
    spared_drivers: tuple[int, ...] = ()
    arches: tuple[str, ...] = ()
    size_bytes: int | None = None

    @property
    def min_driver(self) -> int | None:
        """The oldest driver branch that runs it on any GPU, or None where that is not known."""
        return _find_driver(self.required_cuda or self.cuda)


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
    required, spared = _parse_requirement(environment.get("NVIDIA_REQUIRE_CUDA", ""))
    return EngineFacts(
        config.platform,
        _parse_version(environment.get("CUDA_VERSION", "")),
        required,
        spared,
        tuple(re.split(r"[\s;,]+", environment.get("TORCH_CUDA_ARCH_LIST", "").strip())) if _lists(config) else (),
        size_bytes,
    )


def judge_fit(facts: EngineFacts, host: HostFacts) -> list[Judgement]:
    """Hold an image against a machine."""
    found = [_judge_platform(facts, host)]
    if host.device == "cuda":
        found += [_judge_driver(facts, host), _judge_kernels(facts, host)]
    return [*found, _judge_disk(facts, host)]


def find_misfits(judgements: Sequence[Judgement]) -> list[Judgement]:
    """Give what speaks against the image."""
    return [item for item in judgements if item.verdict == "does not fit"]


def _judge_platform(facts: EngineFacts, host: HostFacts) -> Judgement:
    if facts.platform is None:
        return Judgement("platform", "unknown", "the image does not say which platform it is made for")
    same = facts.platform.split("/")[:2] == host.platform.split("/")[:2]
    text = f"the image is for {facts.platform}, this machine is {host.platform}"
    return Judgement("platform", "fits" if same else "does not fit", text)


def _judge_driver(facts: EngineFacts, host: HostFacts) -> Judgement:
    wanted, cuda = facts.min_driver, facts.required_cuda or facts.cuda
    if host.driver is None:
        return Judgement("driver", "does not fit", host.no_gpu or "no NVIDIA driver is here")
    if wanted is None or cuda is None:
        return Judgement("driver", "unknown", "the image does not say which CUDA version it needs")
    has = _parse_major(host.driver)
    text = f"CUDA {cuda[0]}.{cuda[1]} needs driver {wanted} or newer, this machine has {host.driver}"
    if has >= wanted:
        return Judgement("driver", "fits", text)
    is_consumer = any("geforce" in name.lower() for name, _ in host.gpus)
    if has in facts.spared_drivers and not is_consumer:
        text += "; datacenter GPUs may run it through CUDA's forward compatibility"
        return Judgement("driver", "unknown", text)
    return Judgement("driver", "does not fit", text)


def _judge_kernels(facts: EngineFacts, host: HostFacts) -> Judgement:
    if not host.gpus:
        return Judgement("kernels", "does not fit", host.no_gpu or "no NVIDIA GPU is here")
    if not facts.arches:
        return Judgement("kernels", "unknown", "the image does not say which compute capabilities it has kernels for")
    without = [f"{name} ({major}.{minor})" for name, (major, minor) in host.gpus if not _runs(facts, (major, minor))]
    listed = " ".join(facts.arches)
    if len(without) == len(host.gpus):
        return Judgement("kernels", "does not fit", f"no kernels for {', '.join(without)}: it has {listed}")
    names = ", ".join(dict.fromkeys(f"{name} ({cap[0]}.{cap[1]})" for name, cap in host.gpus if _runs(facts, cap)))
    but = f", but none for {', '.join(without)}" if without else ""
    return Judgement("kernels", "fits", f"it has kernels for {names}{but}: {listed}")


def _judge_disk(facts: EngineFacts, host: HostFacts) -> Judgement:
    if facts.size_bytes is None:
        return Judgement("disk", "fits", "the image is here already")
    needed = facts.size_bytes * _DISK_RATIO
    size = f"{facts.size_bytes / _GIB:.1f} GiB to pull, about {needed / _GIB:.1f} GiB on the disk"
    if host.free_bytes is None:
        return Judgement("disk", "unknown", f"{size}; how much is free is not known")
    verdict: Verdict = "fits" if host.free_bytes >= needed else "does not fit"
    return Judgement("disk", verdict, f"{size}, {host.free_bytes / _GIB:.1f} GiB free")


def _runs(facts: EngineFacts, capability: Version) -> bool:
    return any(_has_kernels(arch, capability) for arch in facts.arches)


def _has_kernels(arch: str, capability: Version) -> bool:
    """Tell whether code for `arch` runs: within a major version upwards; PTX on anything newer; `a` there alone."""
    match = re.fullmatch(r"(\d+)\.(\d+)([af]?)(\+PTX)?", arch)
    if match is None:
        return False
    built = (int(match[1]), int(match[2]))
    if match[3] == "a":
        return built == capability
    return built <= capability and (bool(match[4]) or built[0] == capability[0])


def _lists(config: ImageConfig) -> bool:
    return bool(config.environment.get("TORCH_CUDA_ARCH_LIST", "").strip())


def _parse_requirement(text: str) -> tuple[Version | None, tuple[int, ...]]:
    """Give the CUDA version that any GPU needs, and the driver branches with which some GPUs need less."""
    required, spared = None, []
    for alternative in text.split():
        parts = alternative.split(",")
        cuda = next((_parse_version(part.removeprefix("cuda>=")) for part in parts if part.startswith("cuda>=")), None)
        if cuda is not None and len(parts) == 1:
            required = cuda
        spared += [_parse_major(part.removeprefix("driver>=")) for part in parts if part.startswith("driver>=")]
    return required, tuple(dict.fromkeys(spared))


def _find_driver(cuda: Version | None) -> int | None:
    if cuda is None:
        return None
    # A version that came out since needs at least what the one before it does.
    known = [version for version in _DRIVERS if version <= cuda]
    return _DRIVERS[max(known)] if known else None


def _parse_version(text: str) -> Version | None:
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def _parse_major(text: str) -> int:
    match = re.match(r"\d+", text)
    return int(match[0]) if match else 0

"""Which driver and which board run an image that was built with CUDA: decided here for every command (pure).

Sources: NVIDIA's minor version and forward compatibility
(https://docs.nvidia.com/deploy/cuda-compatibility/), the CUDA release notes (the driver that each version came with),
and what the container toolkit makes of `NVIDIA_REQUIRE_CUDA` (libnvidia-container: words are alternatives, commas
join).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Version = tuple[int, int]

# CUDA version to the driver branch that it came with.
_DRIVERS: dict[Version, int] = {
    (11, 8): 520, (12, 0): 525, (12, 1): 530, (12, 2): 535, (12, 3): 545, (12, 4): 550, (12, 5): 555,
    (12, 6): 560, (12, 8): 570, (12, 9): 575, (13, 0): 580, (13, 1): 590,
}  # fmt: skip
# CUDA's major version to the oldest driver that runs all of its minor versions (minor-version-compatibility.html,
# table 1).
_MINOR_COMPATIBLE: dict[int, int] = {13: 580, 12: 525, 11: 450}
# Compute capability 7.5 is the oldest in the arch list of vLLM's CUDA images.
_MIN_CAPABILITY = (7, 5)
_CONSUMER = re.compile(r"\b(GeForce|TITAN)\b", re.IGNORECASE)
_ARCH = re.compile(r"(\d+)\.(\d+)([af]?)(\+PTX)?")
_VARIANT = re.compile(r"(?<![a-z0-9])cu(\d{2})(\d)(?![0-9])")
# Switches of the engine's environment: vLLM's own (vllm/env_override.py), and the container toolkit's.
FORWARD_SWITCH = "VLLM_ENABLE_CUDA_COMPATIBILITY"
REQUIRE_SWITCH = "NVIDIA_DISABLE_REQUIRE"
_TRUE = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True)
class CudaImage:
    """What an engine image was built for, as far as it can be told.

    Attributes:
        cuda: The CUDA version inside; None means unknown.
        demanded: The CUDA version that the container toolkit demands of the driver for it, or None.
        spared: Driver branches below that with which professional boards may start it all the same.
        spared_consumer: The same for GeForce and TITAN.
        arches: What it has kernels for, as `TORCH_CUDA_ARCH_LIST` spells it; empty means unknown.
        source: What these facts rest on.
    """

    cuda: Version | None = None
    demanded: Version | None = None
    spared: tuple[int, ...] = ()
    spared_consumer: tuple[int, ...] = ()
    arches: tuple[str, ...] = ()
    source: str = "unknown"

    @property
    def needed(self) -> int | None:
        """The driver branch that runs it on any board, or None where that is not known."""
        cuda = self.demanded or self.cuda
        # A version that came out since needs at least what the one before it does.
        known = [version for version in _DRIVERS if cuda is not None and version <= cuda]
        return _DRIVERS[max(known)] if known else None


# .buildkite/release-pipeline.yaml: CUDA 13.0 since vLLM 0.20, CUDA 12.9 under `cu129`. What is demanded and spared is
# the NVIDIA_REQUIRE_CUDA of their base images, nvidia/cuda:13.0.x and 12.9.1.
_ARCHES = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")
DEFAULT_IMAGE = CudaImage((13, 0), (13, 0), (535, 550, 565, 570, 575), (), _ARCHES, "vLLM's default images")
_UPSTREAM_VARIANTS = {
    "cu129": CudaImage((12, 9), (12, 9), (535, 550, 560, 565, 570), (), _ARCHES, "vLLM's images for CUDA 12.9"),
}


@dataclass(frozen=True)
class DriverVerdict:
    """Whether a driver runs an image on some boards.

    Attributes:
        runs: `perhaps`: through forward compatibility that is not switched on. `unknown`: nobody says.
        message: What was compared, a sentence without a final period.
        needed: The driver branch that would run it on any board, or None.
        remedies: What else than another driver would help.
    """

    runs: Literal["yes", "perhaps", "no", "unknown"]
    message: str
    needed: int | None = None
    remedies: tuple[str, ...] = ()


def judge_driver(
    image: CudaImage, driver: str | None, boards: Sequence[str], environ: Mapping[str, str] | None = None
) -> DriverVerdict:
    """Hold a driver against an image.

    Args:
        image: What the image was built for.
        driver: The driver's version.
        boards: Names of the boards that the engine may get.
        environ: The engine's environment, which may switch compatibility on or the image's demand off.
    """
    verdict = _judge(image, driver, boards, environ)
    if verdict.runs in ("yes", "unknown"):
        return verdict
    others = (name for name, other in _UPSTREAM_VARIANTS.items() if other.cuda != image.cuda)
    fits = [name for name in others if _judge(_UPSTREAM_VARIANTS[name], driver, boards, environ).runs == "yes"]
    pins = tuple(f"`stack pin latest --cuda {name}` takes an image that this driver runs" for name in fits)
    return replace(verdict, remedies=verdict.remedies + pins)


def _judge(
    image: CudaImage, driver: str | None, boards: Sequence[str], environ: Mapping[str, str] | None
) -> DriverVerdict:
    cuda, needed = image.demanded or image.cuda, image.needed
    if cuda is None or needed is None:
        return DriverVerdict("unknown", f"driver {driver}; the CUDA of the engine's image is not known")
    has, name = parse_branch(driver), f"CUDA {describe_version(cuda)}"
    if has >= needed:
        return DriverVerdict("yes", f"driver {driver} runs {name} (needs {needed}; {image.source})", needed)
    consumer = next((board for board in boards if is_consumer(board)), None)
    is_spared = has in (image.spared_consumer if consumer else image.spared)
    is_started = image.demanded is None or is_spared or is_on(environ, REQUIRE_SWITCH)
    too_old = f"driver {driver} is too old for {name}: {needed} or newer is needed ({image.source})"
    since = _MINOR_COMPATIBLE.get(cuda[0])
    if since is not None and has >= since:
        if is_started:
            said = f"driver {driver} runs {name} by minor version compatibility ({cuda[0]}.x runs from {since} on; "
            return DriverVerdict("yes", f"{said}{image.source})", needed)
        remedy = (
            f'`{REQUIRE_SWITCH} = "1"` under `[engine.env]` starts it all the same: {cuda[0]}.x runs from {since} on'
        )
        return DriverVerdict("no", too_old, needed, (remedy,))
    if consumer is not None or not boards or has not in image.spared:
        return DriverVerdict("no", too_old, needed)
    if is_on(environ, FORWARD_SWITCH):
        said = f"driver {driver} runs {name} through forward compatibility ({FORWARD_SWITCH}; {image.source})"
        return DriverVerdict("yes", said, needed)
    remedy = f'this board may do with `{FORWARD_SWITCH} = "1"` under `[engine.env]` (forward compatibility)'
    return DriverVerdict("perhaps", too_old, needed, (remedy,))


def build_variant(text: str | None) -> CudaImage | None:
    """Give what a CUDA variant stands for (`cu129`, also inside a tag), or None where the text names none."""
    match = _VARIANT.search(text or "")
    if match is None:
        return None
    cuda = (int(match[1]), int(match[2]))
    return _UPSTREAM_VARIANTS.get(match[0]) or CudaImage(cuda, cuda, source=f"its variant {match[0]}")


def has_kernels(image: CudaImage, capability: Version) -> bool:
    """Tell whether an image has kernels for a board; where it does not say, vLLM's oldest board decides."""
    if not image.arches:
        return capability >= _MIN_CAPABILITY
    return any(_covers(arch, capability) for arch in image.arches)


def describe_kernels(image: CudaImage) -> str:
    """Say what an image has kernels for."""
    return ", ".join(image.arches) or f"{describe_version(_MIN_CAPABILITY)} and newer"


def _covers(arch: str, capability: Version) -> bool:
    """Tell whether code for `arch` runs: within a major version upwards; PTX on anything newer; `a` there alone.

    Source: the CUDA programming guide, binary and PTX compatibility.
    """
    match = _ARCH.fullmatch(arch)
    if match is None:
        return False
    built = (int(match[1]), int(match[2]))
    if match[3] == "a":
        return built == capability
    return built <= capability and (bool(match[4]) or built[0] == capability[0])


def is_consumer(board: str) -> bool:
    """Tell whether a board has no forward compatibility: GeForce and TITAN."""
    return bool(_CONSUMER.search(board))


def parse_branch(driver: str | None) -> int:
    """Give a driver's branch: `580.95.05` is 580; 0 where there is none."""
    match = re.match(r"\d+", driver or "")
    return int(match[0]) if match else 0


def describe_version(parts: Sequence[int]) -> str:
    """Write a version: (13, 0) is `13.0`."""
    return ".".join(str(part) for part in parts)


def is_on(environ: Mapping[str, str] | None, name: str) -> bool:
    """Tell whether an environment switches something on."""
    return (environ or {}).get(name, "").strip().lower() in _TRUE

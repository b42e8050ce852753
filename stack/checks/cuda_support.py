"""Which driver runs which CUDA, and which boards have no way round it (pure)."""

from __future__ import annotations

import re
from collections.abc import Sequence

# CUDA's major version to the oldest driver that runs all of its minor versions.
# https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html, table 1.
MIN_DRIVERS: dict[int, tuple[int, ...]] = {13: (580,), 12: (525,), 11: (450,)}
# Forward compatibility, a newer CUDA on an older driver, is for data centre boards and some professional ones:
# https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html; vLLM's images carry what it needs for
# R535 and R570 and switch it on with VLLM_ENABLE_CUDA_COMPATIBILITY=1 (docs/getting_started/installation/
# gpu.cuda.inc.md).
FORWARD_COMPATIBLE_DRIVERS = (535, 570)
_CONSUMER = re.compile(r"\b(GeForce|TITAN)\b", re.IGNORECASE)


def find_min_driver(cuda: tuple[int, int] | None) -> tuple[int, ...] | None:
    """Give the oldest driver that runs a CUDA version, or None where that is not known."""
    return MIN_DRIVERS.get(cuda[0]) if cuda is not None else None


def parse_driver(version: str | None) -> tuple[int, ...]:
    """Give a driver's version as numbers: `580.95.05` is (580, 95, 5)."""
    return tuple(int(part) for part in re.findall(r"\d+", version or ""))


def can_run_forward(driver: tuple[int, ...], board_names: Sequence[str]) -> bool:
    """Tell whether an older driver may run a newer CUDA on these boards; never on GeForce."""
    is_known = bool(driver) and driver[0] in FORWARD_COMPATIBLE_DRIVERS
    return is_known and bool(board_names) and not any(_CONSUMER.search(name) for name in board_names)


def describe_version(parts: Sequence[int]) -> str:
    """Write a version: (13, 0) is `13.0`."""
    return ".".join(str(part) for part in parts)


def is_arch_covered(capability: tuple[int, int], arches: Sequence[tuple[int, int]]) -> bool:
    """Tell whether kernels for these architectures run on a board.

    A kernel for x.y runs on x.z with z >= y, and on no other major version (the CUDA programming guide, binary
    compatibility); an image without PTX has no way up.
    """
    return any(major == capability[0] and minor <= capability[1] for major, minor in arches)

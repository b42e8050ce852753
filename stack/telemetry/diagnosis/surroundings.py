"""What is known of an engine beyond its /metrics page, measured over the same time. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class GpuUse:
    """What one GPU of the engine did between the two looks.

    Attributes:
        index: NVML's index.
        looks: How often it was asked.
        utilization: The mean share of the time in which it computed, 0 to 1; None where it does not tell.
        clock_share: The mean clock of its multiprocessors as a share of the highest; None where it does not tell.
        slowdowns: What held its clocks down at every single look, in words; empty where nothing did.
    """

    index: int
    looks: int
    utilization: float | None = None
    clock_share: float | None = None
    slowdowns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """What is known of the engine beyond its page; of an engine elsewhere that is nothing.

    Attributes:
        device: Where it computes; None where nobody told.
        max_num_seqs: `--max-num-seqs` on its command line; None where it is not there, as vLLM's default depends on
            the GPU.
        engine_cores: Cores that its container kept busy, on average.
        other_cores: Cores that everything else on the machine kept busy, on average.
        cores: Cores that its container may use.
        gpus: Its GPUs.
    """

    device: Literal["cpu", "cuda"] | None = None
    max_num_seqs: int | None = None
    engine_cores: float | None = None
    other_cores: float | None = None
    cores: float | None = None
    gpus: tuple[GpuUse, ...] = ()

"""The rules in their order, and what they amount to for each model and rank of an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stack.telemetry.diagnosis.limit import Limit
from stack.telemetry.diagnosis.looks import build_windows, find_missing, find_restart
from stack.telemetry.diagnosis.machine_rules import check_gpu_clocks, check_host_cpu
from stack.telemetry.diagnosis.room_rules import (
    check_admission,
    check_kv_cache,
    check_preemption,
    check_queue,
    check_stuck,
)
from stack.telemetry.diagnosis.surroundings import Surroundings
from stack.telemetry.diagnosis.window import Window
from stack.telemetry.diagnosis.work_rules import COMPUTING_CORES, check_client, check_decode, check_idle, check_prefill
from stack.telemetry.exposition import Exposition

NOT_ENOUGH = "not enough evidence"

RULES: tuple[Callable[[Window], Limit | None], ...] = (
    check_stuck,
    check_preemption,
    check_kv_cache,
    check_queue,
    check_admission,
    check_gpu_clocks,
    check_host_cpu,
    check_prefill,
    check_client,
    check_decode,
    check_idle,
)
"""The first that holds is the verdict: what keeps requests out comes before what slows those that are in."""


@dataclass(frozen=True)
class Diagnosis:
    """What limits one model and rank of an engine.

    Attributes:
        window: What was looked at; None where the pages cannot be compared.
        limits: What limits it, the main one first.
        missing: What is missing to say more, in words.
    """

    window: Window | None
    limits: tuple[Limit, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The name of the main limit, or that there is not enough evidence."""
        return self.limits[0].name if self.limits else NOT_ENOUGH


def diagnose(
    before: Exposition, after: Exposition, seconds: float, around: Surroundings | None = None
) -> list[Diagnosis]:
    """Say what limits each model and rank of an engine.

    Args:
        before: The page at the first look.
        after: The page at the second.
        seconds: What lies between them.
        around: What else is known of the engine.
    """
    missing = find_missing(before, after)
    restart = find_restart(before, after)
    if missing:
        return [Diagnosis(None, missing=(missing,))]
    if restart is not None:
        words = f"the engine started anew between the looks ({restart}): ask again once it serves"
        return [Diagnosis(None, missing=(words,))]
    return [judge(window) for window in build_windows(before, after, seconds, around)]


def judge(window: Window) -> Diagnosis:
    """Say what limits one model and rank."""
    if window.is_asleep:
        return Diagnosis(window, missing=("the engine sleeps: wake it up (`POST /wake_up`) and ask again",))
    limits = tuple(limit for limit in (rule(window) for rule in RULES) if limit is not None)
    return Diagnosis(window, limits, _list_missing(window, limits))


def _list_missing(window: Window, limits: tuple[Limit, ...]) -> tuple[str, ...]:
    missing: list[str] = []
    cores = window.around.engine_cores
    if not limits and not window.has_moved and cores is not None and cores >= COMPUTING_CORES:
        missing.append(
            f"a step that ended: the engine computes ({cores:.1f} cores busy), and tells of it only when a step ends; "
            "look longer (`--seconds 60`)"
        )
    elif not limits:
        missing.append(
            f"no rule holds: {window.finished:.0f} requests ended and {window.generated:.0f} tokens were made "
            f"in {window.seconds:.0f} s; look longer (`--seconds 60`), or while the load is on"
        )
    names = {limit.name for limit in limits}
    if window.around.max_num_seqs is None and "queue" in names:
        missing.append("the engine's `max-num-seqs`, which /metrics does not tell")
    if window.has_moved and cores is None:
        missing.append("the host's CPU, which only the daemon of the engine's machine tells")
    if window.has_moved and window.around.device != "cpu" and not window.around.gpus:
        missing.append("the GPUs' clocks, which only the driver of the engine's machine tells")
    return tuple(missing)

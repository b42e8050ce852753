"""What a bench measures: its load by preset, by a probe, by a sweep, or by the run that it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from stack.operations.bench.client import BenchClient, Run
from stack.traffic.bench_knee import Knee, Step, find_knee, find_next_rate, round_rate
from stack.traffic.bench_load import (
    PRESETS,
    SOAK_SHARE,
    Load,
    build_probe,
    describe_load,
    estimate_seconds,
    plan_prompts,
)

SOAK = "soak"
# Imports and warm-ups of each run, for an estimate.
_START_SECONDS = 20.0
# Seeds of a bench lie side by side: repeats first, then the probe's and the sweep's.
_PROBE_SEED, _SWEEP_SEED = 500, 600


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        load: The load of each repeat.
        seconds: About how long a repeat should take.
        answered_per_second: Requests a second that the probe was answered; None where there was none.
        steps: The rates of a sweep.
        knee: Where it ended, or None where there was none.
    """

    load: Load
    seconds: float
    answered_per_second: float | None = None
    steps: tuple[Step, ...] = ()
    knee: Knee | None = None

    @property
    def repeat_seconds(self) -> float:
        """Give about how long a repeat does take."""
        return estimate_seconds(self.load, self.answered_per_second, self.seconds)


def plan_bench(
    client: BenchClient,
    load: Load,
    *,
    preset: str,
    seconds: float,
    is_sweep: bool,
    seed: int,
    say: Callable[[str], None],
) -> Plan:
    """Give what each repeat measures; a load whose number of prompts is decided stays as it is.

    Raises:
        StackError: The engine cannot be asked.
    """
    if load.prompts:
        return Plan(load, seconds)
    probe = build_probe(load)
    run = client.run(probe, seed=seed + _PROBE_SEED, said="probe", seconds=seconds)
    answered = run.measured.rates["requests_per_second"]
    if is_sweep:
        return _sweep(client, load, answered, seconds, seed, say)
    if preset == SOAK and load.rate is None:
        load = replace(load, rate=round_rate(answered * SOAK_SHARE))
        say(f"a probe was answered at {answered:.3g} requests a second; {SOAK_SHARE:.0%} of that is asked")
    planned = plan_prompts(load, answered, seconds)
    say(f"a probe was answered at {answered:.3g} requests a second: {describe_load(planned)}")
    return Plan(planned, seconds, answered)


def describe_time(repeats: int, seconds: float) -> str:
    """Give about how long so many repeats take."""
    minutes = repeats * (seconds + _START_SECONDS) / 60
    return f"about {minutes:.0f} min" if minutes >= 1.5 else f"about {minutes * 60:.0f} s"


def soak_seconds(preset: str, minutes: float | None, repeats: int, seconds: float) -> float:
    """Give how long one repeat takes: of a soak its share of the whole."""
    whole = minutes if minutes is not None else PRESETS[preset].minutes
    return seconds if whole is None else whole * 60 / repeats


def build_step(rate: float, run: Run) -> Step:
    """Give what one rate of a sweep came to."""
    figures = run.measured.figures
    return Step(
        rate=rate,
        good_per_second=figures.get("good_requests_per_second", figures["requests_per_second"]),
        output_tokens_per_second=figures["output_tokens_per_second"],
        ttft_p95_seconds=figures["ttft_seconds.p95"],
        failed=run.measured.failed,
    )


def _sweep(
    client: BenchClient, load: Load, answered: float, seconds: float, seed: int, say: Callable[[str], None]
) -> Plan:
    steps: list[Step] = []
    while (rate := find_next_rate(steps, answered)) is not None:
        at_rate = plan_prompts(replace(load, rate=rate), answered, seconds)
        run = client.run(
            at_rate,
            seed=seed + _SWEEP_SEED + len(steps),
            said=f"{rate:g} requests a second",
            seconds=estimate_seconds(at_rate, answered, seconds),
        )
        steps.append(build_step(rate, run))
        say(describe_step(steps[-1]))
    knee = find_knee(steps)
    step = knee.step or steps[0]
    planned = plan_prompts(replace(load, rate=step.rate), answered, seconds)
    return Plan(planned, seconds, answered, tuple(steps), knee)


def describe_step(step: Step) -> str:
    """Give a step of a sweep in words."""
    return (
        f"{step.rate:g} requests a second: {step.good_per_second:.3g} answered in time, "
        f"{step.output_tokens_per_second:.4g} tok/s, TTFT p95 {step.ttft_p95_seconds:.3g} s"
    )

"""The loads of `stack bench` as data, fitted to an engine, and the arguments of `vllm bench serve` for them. Pure.

Source: the arguments are those of vLLM 0.31.0 and 0.32.0, `vllm/benchmarks/serve.py` and `benchmarks/datasets/`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

# A prompt that is decoded and encoded again may have a few tokens more than it was made of.
_USABLE_SHARE = 0.95
_LEAST_TOKENS = 8
# Below that, edges weigh more than what is between them.
_LEAST_ROUNDS = 3
_LEAST_ARRIVALS = 24
# Of what the engine can answer; above it a queue grows for as long as a soak lasts.
SOAK_SHARE = 0.6


@dataclass(frozen=True)
class Load:
    """What is sent, request by request.

    Attributes:
        dataset: vLLM's name for how prompts are made: `random` or `prefix_repetition`.
        input_tokens: Of each prompt; without what it shares.
        output_tokens: Of each answer; its end is ignored.
        concurrency: So many are kept under way, where no rate is given.
        prefix_tokens: What prompts share.
        prefixes: How many such beginnings there are.
        rate: Requests a second that arrive (a Poisson process), whether others were answered or not; None: as many as
            `concurrency` allows.
        prompts: How many are sent in one repeat; 0 where that is not decided yet.
    """

    dataset: str
    input_tokens: int
    output_tokens: int
    concurrency: int
    prefix_tokens: int = 0
    prefixes: int = 0
    rate: float | None = None
    prompts: int = 0

    @property
    def context_tokens(self) -> int:
        """Give the tokens of a request and its answer."""
        return self.prefix_tokens + self.input_tokens + self.output_tokens

    @property
    def warmups(self) -> int:
        """Give how many requests are sent first and not measured."""
        return self.concurrency


@dataclass(frozen=True)
class Preset:
    """A load with a name.

    Attributes:
        about: What it is like, in a few words.
        loads: The load by device: what fills a GPU would take a CPU an hour.
        minutes: How long it lasts in all where nobody says, for what is judged by its length; else None.
    """

    about: str
    loads: Mapping[str, Load]
    minutes: float | None = None


_CHAT = MappingProxyType({"cuda": Load("random", 512, 256, 16), "cpu": Load("random", 128, 64, 4)})
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "chat": Preset("short questions, short answers, many at a time", _CHAT),
        "long-context": Preset(
            "long prompts, short answers, few at a time",
            MappingProxyType({"cuda": Load("random", 8192, 128, 4), "cpu": Load("random", 1024, 32, 2)}),
        ),
        "shared-prefix": Preset(
            "prompts that begin alike, as with one system prompt",
            MappingProxyType(
                {
                    "cuda": Load("prefix_repetition", 128, 128, 16, prefix_tokens=2048, prefixes=8),
                    "cpu": Load("prefix_repetition", 64, 32, 4, prefix_tokens=512, prefixes=4),
                }
            ),
        ),
        "soak": Preset("chat at a steady rate that the engine can bear, for long", _CHAT, minutes=10.0),
    }
)


def build_load(preset: str, device: str, max_model_len: int | None, rate: float | None = None) -> Load:
    """Give a preset's load for an engine; one that is too long for it is made shorter, all parts alike."""
    load = replace(PRESETS[preset].loads[device], rate=rate)
    usable = math.floor((max_model_len or load.context_tokens * 2) * _USABLE_SHARE)
    if load.context_tokens <= usable:
        return load
    share = usable / load.context_tokens

    def shorten(tokens: int) -> int:
        return max(_LEAST_TOKENS, math.floor(tokens * share)) if tokens else 0

    return replace(
        load,
        input_tokens=shorten(load.input_tokens),
        output_tokens=shorten(load.output_tokens),
        prefix_tokens=shorten(load.prefix_tokens),
    )


def build_probe(load: Load) -> Load:
    """Give the short load from which the number of prompts is decided: as many as are kept under way, twice."""
    return with_prompts(replace(load, rate=None), 2 * load.concurrency)


def plan_prompts(load: Load, requests_per_second: float, seconds: float) -> Load:
    """Give the load with so many prompts that a repeat takes about so many seconds.

    Args:
        load: The load.
        requests_per_second: What the engine answered of the probe.
        seconds: How long a repeat should take.
    """
    if load.rate is not None:
        return with_prompts(load, max(_LEAST_ARRIVALS, math.ceil(load.rate * seconds)))
    rounds = max(_LEAST_ROUNDS, round(requests_per_second * seconds / load.concurrency))
    return with_prompts(load, rounds * load.concurrency)


def estimate_seconds(load: Load, requests_per_second: float | None, seconds: float) -> float:
    """Give about how long a repeat takes: longer than was asked where so few prompts as there must be take longer.

    Args:
        load: The load, with its prompts.
        requests_per_second: What the engine answered of the probe, or None where there was none.
        seconds: How long a repeat should take.
    """
    pace = load.rate if load.rate is not None else requests_per_second
    return max(seconds, load.prompts / pace) if pace else seconds


def with_prompts(load: Load, prompts: int) -> Load:
    """Give the load with so many prompts, or a few more: each prefix is sent equally often."""
    step = max(1, load.prefixes)
    return replace(load, prompts=math.ceil(prompts / step) * step)


def build_arguments(load: Load, *, seed: int, goodput_seconds: Mapping[str, float]) -> list[str]:
    """Give the arguments of `vllm bench serve` that make the load and choose its figures.

    Args:
        load: The load.
        seed: Decides the prompts and when they arrive.
        goodput_seconds: The longest good `ttft`, `tpot` and `e2el`; what is left out is of no matter.
    """
    argv = ["--dataset-name", load.dataset]
    if load.dataset == "random":
        argv += ["--random-input-len", str(load.input_tokens), "--random-output-len", str(load.output_tokens)]
    else:
        argv += ["--prefix-repetition-prefix-len", str(load.prefix_tokens)]
        argv += ["--prefix-repetition-suffix-len", str(load.input_tokens)]
        argv += ["--prefix-repetition-num-prefixes", str(load.prefixes)]
        argv += ["--prefix-repetition-output-len", str(load.output_tokens)]
    argv += ["--num-prompts", str(load.prompts), "--num-warmups", str(load.warmups), "--seed", str(seed)]
    if load.rate is None:
        argv += ["--max-concurrency", str(load.concurrency)]
    else:
        argv += ["--request-rate", f"{load.rate:g}"]
    argv += ["--ignore-eos", "--temperature", "0"]
    argv += ["--percentile-metrics", "ttft,tpot,itl,e2el", "--metric-percentiles", "50,95,99"]
    if goodput_seconds:
        # In milliseconds.
        argv += ["--goodput", *(f"{name}:{seconds * 1000:g}" for name, seconds in goodput_seconds.items())]
    return argv


def describe_load(load: Load) -> str:
    """Give a load in words."""
    shared = f"{load.prefix_tokens} tokens of {load.prefixes} shared beginnings and " if load.prefixes else ""
    when = f"{load.concurrency} at a time" if load.rate is None else f"{load.rate:.3g} a second"
    count = f"{load.prompts} requests a repeat, " if load.prompts else ""
    return f"{count}{shared}{load.input_tokens} tokens in, {load.output_tokens} out, {when}"


def build_load_document(load: Load) -> dict[str, Any]:
    """Give a load as JSON says it."""
    return asdict(load)


def parse_load(document: Mapping[str, Any]) -> Load | None:
    """Give the load that a document tells of, or None where it is not one of this version's."""
    try:
        return Load(**document)
    except TypeError:
        return None

"""A preset must fit every engine, and become the arguments that `vllm bench serve` knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stack.cli.bench import _PRESETS
from stack.traffic.bench_load import (
    PRESETS,
    Load,
    build_arguments,
    build_load,
    build_load_document,
    build_probe,
    describe_load,
    estimate_seconds,
    parse_load,
    plan_prompts,
)


def test_the_command_offers_every_preset() -> None:
    assert tuple(PRESETS) == _PRESETS


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("max_model_len", [128, 512, 2048, 131072, None])
def test_every_preset_fits_every_engine(preset: str, device: str, max_model_len: int | None) -> None:
    load = build_load(preset, device, max_model_len)
    assert load.context_tokens <= (max_model_len or load.context_tokens)
    assert min(load.input_tokens, load.output_tokens) >= 8
    assert bool(load.prefixes) == bool(load.prefix_tokens)
    if max_model_len is None or max_model_len > 100_000:
        assert load == PRESETS[preset].loads[device]


def test_a_repeat_of_a_closed_loop_is_whole_rounds_of_what_is_under_way() -> None:
    load = Load("random", 128, 64, 4)
    assert plan_prompts(load, 1.54, 30).prompts == 48
    assert plan_prompts(load, 0.001, 30).prompts == 12


def test_a_repeat_at_a_rate_lasts_as_long_as_was_asked_but_for_a_few_arrivals() -> None:
    load = Load("random", 128, 64, 4, rate=2.5)
    assert plan_prompts(load, 99, 30).prompts == 75
    assert plan_prompts(load, 99, 1).prompts == 24


def test_a_repeat_lasts_as_long_as_its_prompts_take() -> None:
    load = Load("random", 128, 64, 4, rate=0.02, prompts=24)
    assert estimate_seconds(load, 99, 30) == 1200
    assert estimate_seconds(replace(load, rate=None), 0.02, 30) == 1200
    assert estimate_seconds(replace(load, rate=None), None, 30) == 30
    assert estimate_seconds(replace(load, rate=24), 0.02, 30) == 30


def test_each_shared_beginning_is_sent_equally_often() -> None:
    load = Load("prefix_repetition", 64, 32, 3, prefix_tokens=512, prefixes=4)
    assert build_probe(load).prompts == 8
    assert plan_prompts(load, 1.0, 30).prompts % 4 == 0


def test_arguments_of_a_closed_loop() -> None:
    load = Load("random", 128, 64, 4, prompts=48)
    said = " ".join(build_arguments(load, seed=7, goodput_seconds={"ttft": 2.5, "tpot": 0.2}))
    assert said == (
        "--dataset-name random --random-input-len 128 --random-output-len 64 --num-prompts 48 --num-warmups 4 --seed 7 "
        "--max-concurrency 4 --ignore-eos --temperature 0 --percentile-metrics ttft,tpot,itl,e2el "
        "--metric-percentiles 50,95,99 --goodput ttft:2500 tpot:200"
    )


def test_arguments_of_shared_beginnings_at_a_rate() -> None:
    load = Load("prefix_repetition", 64, 32, 4, prefix_tokens=512, prefixes=4, rate=1.25, prompts=48)
    said = " ".join(build_arguments(load, seed=7, goodput_seconds={}))
    assert said.startswith(
        "--dataset-name prefix_repetition --prefix-repetition-prefix-len 512 --prefix-repetition-suffix-len 64 "
        "--prefix-repetition-num-prefixes 4 --prefix-repetition-output-len 32 "
    )
    assert "--request-rate 1.25" in said
    assert "--max-concurrency" not in said
    assert "--goodput" not in said


def test_a_load_survives_the_history() -> None:
    load = replace(build_load("shared-prefix", "cpu", 2048, rate=1.5), prompts=12)
    assert parse_load(build_load_document(load)) == load
    assert parse_load({"dataset": "random", "size": 1}) is None
    assert "4 shared beginnings" in describe_load(load)

"""The sizing against what vLLM 0.31.0 said of the same configs (`fixtures/logs/sizing`): token for token.

The CPU engine that was recorded takes fp8 caches, GPTQ and int8 weights, latent attention and windows. It has no
torchvision, so it refuses every multimodal model before it has a cache: of those there is no figure to compare
with, only that nothing is promised. That CUDA schedules two batches at once, where the CPU runs one, is read in
vLLM's source (`config/vllm.py`, `max_concurrent_batches`) and was not seen.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from stack.models.sizing import Budget, Sizing, build_sizing, judge
from stack.models.sizing_engine import parse_engine_number
from stack.models.sizing_pool import CachePool

LOGS = Path(__file__).parents[2] / "fixtures/logs/sizing"
SIZE = re.compile(r"KV cache size: ([\d,]+) tokens, Maximum concurrency for ([\d,]+) tokens per request: ([\d.]+)x")
REDUCED = re.compile(r"Auto-fit max_model_len: reduced from (\d+) to (\d+) ")
WHOLE = re.compile(r"Auto-fit max_model_len: full model context length (\d+) fits")
REFUSED = re.compile(r"max seq len \((\d+)\).*estimated maximum model length is (\d+)")


def load(name: str) -> tuple[str, Sizing, int]:
    log = (LOGS / f"{name}.log").read_text()
    recorded = json.loads((LOGS / f"{name}.json").read_text())
    args = parse_args(recorded["args"]) | {"enforce-eager": True}
    return log, build_sizing(recorded["config"], [], args, device="cpu"), parse_engine_number(
        args["kv-cache-memory-bytes"]
    )  # fmt: skip


def parse_args(argv: list[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for item in argv:
        if item.startswith("--"):
            name = item[2:]
            found[name] = True
        else:
            found[name] = item
    return found


def list_with(pattern: re.Pattern[str]) -> list[str]:
    return sorted(path.stem for path in LOGS.glob("*.log") if pattern.search(path.read_text()))


def number(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.mark.parametrize("name", list_with(SIZE))
def test_tokens_and_concurrency_are_those_of_the_engines_log(name):
    log, sizing, pool_bytes = load(name)
    tokens, length, concurrency = SIZE.search(log).groups()
    assert isinstance(sizing.pool, CachePool)
    assert sizing.pool.count_tokens(pool_bytes, number(length)) == number(tokens)
    assert round(sizing.pool.compute_concurrency(pool_bytes, number(length)), 2) == float(concurrency)


@pytest.mark.parametrize("name", list_with(REDUCED))
def test_the_largest_context_is_the_one_that_the_engine_fits_by_itself(name):
    log, sizing, pool_bytes = load(name)
    made_for, fitted = map(number, REDUCED.search(log).groups())
    assert sizing.max_context == made_for
    verdict = judge(sizing, Budget(kv_bytes=pool_bytes))
    assert (verdict.fits, verdict.context) == ("yes", (fitted, fitted))


@pytest.mark.parametrize("name", list_with(WHOLE))
def test_a_context_that_fits_whole_is_not_cut(name):
    log, sizing, pool_bytes = load(name)
    assert judge(sizing, Budget(kv_bytes=pool_bytes)).context[1] == number(WHOLE.search(log)[1])


@pytest.mark.parametrize("name", list_with(REFUSED))
def test_what_the_engine_refuses_does_not_fit_and_the_length_that_does_is_the_engines(name):
    log, sizing, pool_bytes = load(name)
    asked, fitting = map(number, REFUSED.search(log).groups())
    verdict = judge(sizing, Budget(kv_bytes=pool_bytes))
    assert (verdict.fits, sizing.asked_context, verdict.context) == ("no", asked, (fitting, fitting))


def test_of_a_multimodal_model_nothing_is_promised():
    log, sizing, pool_bytes = load("multimodal")
    assert "failed to be inspected" in log
    verdict = judge(sizing, Budget(kv_bytes=pool_bytes))
    assert (verdict.fits, verdict.context) == ("unknown", (None, None))
    assert set(sizing.find_unknowns()) == {"kv", "overhead"}
    assert sizing.total.high is None


def test_every_kind_has_a_recording():
    kinds = {name.split("-")[0] for name in list_with(SIZE)}
    assert kinds == {"demo", "gqa", "mla", "sliding", "hybrid", "quantised"}
    assert len(list_with(REDUCED)) >= 4
    assert len(list_with(REFUSED)) == 2

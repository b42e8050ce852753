"""Boot phases from recorded logs, and from the messages of vLLM's sources in their order on a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.containers.boot_log import (
    PHASES,
    BootLog,
    parse_progress,
)
from stack.containers.daemon import parse_time
from stack.failures.log_lines import parse_message

LOGS = Path(__file__).parents[2] / "fixtures" / "logs"
EAGER = LOGS / "vllm-0.32.0-cpu-eager.log"
JSON = LOGS / "vllm-0.31.0-cpu-json.log"
SHM = LOGS / "vllm-0.32.0-cpu-shm-too-small.log"

# Messages of vLLM 0.31.0 (v1/worker/gpu_worker.py, v1/engine/core.py, v1/worker/gpu/cudagraph_utils.py) in
# the order in which a CUDA boot calls them; seconds are made up.
LOAD = (10, "(EngineCore pid=9) INFO 11-21 22:05:35 [gpu.py:68] Starting to load model /models/m...")
COMPILE = (20, "INFO 11-21 22:05:40 [backends.py:1] [backbone] Dynamo bytecode transform time: 4.10 s")
MISS = (22, "[backbone] Compiling a graph for compile range (1, 2048) takes 9.31 s")
TRIAL_V1 = (40, "Profiling CUDA graph memory: PIECEWISE=51 (largest=512), FULL=35 (largest=256)")
TRIAL_V2 = (40, "Capturing CUDA graphs (PIECEWISE):  50%|█████     | 1/2 [00:00<00:00,  4.10it/s]")
AVAILABLE = (
    46,
    "(EngineCore pid=9) INFO 11-21 22:05:50 [gpu_worker.py:693] Available KV cache memory: 14.2 GiB",
)
SIZE = (47, "GPU KV cache size: 93,184 tokens, Maximum concurrency for 8,192 tokens per request: 11.38x")
CAPTURE = (
    50,
    "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):   2%|▏ | 1/51 [00:00<00:05, 9.0it/s]",
)
CAPTURED = (58, "Graph capturing finished in 8 secs, took 0.52 GiB")
INIT = (60, "init engine (profile, create kv cache, warmup model) took 50.11 s (compilation: 9.3 s)")


def feed(log: BootLog, lines: list[tuple[float, str]]) -> list[str]:
    """Feed a boot and give the phases that lines opened."""
    return [log.current for at_seconds, line in lines if log.add(line, at_seconds)]


def read_stamped(path: Path) -> list[tuple[float, str]]:
    rows = [line.partition(" ") for line in path.read_bytes().decode().rstrip("\n").split("\n")]
    first = parse_time(rows[0][0])
    assert first is not None
    return [((parse_time(stamp) - first).total_seconds(), text) for stamp, _, text in rows]


def names(log: BootLog) -> list[str]:
    return [phase.name for phase in log.phases]


def test_a_recorded_boot_in_json_has_the_same_phases():
    log = BootLog()
    assert feed(log, read_stamped(JSON)) == ["load", "kv-cache", "server"]
    assert (log.cache_state, log.serving_at_seconds is not None) == ("none", True)


def test_a_recorded_eager_boot_has_the_phases_that_it_had():
    log = BootLog()
    assert feed(log, read_stamped(EAGER)) == ["load", "kv-cache", "server"]
    phases = log.finish(server_ready_seconds=29.7, first_token_seconds=42.5)
    shown = [(phase.name, round(phase.seconds, 2)) for phase in phases]
    assert shown == [
        ("start", 19.05), ("load", 2.24), ("kv-cache", 6.26), ("server", 2.15), ("first-token", 12.8),
    ]  # fmt: skip
    assert sum(phase.seconds for phase in phases) == pytest.approx(42.5)


def test_an_eager_boot_has_nothing_to_cache():
    log = BootLog()
    feed(log, read_stamped(EAGER))
    assert log.cache_state == "none"


@pytest.mark.parametrize("path", [EAGER, SHM], ids=lambda path: path.stem)
def test_each_line_of_a_recorded_log_opens_its_phase_alone(path):
    opened = {}
    for line in path.read_text().splitlines():
        log = BootLog()
        if log.add(line, 1.0):
            opened.setdefault(log.current, []).append(parse_message(line.partition("Z ")[2] or line))
    assert set(opened) <= {"load", "kv-cache", "server"}
    assert all("KV cache" in text for text in opened.get("kv-cache", []))
    assert all("load model" in text for text in opened.get("load", []))


def test_a_boot_that_failed_before_loading_stays_in_its_start():
    log = BootLog()
    assert feed(log, [(1.0, line) for line in SHM.read_text().splitlines()]) == []
    assert log.current == "start"


@pytest.mark.parametrize("trial", [TRIAL_V1, TRIAL_V2], ids=["runner v1", "runner v2"])
def test_graphs_captured_for_trial_before_the_kv_cache_is_sized_are_no_phase_of_their_own(trial):
    log = BootLog()
    opened = feed(log, [LOAD, COMPILE, MISS, trial, AVAILABLE, SIZE, CAPTURE, CAPTURED, INIT])
    assert opened == ["load", "compile", "kv-cache", "graphs", "server"]
    phases = log.finish(62, 63)
    assert tuple(phase.name for phase in phases) == ("start", *PHASES)
    assert {phase.name: phase.seconds for phase in phases} == {
        "start": 10, "load": 10, "compile": 20, "kv-cache": 10, "graphs": 10, "server": 2, "first-token": 1,
    }  # fmt: skip


def test_a_kv_cache_of_a_given_size_is_measured_by_nothing_and_still_a_phase():
    log = BootLog()
    assert feed(log, [LOAD, SIZE, CAPTURE, INIT]) == ["load", "kv-cache", "graphs", "server"]


def test_a_cpu_engine_compiles_after_it_sized_its_kv_cache():
    sized = (20, "Explicitly set (2.0/14.59) GiB for KV cache on node 0.")
    log = BootLog()
    opened = feed(log, [LOAD, sized, (21, "CPU KV cache size: 93,184 tokens"), (30, MISS[1]), INIT])
    assert opened == ["load", "kv-cache", "compile", "server"]


def test_a_late_line_of_an_earlier_phase_changes_nothing():
    log = BootLog()
    feed(log, [LOAD, COMPILE, AVAILABLE, SIZE, CAPTURE])
    assert feed(log, [(55, LOAD[1]), (55, MISS[1]), (56, SIZE[1])]) == []
    assert log.current == "graphs"


def test_no_line_reopens_a_boot_that_is_over():
    log = BootLog()
    feed(log, [LOAD, SIZE])
    phases = log.finish(60, 61)
    assert feed(log, [COMPILE, CAPTURE, INIT]) == []
    assert tuple(log.phases) == phases


def test_an_engine_that_never_said_that_its_server_starts_has_the_phase_from_its_first_answer():
    log = BootLog()
    feed(log, [LOAD, SIZE])
    phases = log.finish(server_ready_seconds=60, first_token_seconds=61.5)
    assert [(phase.name, phase.seconds) for phase in phases[-2:]] == [("server", 0), ("first-token", 1.5)]


def test_a_clock_that_goes_back_gives_no_negative_phase():
    log = BootLog()
    feed(log, [(10, LOAD[1]), (8, SIZE[1]), (9, INIT[1])])
    assert all(phase.seconds >= 0 for phase in log.finish(9, 9))


HIT = "Directly load AOT compilation from path /cache/vllm/torch_compile_cache/torch_aot_compile/x/model"
FAILED_LOAD = "Compiling model again due to a load failure from /cache/x, reason: 'function' object has no attribute"


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ([HIT], "warm"),
        ([MISS[1]], "cold"),
        ([HIT, FAILED_LOAD], "cold"),
        (["saved AOT compiled function to /cache/x"], "cold"),
        (
            ["Directly load the compiled graph(s) for compile range (1, 2048) from the cache, took 0.4 s"],
            "warm",
        ),
        ([SIZE[1]], "unknown"),
        (["Enforce eager set, disabling torch.compile, CUDAGraphs"], "none"),
    ],
)
def test_the_cache_state_is_what_the_engine_says(lines, state):
    log = BootLog()
    feed(log, [(1, line) for line in lines])
    assert log.cache_state == state


@pytest.mark.parametrize(
    ("line", "percent"),
    [
        ("Loading safetensors checkpoint shards:  38% Completed | 3/8 [00:10<00:14,  2.90s/it]", 38),
        ("Capturing CUDA graphs (FULL):  4%| | 1/25\rCapturing CUDA graphs (FULL): 100%|█| 25/25", 100),
        (TRIAL_V2[1], 50),
        ("GPU memory utilization is 92 %", None),
    ],
)  # fmt: skip
def test_a_progress_bar_is_read_as_its_latest_percentage(line, percent):
    assert parse_progress(line) == percent

"""Which of several failures in a log is its cause, and what may be said of it."""

from __future__ import annotations

import itertools

import pytest

from stack.failures.explain import diagnose, explain_lines, explain_text

KV = "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`"
FLAG = "vllm serve: error: unrecognized arguments: --max-modle-len 2048"
NCCL = "RuntimeError: NCCL error: unhandled system error"
READY = "INFO:     Application startup complete."


def test_the_earliest_cause_counts_and_the_others_are_also_seen():
    found = explain_lines([KV, "no space left on device", KV])
    assert (found.id, found.line_number) == ("no-kv-memory", 1)
    assert [(item.id, item.line_number) for item in found.also] == [("disk-full", 2)]


def test_what_tells_little_by_itself_gives_way_to_what_comes_later():
    found = explain_lines([NCCL, "NCCL WARN Error while creating shared memory segment /dev/shm/nccl-1 (size 7)"])
    assert (found.id, [item.id for item in found.also]) == ("shm-too-small", ["nccl-error"])


def test_what_an_engine_served_in_spite_of_is_not_the_cause_of_what_came_later():
    assert explain_lines([KV, READY, "no space left on device"]).id == "disk-full"
    served = diagnose([KV, READY])
    assert (served.explained, served.first_cause, served.served_line) == (None, None, 2)
    assert [(item.id, item.line_number) for item in served.before] == [("no-kv-memory", 1)]


def test_a_healthy_engines_lines_tell_nothing_whatever_words_are_in_them():
    lines = [
        "WARNING 11-21 22:04:17 [system_utils.py:255] cause errors like `OSError: [Errno 28] No space left on device`",
        "(APIServer pid=8) INFO 11-21 22:04:17 [x.py:1] CUDA out of memory is what we guard against",
        '127.0.0.1 - "POST /v1/chat/completions HTTP/1.1" 200 OK',
    ]
    assert explain_lines(lines) is None


def test_the_code_in_a_traceback_is_not_what_failed():
    lines = [
        "Traceback (most recent call last):",
        '  File "/x/transformers/configuration_utils.py", line 700, in _get_config_dict',
        "    raise OSError(f\"It looks like the config file at '{path}' is not a valid JSON file.\")",
        "OSError: It looks like the config file at '/models/x/config.json' is not a valid JSON file.",
    ]
    found = explain_lines(lines)
    assert (found.line_number, found.cause.split("`")[1]) == (4, "/models/x/config.json")


def test_out_of_memory_is_told_by_what_the_engine_did_last():
    oom = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    frames = ["  File x, line 1, in load_model", "  File x, line 1, in capture_model", "  in _dummy_sampler_run"]
    assert [explain_lines([*frames[:count], oom]).id for count in range(4)] == [
        "cuda-oom", "cuda-oom-load", "cuda-oom-graphs", "cuda-oom-warm-up",
    ]  # fmt: skip
    assert explain_lines([frames[0], *["x"] * 300, oom]).id == "cuda-oom"


def test_the_nearest_name_to_a_wrong_flag_is_looked_for_where_names_are_given():
    found = explain_lines([FLAG], {"engine-flags": ["max-model-len", "dtype"]})
    assert found.next.startswith("write `max-model-len` instead of `max-modle-len`")
    assert "take `max-modle-len` out" in explain_lines([FLAG], {"engine-flags": ["dtype"]}).next
    assert "take `max-modle-len` out" in explain_lines([FLAG]).next


def test_a_share_that_fits_is_rounded_down():
    line = (
        "ValueError: Free memory on device cuda:0 (19.99/23.64 GiB) on startup is less than desired GPU memory "
        "utilization (0.92, 21.75 GiB)."
    )
    assert "`gpu-memory-utilization = 0.84`" in explain_text(line).next
    assert 0.84 * 23.64 <= 19.99


def test_a_log_that_just_ends_is_told_by_its_last_line_only():
    line = "(Worker_TP0 pid=1) INFO 11-21 22:04:17 [pynccl.py:103] vLLM is using nccl==2.27.3"
    assert explain_lines([line, ""]).id == "nccl-silent"
    assert explain_lines([line, "(Worker_TP0 pid=1) INFO 11-21 22:04:17 [x.py:1] Starting to load model x..."]) is None
    assert explain_lines([KV, line]).id == "no-kv-memory"


def test_a_later_line_fills_what_the_first_left_open():
    lines = [
        "huggingface_hub.errors.GatedRepoError: 401 Client Error.",
        "",
        "Cannot access gated repo for url https://huggingface.co/meta-llama/Llama-3.1-8B/resolve/main/config.json.",
    ]
    found = explain_lines(lines)
    assert (found.line_number, "`meta-llama/Llama-3.1-8B` is gated" in found.cause) == (1, True)


@pytest.mark.parametrize("token", ["hf_abcdefghijklmnopqrst", "sk-abcdefghijklmnop"])
def test_a_token_in_the_line_is_not_repeated(token):
    found = explain_text(f"Cannot access gated repo for url https://huggingface.co/a/b/resolve/x?token={token}")
    assert token not in found.line
    assert "***" in found.line


def test_lines_and_values_are_cut_to_what_can_be_read():
    found = explain_text(f"error: argument --dtype: invalid choice: 'x' (choose from {'y, ' * 5000})")
    assert len(found.line) <= 400
    assert len(found.next) <= 400


def test_a_log_of_any_length_is_read_in_one_pass():
    lines = itertools.chain(
        [KV], itertools.repeat("INFO 11-21 22:04:17 [x.py:1] Avg prompt throughput", 20_000), [NCCL]
    )
    found = diagnose(lines)
    assert (found.explained.id, found.line_count) == ("no-kv-memory", 20_002)

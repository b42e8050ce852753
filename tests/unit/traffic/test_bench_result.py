"""What real runs of `vllm bench serve` saved must be read right; the recordings are of vLLM 0.31.0 on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.traffic.bench_result import (
    RESULT_MARK,
    UnreadableResultError,
    build_figures,
    build_repeat_document,
    find_errors,
    find_result,
    parse_result,
)

BENCHES = Path(__file__).parents[2] / "fixtures/bench"


def read(name: str) -> str:
    return (BENCHES / f"vllm-0.31.0-{name}.txt").read_text()


def test_a_real_run_is_read_with_its_figures() -> None:
    measured = find_result(read("random"))
    assert (measured.completed, measured.failed, measured.input_tokens, measured.output_tokens) == (32, 0, 4096, 2048)
    figures = measured.figures
    assert figures["output_tokens_per_second"] == pytest.approx(98.651, abs=0.001)
    assert figures["good_requests_per_second"] == pytest.approx(1.5414, abs=0.0001)
    assert figures["ttft_seconds.p50"] == pytest.approx(1.83165, abs=0.0001)
    assert figures["ttft_seconds.p95"] == pytest.approx(2.08779, abs=0.0001)
    assert figures["itl_seconds.mean"] == pytest.approx(0.0551, abs=0.0001)
    assert figures["e2e_seconds.p99"] == pytest.approx(5.58614, abs=0.0001)
    assert len(figures) == 4 + 16


@pytest.mark.parametrize("version", ["0.30.0", "0.32.0"])
def test_clients_of_other_releases_save_the_same(version: str) -> None:
    output = (BENCHES / f"vllm-{version}-client.txt").read_text()
    measured = find_result(output)
    assert (measured.completed, measured.failed, measured.output_tokens) == (24, 0, 24 * 16)
    assert measured.figures.keys() == find_result(read("random")).figures.keys()


def test_without_bounds_there_is_no_goodput() -> None:
    assert "good_requests_per_second" not in find_result(read("prefix-repetition")).figures


def test_a_run_in_which_all_failed_has_no_latencies_and_its_reasons() -> None:
    output = read("all-failed")
    measured = find_result(output)
    assert (measured.completed, measured.failed, measured.latencies_seconds) == (0, 4, {})
    assert find_errors(output) == ["Not Found"]


def test_a_reason_that_is_a_traceback_is_told_by_what_was_raised() -> None:
    refused = "ConnectionRefusedError: [Errno 111] Connect call failed ('172.18.0.2', 8000)"
    lost = "aiohttp.client_exceptions.ClientConnectorError: Cannot connect to host engine.metrics:8000"
    traceback = (
        'Traceback (most recent call last):\n  File "a.py", line 1, in connect\n    await sock\n'
        f"{refused}\n\nThe above exception was the direct cause of the following exception:\n\n"
        'Traceback (most recent call last):\n  File "b.py", line 2, in post\n    ^^^^^^^^\n'
        f"{lost}\n"
    )
    output = f"Error 0: {traceback}\nError 1: Not Found\nError 2: {traceback}\nError 3: \ntip: install\n====\n"
    assert find_errors(output) == [lost, "Not Found"]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("Traceback: no module", "it wrote no result"),
        (f"{RESULT_MARK}", "JSONDecodeError"),
        (f"{RESULT_MARK}[]", "TypeError"),
        (f'{RESULT_MARK}{{"completed": 1}}', "KeyError: 'failed'"),
    ],
)
def test_what_is_no_result_is_told(output: str, said: str) -> None:
    with pytest.raises(UnreadableResultError, match="result") as caught:
        find_result(output)
    assert said in str(caught.value)


def test_figures_over_repeats_have_their_spread() -> None:
    text = read("random").rpartition(RESULT_MARK)[2]
    slower = text.replace('"output_throughput": 98.65142453051662', '"output_throughput": 80.0')
    figures = build_figures([parse_result(text), parse_result(slower), parse_result(text)])
    assert figures["output_tokens_per_second"] == {
        "median": 98.6514,
        "least": 80.0,
        "most": 98.6514,
        "spread_ratio": 0.1891,
    }
    assert build_figures([]) == {}


def test_a_repeat_keeps_no_list_that_grows_with_its_requests() -> None:
    document = build_repeat_document(find_result(read("random")))
    assert not any(isinstance(value, list) for value in document.values())

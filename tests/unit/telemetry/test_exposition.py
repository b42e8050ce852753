from __future__ import annotations

import math
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.errors import ServiceApiError
from stack.telemetry.exposition import (
    Exposition,
    Sample,
    counter_delta,
    fetch_exposition,
    parse_exposition,
)

INVENTORIES = sorted((Path(__file__).resolve().parents[2] / "fixtures" / "metrics").glob("vllm-*.txt"))

PAGE = """\
# HELP vllm:request_success_total Count of successfully processed requests.
# TYPE vllm:request_success_total counter
vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 3.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 4.0
vllm:request_success_total{engine="1",finished_reason="stop",model_name="m"} 5.0
# TYPE odd gauge
odd{text="a \\"quoted\\" \\\\ line\\nbreak"} NaN
big +Inf
"""


def page(**series: float) -> Exposition:
    return Exposition(tuple(Sample("c_total", {"k": key}, value) for key, value in series.items()), {})


def test_samples_are_found_by_name_and_labels():
    metrics = parse_exposition(PAGE)
    assert metrics.total("vllm:request_success_total") == 12
    assert metrics.total("vllm:request_success_total", finished_reason="stop") == 8
    assert metrics.total("vllm:request_success_total", finished_reason="stop", engine="1") == 5
    assert [sample.value for sample in metrics.select("vllm:request_success_total", engine="0")] == [3, 4]


def test_what_is_not_there_is_none_and_not_zero():
    metrics = parse_exposition(PAGE)
    assert metrics.total("vllm:request_success_total", finished_reason="error") is None
    assert metrics.total("vllm:request_success") is None
    assert metrics.select("nothing") == ()


def test_counters_keep_their_suffix_and_types_lose_it():
    metrics = parse_exposition(PAGE)
    assert "vllm:request_success_total" in metrics.names
    assert metrics.types["vllm:request_success"] == "counter"


def test_escapes_and_odd_numbers_are_read():
    metrics = parse_exposition(PAGE)
    (odd,) = metrics.select("odd")
    assert odd.labels["text"] == 'a "quoted" \\ line\nbreak'
    assert math.isnan(odd.value)
    assert metrics.total("big") == math.inf


def test_a_label_called_name_can_be_asked_for():
    assert parse_exposition('a{name="x"} 1\na{name="y"} 2\n').total("a", name="y") == 2


@pytest.mark.parametrize("inventory", INVENTORIES, ids=lambda path: path.stem)
def test_vllms_page_is_read_whole(inventory):
    metrics = parse_exposition(inventory.read_text(encoding="utf-8"))
    assert metrics.types["vllm:iteration_tokens_total"] == "histogram"
    assert metrics.types["vllm:kv_cache_usage_perc"] == "gauge"
    assert metrics.total("vllm:num_requests_running") == 0
    finished = metrics.total("vllm:request_success_total")
    assert finished == metrics.total("vllm:request_success_total", finished_reason="stop") + metrics.total(
        "vllm:request_success_total", finished_reason="length"
    ) + metrics.total("vllm:request_success_total", finished_reason="abort")


@pytest.mark.parametrize("text", ["<html><body>502</body></html>", "garbage", "a b c", "# TYPE a foo\na 1"])
def test_a_page_that_is_not_metrics_is_an_error_that_says_where(text):
    with pytest.raises(ServiceApiError, match=r"engine at http://e/metrics: not Prometheus' text format"):
        parse_exposition(text, url="http://e/metrics")


@given(st.text() | st.text(alphabet='a_:{}",=\\ \n#0123456789.eE+-TYPEcounter', max_size=60))
def test_any_text_is_metrics_or_a_service_error(text):
    try:
        parse_exposition(text)
    except ServiceApiError as err:
        assert err.exit_code == 6


def test_a_counter_rises_by_the_sum_over_its_series():
    assert counter_delta(page(a=1, b=10), page(a=4, b=11), "c_total") == 4
    assert counter_delta(page(a=1, b=10), page(a=4, b=11), "c_total", k="a") == 3


def test_a_new_series_rises_from_zero():
    assert counter_delta(page(a=1), page(a=1, b=7), "c_total") == 7


def test_a_counter_that_was_reset_rises_from_zero():
    assert counter_delta(page(a=100, b=1), page(a=3, b=2), "c_total") == 4


def test_a_counter_that_is_gone_has_no_delta():
    assert counter_delta(page(a=1), page(), "c_total") is None


@given(
    st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1e12)),
    st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1e12)),
)
def test_a_delta_is_never_negative(before, after):
    delta = counter_delta(page(**before), page(**after), "c_total")
    assert (delta is None) == (not after)
    assert delta is None or delta >= 0


def test_a_page_is_fetched_from_a_running_service():
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, text=PAGE) if request.url.path == "/metrics" else httpx2.Response(404)

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
        assert fetch_exposition(client, "http://e/metrics").total("vllm:request_success_total") == 12
        with pytest.raises(ServiceApiError, match="engine at http://e/nope: HTTP 404"):
            fetch_exposition(client, "http://e/nope")

"""`/metrics` as sums."""

from __future__ import annotations

import pytest

from stack.checks.smoke.batching import compute_tokens_a_step
from stack.checks.smoke.counters import GENERATION_TOKENS, RUNNING, parse_counters

TEXT = """\
# HELP vllm:generation_tokens_total Number of generation tokens processed.
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{{engine="0",model_name="demo"}} {tokens}
vllm:generation_tokens_total{{engine="1",model_name="demo"}} 0.0
# TYPE vllm:request_success_total counter
vllm:request_success_total{{engine="0",finished_reason="stop",model_name="demo"}} {stopped}
vllm:request_success_total{{engine="0",finished_reason="abort",model_name="demo"}} {aborted}
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="demo"}} {running}
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{{engine="0",le="+Inf",model_name="demo"}} {begun}
vllm:time_to_first_token_seconds_sum{{engine="0",model_name="demo"}} 1.0
vllm:time_to_first_token_seconds_count{{engine="0",model_name="demo"}} {begun}
# TYPE vllm:iteration_tokens_total histogram
vllm:iteration_tokens_total_bucket{{engine="0",le="+Inf",model_name="demo"}} {steps}
vllm:iteration_tokens_total_sum{{engine="0",model_name="demo"}} 1.0
vllm:iteration_tokens_total_count{{engine="0",model_name="demo"}} {steps}
"""


def counters(**values):
    given = {"tokens": 0.0, "stopped": 0.0, "aborted": 0.0, "running": 0.0, "begun": 0.0, "steps": 0.0}
    return parse_counters(TEXT.format(**{**given, **values}))


def test_engines_are_summed():
    assert counters(tokens=7.0).get(GENERATION_TOKENS) == 7.0


def test_a_missing_counter_is_named():
    with pytest.raises(ValueError, match="vllm:nothing_total"):
        counters().get("vllm:nothing_total")


@pytest.mark.parametrize("text", ["", "<html>no</html>"])
def test_what_is_no_metrics_text_is_an_error(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_counters(text)


def test_a_running_request_has_not_vanished_and_an_uncounted_end_has():
    assert counters(begun=5.0, stopped=4.0, running=1.0).count_vanished() == 0
    assert counters(begun=5.0, stopped=4.0, running=0.0).count_vanished() == 1
    assert counters(begun=5.0, stopped=4.0, aborted=1.0).count_vanished() == 0
    assert counters(begun=5.0, stopped=4.0, aborted=1.0).aborted == 1


def test_a_request_in_prefill_makes_the_figure_smaller_never_larger():
    assert counters(begun=5.0, stopped=5.0, running=1.0).count_vanished() == -1
    assert counters(running=1.0).get(RUNNING) == 1.0


def test_tokens_a_step_tell_batching():
    before, after = counters(tokens=10.0, steps=10.0), counters(tokens=106.0, steps=24.0)

    assert compute_tokens_a_step(before, after) == pytest.approx(96 / 14)
    assert compute_tokens_a_step(before, before) is None
    assert compute_tokens_a_step(parse_counters("a 1\n"), parse_counters("a 1\n")) is None

"""Lines of every service of the stack, as their containers write them."""

from __future__ import annotations

import pytest

from stack.containers.log_formats import find_request_ids, parse_service_line

ACCESS = (
    '{"time":"2026-11-22T08:00:00+00:00","client":"10.0.0.1","method":"POST","path":"/v1/completions","status":%d,'
    '"request_bytes":1,"response_bytes":2,"seconds":0.1,"upstream_status":"200","request_id":"0123456789abcdef"}'
)


@pytest.mark.parametrize(
    ("text", "level", "time"),
    [
        # Prometheus 3, node-exporter 1.9 (slog); Prometheus 2.42, node-exporter 1.5 (go-kit); Grafana 12.
        ('time=2026-11-22T08:00:00.1Z level=WARN source=main.go:1 msg="not \\"so\\" good"', "WARNING",
         "2026-11-22T08:00:00.1Z"),
        ("ts=2026-11-22T08:00:00.100Z caller=main.go:512 level=info msg=\"No time\"", "INFO",
         "2026-11-22T08:00:00.100Z"),
        ("logger=migrator t=2026-11-22T08:00:00.1Z level=eror msg=x", "ERROR", "2026-11-22T08:00:00.1Z"),
        ("2026/11/22 08:00:00 [crit] 29#29: *1 connect() failed", "CRITICAL", "2026/11/22 08:00:00"),
        (ACCESS % 200, "INFO", "2026-11-22T08:00:00+00:00"),
        (ACCESS % 429, "WARNING", "2026-11-22T08:00:00+00:00"),
        (ACCESS % 503, "ERROR", "2026-11-22T08:00:00+00:00"),
        # vLLM 0.6; torch; Python's default; a warning of Python's.
        ("ERROR 06-20 16:09:23 llm_engine.py:164] x", "ERROR", "06-20 16:09:23"),
        ("[W1121 22:05:35.059994127 utils.cpp:41] Warning: x (function y)", "WARNING", ""),
        ("WARNING:root:x", "WARNING", ""),
        ("/opt/x.py:138: FutureWarning: y", "WARNING", ""),
        ("a line of nobody", None, ""),
        ("2026/11/22 08:00:00 [loud] 29#29: x", None, ""),
        ('{"time": 1, "status": "x"}', None, ""),
    ],
)  # fmt: skip
def test_the_level_and_the_time_of_a_line_are_known(text, level, time):
    line = parse_service_line(text).line
    assert (line.level, line.time) == (level, time)


@pytest.mark.parametrize(
    "text",
    [
        "Traceback (most recent call last):", "Fatal Python error: Segmentation fault",
        "vllm serve: error: unrecognized arguments: --x", "serve.sh: error: the engine ended 4 times in a row",
    ],
)  # fmt: skip
def test_what_ends_a_program_without_a_level_is_known(text):
    assert parse_service_line(text).is_fatal


def test_the_gateways_access_log_names_its_request():
    assert parse_service_line(ACCESS % 200).request_ids == ("0123456789abcdef",)


@pytest.mark.parametrize(
    ("message", "names"),
    [
        # vLLM 0.32.0, recorded; the last two as 0.8 to 0.10 wrote them.
        ("Received request chatcmpl-a-1: params: SamplingParams(n=1), lora_request: None.", ("chatcmpl-a-1",)),
        ("Added request chatcmpl-a-1-9f6e2d11.", ("chatcmpl-a-1-9f6e2d11",)),
        ("Request cmpl-x.y-0 aborted.", ("cmpl-x.y-0",)),
        ("Request cmpl-x-0 failed (bad request): no.", ("cmpl-x-0",)),
        ("Aborted request(s) cmpl-x-0,cmpl-y-0.", ("cmpl-x-0", "cmpl-y-0")),
        ("Generated response chatcmpl-a (streaming complete): output: 'x', finish_reason: stop", ("chatcmpl-a",)),
        ("Generated response chatcmpl-a: output: 'x'", ("chatcmpl-a",)),
        ("Received request cmpl-1-0: prompt: 'Request b failed', params: x", ("cmpl-1-0",)),
        ("Aborted request cmpl-1-0.", ("cmpl-1-0",)),
        ("Supported tasks: ['generate']", ()),
        ("Request throughput is low", ()),
    ],
)
def test_the_requests_that_a_message_names(message, names):
    assert find_request_ids(message) == names

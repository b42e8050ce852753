"""The engine's logging configuration: what Python itself takes, and what vLLM's flags ask for."""

from __future__ import annotations

import logging.config

import pytest

from stack.containers.log_config import build_logging_config


@pytest.mark.parametrize(
    ("args", "environ", "level"),
    [({}, {}, "INFO"), ({"log-level": "debug"}, {}, "DEBUG"), ({}, {"VLLM_LOGGING_LEVEL": "debug"}, "DEBUG"),
     ({"log-level": "INFO"}, {"VLLM_LOGGING_LEVEL": "DEBUG"}, "INFO")],
)  # fmt: skip
def test_the_level_is_what_flag_or_variable_ask_for(args, environ, level):
    assert build_logging_config(args, environ)["loggers"]["vllm"]["level"] == level


def test_routes_that_are_probed_stay_out_of_the_access_log():
    document = build_logging_config({"disable-access-log-for-endpoints": "/health, /metrics"}, {})
    assert document["filters"]["quiet"]["excluded_paths"] == ["/health", "/metrics"]
    assert document["loggers"]["uvicorn.access"]["handlers"] == ["access"]
    assert document["handlers"]["access"]["filters"] == ["quiet"]
    assert "filters" not in build_logging_config({"disable-access-log-for-endpoints": ""}, {})


def test_pythons_logging_takes_it():
    document = build_logging_config({"disable-access-log-for-endpoints": "/health"}, {})
    # The two classes are in the engine's image only.
    document["formatters"]["json"]["()"] = _Formatter
    document["filters"]["quiet"] = {"()": logging.Filter}
    names = list(document["loggers"])
    document["loggers"] = {f"of-a-test.{name}": logger for name, logger in document["loggers"].items()}
    logging.config.dictConfig(document)
    assert [len(logging.getLogger(f"of-a-test.{name}").handlers) for name in names] == [1] * 4


class _Formatter(logging.Formatter):
    def __init__(self, fmt, **options):
        super().__init__(fmt)
        assert set(options) == {"timestamp", "reserved_attrs", "json_ensure_ascii"}

"""The engine's logging configuration for JSON lines: the file that VLLM_LOGGING_CONFIG_PATH names. Pure.

vLLM takes the file for its own loggers and for Uvicorn's; where it is given, vLLM's flags for levels and access logs do
nothing any more, so what they ask for is put into it. Nothing else of the process is changed: what writes past Python's
loggers (C++ libraries, progress bars, an exception that ends a process) stays text.

Source: vLLM 0.32.0, logger.py `_configure_vllm_root_logger`, entrypoints/launchers/utils/server_utils.py
`get_uvicorn_log_config`, logging_utils/access_log_filter.py; python-json-logger 4.2.0, which vLLM requires since 0.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONFIG_NAME = "logging.json"
_FIELDS = ("levelname", "name", "processName", "process", "filename", "lineno", "message")
# Attributes of a record that no document needs: Python's own, Uvicorn's coloured copy of the message.
_LEFT_OUT = (
    "args", "asctime", "color_message", "created", "exc_info", "exc_text", "fileinfo", "filename", "funcName",
    "levelname", "levelno", "lineno", "message", "module", "msecs", "msg", "name", "pathname", "process", "processName",
    "relativeCreated", "stack_info", "taskName", "thread", "threadName",
)  # fmt: skip


def build_logging_config(args: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Give the configuration by which every logger of the engine writes JSON to standard output.

    Args:
        args: The engine args, the tool's own among them.
        environ: The engine's variables that the user set.
    """
    level = str(args.get("log-level") or environ.get("VLLM_LOGGING_LEVEL") or "INFO").strip().upper()
    excluded = args.get("disable-access-log-for-endpoints") or ""
    paths = [path.strip() for path in str(excluded).split(",") if path.strip()]
    handler = {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}
    document: dict[str, Any] = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": "pythonjsonlogger.json.JsonFormatter",
                "fmt": " ".join(f"%({name})s" for name in _FIELDS),
                "timestamp": "time",
                "reserved_attrs": list(_LEFT_OUT),
                "json_ensure_ascii": False,
            }
        },
        "handlers": {"json": handler},
        "loggers": {
            "vllm": {"handlers": ["json"], "level": level, "propagate": False},
            "uvicorn": {"handlers": ["json"], "level": "INFO", "propagate": False},
            "uvicorn.error": {"handlers": ["json"], "level": "INFO", "propagate": False},
            "uvicorn.access": {"handlers": ["json"], "level": "INFO", "propagate": False},
        },
    }
    if paths:
        document["filters"] = {
            "quiet": {"()": "vllm.logging_utils.access_log_filter.UvicornAccessLogFilter", "excluded_paths": paths}
        }
        document["handlers"]["access"] = handler | {"filters": ["quiet"]}
        document["loggers"]["uvicorn.access"]["handlers"] = ["access"]
    return document

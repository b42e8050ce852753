"""Values of the engine args that the tool reasons about, and whether they fit device and mounts (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from stack.config.toml_text import show_path
from stack.config.values import show_value
from stack.errors import Problem

PARALLEL_SIZES = (
    "tensor-parallel-size",
    "pipeline-parallel-size",
    "data-parallel-size",
    "prefill-context-parallel-size",
)
_COUNTS = (
    *PARALLEL_SIZES,
    "api-server-count",
    "decode-context-parallel-size",
    "max-num-seqs",
    "max-lora-rank",
    "max-loras",
)
_HUMAN = re.compile(r"\d+[KMGT]|\d+(\.\d+)?[kmgt]|\d+")
_LOG_LEVELS = ("DEBUG", "INFO")
_IN_CONTAINER = ("chat-template", "reasoning-parser-plugin", "tool-parser-plugin", "allowed-local-media-path")
_IN_IMAGE = ("/models", "/vllm-workspace")


def check_engine_limits(
    args: Mapping[str, Any], *, device: str = "auto", devices: str | int | list[str] = "all"
) -> list[Problem]:
    """Give what is wrong with the values of well-known engine args, and with their fit to the device.

    Args:
        args: The engine args.
        device: `auto`, `cuda` or `cpu`; call it again once `auto` is decided.
        devices: What `engine.devices` says.
    """
    problems: list[Problem] = []
    for name, check in _CHECKS.items():
        if name in args and (message := check(args[name])) is not None:
            problems.append(Problem(show_path(("engine", "args", name)), message))
    wrong = {problem.path for problem in problems}
    sizes = {n: args[n] for n in PARALLEL_SIZES if n in args and f"engine.args.{n}" not in wrong}
    return problems + _check_parallel(sizes, device, devices)


def warn_engine_limits(args: Mapping[str, Any], mounts: Iterable[str] = ()) -> list[Problem]:
    """Give what will probably not do what was meant.

    Args:
        args: The engine args.
        mounts: The container paths of [engine.mounts].
    """
    warnings = []
    if _is_count(args.get("api-server-count")) and args["api-server-count"] > 1:
        text = "more than one API server takes `process_*` and `python_*` out of the metrics"
        warnings.append(Problem("engine.args.api-server-count", text))
    roots = [PurePosixPath(path) for path in (*mounts, *_IN_IMAGE)]
    for name in _IN_CONTAINER:
        value = args.get(name)
        if isinstance(value, str) and re.match(r"[/~]", value):
            path = PurePosixPath(value)
            if not any(path.is_relative_to(root) for root in roots):
                text = f"`{value}` is a path in the container, and nothing in [engine.mounts] brings it there"
                warnings.append(Problem(show_path(("engine", "args", name)), text))
    tokenizer = args.get("tokenizer")
    if isinstance(tokenizer, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", tokenizer):
        text = "the engine has no access to the hub; bring the tokenizer in by [engine.mounts]"
        warnings.append(Problem("engine.args.tokenizer", text))
    return warnings


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _check_count(value: Any) -> str | None:
    return None if _is_count(value) else f"must be a whole number of 1 or more, not {show_value(value)}"


def _check_human(value: Any) -> str | None:
    if _is_count(value) or (isinstance(value, str) and _HUMAN.fullmatch(value)):
        return None
    return f'must be a whole number, or text with a unit such as "2k" or "1G", not {show_value(value)}'


def _check_model_len(value: Any) -> str | None:
    return None if value in (-1, "-1", "auto") and value is not True else _check_human(value)


def _check_share(value: Any) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
        return None
    return f"must be a share of memory above 0 and up to 1, not {show_value(value)}"


def _check_log_level(value: Any) -> str | None:
    if isinstance(value, str) and value.upper() in _LOG_LEVELS:
        return None
    return "boot phases are read from the engine's INFO lines; only INFO and DEBUG keep them"


_CHECKS: dict[str, Callable[[Any], str | None]] = {
    **dict.fromkeys(_COUNTS, _check_count),
    "gpu-memory-utilization": _check_share,
    "device-memory-utilization": _check_share,
    "kv-cache-memory-bytes": _check_human,
    "log-level": _check_log_level,
    "max-model-len": _check_model_len,
    "max-num-batched-tokens": _check_human,
}


def _check_parallel(sizes: Mapping[str, int], device: str, devices: str | int | list[str]) -> list[Problem]:
    large = {name: size for name, size in sizes.items() if size > 1}
    if device == "cpu":
        return [
            Problem(
                show_path(("engine", "args", name)),
                f"{size} needs that many GPUs, and `engine.device` is `cpu`",
            )
            for name, size in large.items()
        ]
    available = devices if isinstance(devices, int) else len(devices) if isinstance(devices, list) else None
    needed = 1
    for size in sizes.values():
        needed *= size
    if available is None or needed <= available or not large:
        return []
    path = f"engine.args.{next(iter(large))}"
    product = " x ".join(f"{name} {size}" for name, size in large.items())
    return [Problem(path, f"{product} needs {needed} GPUs, and `engine.devices` gives {available}")]

"""[engine.args]: is each one a flag of `vllm serve` that may be given, and the command line they make (pure).

Source for how vLLM reads its command line: `vllm/utils/argparse_utils.py` and
`vllm/entrypoints/launchers/cli_args.py` of vLLM 0.32.0.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from stack.config.engine_flags import (
    JSON_LISTS,
    KNOWN_FLAGS,
    LISTS,
    PLAIN_SWITCHES,
    READ_FROM,
    REPEATED,
    SHORT_FLAGS,
    SWITCHES,
)
from stack.config.engine_reserved import RESERVED_ARGS
from stack.config.toml_text import show_path
from stack.errors import Problem

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+|[a-z0-9]{3,}")
_REMOTE_CODE = "trust-remote-code"


def build_argv(args: Mapping[str, Any]) -> list[str]:
    """Give the flags of `vllm serve`, sorted by name, so that the order in stack.toml changes nothing.

    True is `--flag`, false `--no-flag`, a list gives its values after the flag, a table is compact JSON.
    """
    argv: list[str] = []
    for name in sorted(args):
        argv += _build_flag(name, args[name])
    return argv


def _build_flag(name: str, value: Any) -> list[str]:
    if value is True:
        return [f"--{name}"]
    if value is False:
        return [] if name in PLAIN_SWITCHES else [f"--no-{name}"]
    if isinstance(value, list) and name in REPEATED:
        return [word for item in value for word in _build_flag(name, item)]
    if isinstance(value, list) and name not in JSON_LISTS:
        return [f"--{name}", *(_spell(item) for item in value)]
    text = _spell(value)
    # vLLM takes a word that begins with a dash for a flag, and one with a dot in it (-0.5) for a nested key.
    return [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]


def _spell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)


def check_engine_args(args: Mapping[str, Any], *, allow_remote_code: bool = False) -> list[Problem]:
    """Give what is wrong with the form of engine args, and which of them are not the user's to set."""
    problems: list[Problem] = []
    for name, value in args.items():
        message = _check_name(name) or _check_value(name, value)
        if message is None and name == _REMOTE_CODE and value is True and not allow_remote_code:
            message = (
                "runs code that comes with the model; read that code, then write `engine.allow-remote-code = true`"
            )
        if message is not None:
            problems.append(Problem(show_path(("engine", "args", name)), message))
    return problems


def warn_engine_args(args: Mapping[str, Any]) -> list[Problem]:
    """Give what is likely a mistake with engine args, though another vLLM may take it."""
    warnings = [
        Problem(show_path(("engine", "args", name)), text) for name in args if (text := _warn(name, args[name]))
    ]
    if "kv-cache-memory-bytes" in args and "gpu-memory-utilization" in args:
        text = "has no effect beside `kv-cache-memory-bytes`"
        warnings.append(Problem("engine.args.gpu-memory-utilization", text))
    return warnings


def find_flag(name: str) -> str | None:
    """Give the long flag that was probably meant, without dashes, or None."""
    bare = name.strip().lstrip("-").split("=")[0].split(".")[0]
    if bare in SHORT_FLAGS:
        return SHORT_FLAGS[bare]
    kebab = re.sub(r"[_\s]+", "-", bare).lower()
    if kebab in KNOWN_FLAGS or kebab in RESERVED_ARGS:
        return kebab
    near = get_close_matches(kebab, sorted(KNOWN_FLAGS), n=1, cutoff=0.8)
    if near:
        return near[0]
    return kebab if _NAME.fullmatch(kebab) else None


def _check_name(name: str) -> str | None:
    if reason := RESERVED_ARGS.get(name.removeprefix("no-")):
        return reason
    if not _NAME.fullmatch(name) or name in SHORT_FLAGS:
        return _describe_form(name)
    if name in KNOWN_FLAGS:
        return None
    if name.startswith("no-") and name.removeprefix("no-") in SWITCHES:
        return f"write `{name.removeprefix('no-')} = false`"
    return _check_abbreviation(name)


def _describe_form(name: str) -> str:
    meant = find_flag(name)
    if meant in RESERVED_ARGS:
        return f"is `{meant}`, which {_as_clause(RESERVED_ARGS[meant])}"
    if "." in name and meant is not None:
        key = name.strip().lstrip("-").split("=")[0]
        rest = key.partition(".")[2]
        return f"keys below a flag are a table; write `{meant} = {{ {rest} = … }}`"
    hint = f"; write `{meant}`" if meant else ""
    return f"must be a long flag of `vllm serve` without dashes before it, in kebab-case{hint}"


def _check_abbreviation(name: str) -> str | None:
    # argparse takes every unambiguous beginning of a flag, which would slip past the reserved ones.
    positive = name.removeprefix("no-")
    whole = sorted(flag for flag in KNOWN_FLAGS | {*RESERVED_ARGS} if flag.startswith(positive))
    if not whole:
        return None
    if len(whole) == 1 and whole[0] in RESERVED_ARGS:
        return f"is short for `{whole[0]}`, which {_as_clause(RESERVED_ARGS[whole[0]])}"
    shown = ", ".join(f"`{flag}`" for flag in whole[:3]) + (", …" if len(whole) > 3 else "")
    return f"is an abbreviation, which another vLLM may read differently; write the whole flag ({shown})"


def _as_clause(reason: str) -> str:
    """Let a reason follow `which`, whether it begins with a verb or is a sentence of its own."""
    verb = reason.split(" ", 1)[0] in {"is", "would", "hides", "spreads"}
    return reason if verb else f"the tool sets: {reason}"


def _check_value(name: str, value: Any) -> str | None:
    if value is None:
        return "has no value; leave the key away instead"
    if isinstance(value, list):
        return _check_list(name, value)
    if isinstance(value, dict):
        return _check_json(value)
    return _check_scalar(value)


def _check_scalar(value: Any) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is no number that can be passed on"
    if isinstance(value, str):
        if re.search(r"[\n\r\0]", value):
            return "must be one line; put longer text into a file and mount it ([engine.mounts])"
        if re.match(r"hf_[A-Za-z0-9]{20,}", value):
            return "looks like a hub token, and secrets are never args; write `model.token-file`"
    elif not isinstance(value, bool | int | float):
        return f"must be text, a number, true or false, a list or a table, not a {type(value).__name__}"
    return None


def _check_list(name: str, items: Sequence[Any]) -> str | None:
    if name in JSON_LISTS:
        return _check_json(items)
    if not items:
        return "is an empty list; leave the key away instead"
    for item in items:
        if item is None or isinstance(item, list | bool):
            return "must be a list of texts, numbers or tables"
        if message := _check_json(item) if isinstance(item, dict) else _check_scalar(item):
            return message
        if isinstance(item, float) and item < 0 or isinstance(item, str) and item.startswith("-"):
            return f"`{item}` begins with a dash, which vLLM takes for another flag"
    return None


def _check_json(value: Any) -> str | None:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return "holds a number that JSON cannot spell"
    except TypeError as err:
        return f"holds a value that JSON cannot spell ({err})"
    return None


def _warn(name: str, value: Any) -> str | None:
    if name not in KNOWN_FLAGS:
        near = get_close_matches(name, sorted(KNOWN_FLAGS), n=1, cutoff=0.8)
        hint = f"; is `{near[0]}` meant?" if near else ""
        return f"is no flag of {READ_FROM}; another vLLM may have it{hint}"
    if name in SWITCHES and not isinstance(value, bool):
        return f"is a switch in {READ_FROM}; write true or false"
    if name not in SWITCHES and isinstance(value, bool):
        return f"takes a value in {READ_FROM}, not true or false"
    if isinstance(value, list) and name not in LISTS | JSON_LISTS | REPEATED:
        return f"takes one value in {READ_FROM}, not a list"
    return None

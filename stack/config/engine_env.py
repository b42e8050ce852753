"""[engine.env]: which variables may be set for the engine (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stack.config.engine_reserved import RESERVED_ENV
from stack.config.toml_text import show_path
from stack.errors import Problem

_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
_SECRET_WORDS = frozenset({"CREDENTIAL", "CREDENTIALS", "PASSPHRASE", "PASSWD", "PASSWORD", "SECRET", "TOKEN"})
_SECRET_KEYS = ("ACCESS_KEY", "API_KEY", "PRIVATE_KEY", "APIKEY")
_HUB_TOKEN = re.compile(r"hf_[A-Za-z0-9]{20,}")
_QUIET_LEVELS = frozenset({"WARNING", "ERROR", "CRITICAL", "FATAL"})

_RISKS = {
    "VLLM_SERVER_DEV_MODE": "lets every program on this machine control the engine by its development routes",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "lets every client load adapters by path",
    "VLLM_KEEP_ALIVE_ON_ENGINE_DEATH": "keeps a container running whose engine died; nothing restarts it",
}
_LOWER_CASE = frozenset({"http_proxy", "https_proxy", "no_proxy", "all_proxy"})


def check_engine_env(env: Mapping[str, str], *, arg_names: frozenset[str] = frozenset()) -> list[Problem]:
    """Give what is wrong with the engine's variables; values are never repeated, they may be secret.

    Args:
        env: The variables.
        arg_names: The names in [engine.args].
    """
    problems = []
    for name, value in env.items():
        message = _check_name(name) or _check_value(name, value)
        if message is None and name == "VLLM_CPU_KVCACHE_SPACE" and "kv-cache-memory-bytes" in arg_names:
            message = "says the same as `engine.args.kv-cache-memory-bytes`; keep that one"
        if message is not None:
            problems.append(Problem(show_path(("engine", "env", name)), message))
    return problems


def warn_engine_env(env: Mapping[str, str]) -> list[Problem]:
    """Give which of the engine's variables open or hide something."""
    return [
        Problem(show_path(("engine", "env", name)), text)
        for name, text in _RISKS.items()
        if env.get(name, "").strip().lower() in {"1", "true", "yes", "on"}
    ]


def is_secret_name(name: str) -> bool:
    """Say whether a variable of this name usually holds a secret."""
    upper = name.upper()
    return not _SECRET_WORDS.isdisjoint(upper.split("_")) or upper.endswith(_SECRET_KEYS)


def _check_name(name: str) -> str | None:
    if reason := RESERVED_ENV.get(name.upper()):
        return reason
    if is_secret_name(name):
        return "looks like a secret, and variables are shown by `docker inspect`; secrets are files"
    if _NAME.fullmatch(name) or name in _LOWER_CASE:
        return None
    near = re.sub(r"[^A-Z0-9_]+", "_", name.strip().upper())
    hint = f"; write `{near}`" if _NAME.fullmatch(near) else ""
    return f"must be upper-case letters, digits and `_`{hint}"


def _check_value(name: str, value: str) -> str | None:
    if re.search(r"[\n\r\0]", value):
        return "must be one line"
    if _HUB_TOKEN.match(value):
        return "looks like a hub token, and variables are shown by `docker inspect`; write `model.token-file`"
    if name == "VLLM_LOGGING_LEVEL" and value.strip().upper() in _QUIET_LEVELS:
        return "boot phases are read from the engine's INFO lines; only INFO and DEBUG keep them"
    return None

"""How a container ended, in words, and the command that explains it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_SIGNALS = {129: "SIGHUP", 130: "SIGINT", 134: "SIGABRT", 137: "SIGKILL", 139: "SIGSEGV", 143: "SIGTERM"}


@dataclass(frozen=True)
class Exit:
    """The end of a container.

    Attributes:
        message: How it ended.
        hint: The command that explains it.
        was_asked: Whether it ended because it was asked to.
    """

    message: str
    hint: str
    was_asked: bool


def describe_exit(service: str, exit_code: int, *, was_oom_killed: bool = False, error: str = "") -> Exit:
    """Say how a service's container ended.

    Args:
        service: The Compose service.
        exit_code: Its exit status; above 128 a signal.
        was_oom_killed: Whether the kernel killed it, or a process of it, for memory.
        error: What the daemon said when it could not start it.
    """
    more = f": {error}" if error else ""
    if service == "engine" and exit_code == 0 and not error:
        # compose/engine/serve.sh: any other status would bring the engine back.
        return Exit("crashed several times in a row and is not started any more", hint_log(service), False)
    signal = f" ({_SIGNALS[exit_code]})" if exit_code in _SIGNALS else ""
    memory = ", killed for its memory" if was_oom_killed else ""
    was_asked = exit_code in (0, 143) and not was_oom_killed and not error
    hint = "stack up" if was_asked else hint_log(service)
    return Exit(f"ended with exit status {exit_code}{signal}{memory}{more}", hint, was_asked)


def hint_log(service: str) -> str:
    """Give the command that tells why a service ended."""
    return "stack logs engine | stack explain -" if service == "engine" else f"stack logs {service}"

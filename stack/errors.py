"""The one exception tree of the tool, and the exit code that each branch ends with.

    StackError                     1
    ├── ConfigError                2   flags, environment or stack.toml cannot be used
    ├── HostError                  3   this machine cannot run what was asked for
    ├── CommandError               4   a tool that we ran failed
    ├── NotReadyError              5   the engine is not ready in time (waiting longer may help)
    │   └── ServiceExitedError     5   a service's container ended (waiting longer will not help)
    ├── NotRunningError            5   what was asked about does not run
    ├── ServiceApiError            6   a running service answered with an error
    ├── ModelError                 7   the model cannot be had, or its files are not what they should be
    ├── TraceError                 8   a trace cannot be read or written
    └── ImageError                 9   an image or pin cannot be had, or is not what it should be

A failed check is a result in a report, not an exception.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

EXIT_CHECK_FAILED = 1
EXIT_INTERRUPTED = 130


class StackError(Exception):
    """An expected failure: what happened, where, and what to do next.

    Args:
        message: What happened and where, one sentence without a final period.
        hint: The next command or change that mends it.
        detail: Longer text (a log tail, a tool's stderr) to show below.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, detail: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the configuration.

    Attributes:
        path: Where, as a dotted key (`engine.args.max-model-len`) or a flag (`--device`).
        message: What is wrong, one sentence without a final period.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(StackError):
    """The configuration cannot be used; all problems at once."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem], *, hint: str | None = None) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems), hint=hint)


class HostError(StackError):
    """This machine cannot run what was asked for."""

    exit_code = 3


class CommandError(StackError):
    """A tool that we ran ended with an error.

    Args:
        argv: The command, never holding a secret.
        returncode: Its exit status.
        stdout: What it printed to standard output, or an empty string.
        stderr: What it printed to standard error, or an empty string.
        duration_seconds: How long it ran.
        message: What it was run for, when the command line alone does not tell.
        hint: What to do next.
    """

    exit_code = 4

    def __init__(
        self,
        argv: Sequence[str],
        returncode: int,
        stdout: str = "",
        stderr: str = "",
        duration_seconds: float = 0.0,
        *,
        message: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
        self.duration_seconds = duration_seconds
        said = message or f"`{shlex.join(self.argv)}` failed"
        super().__init__(f"{said} (exit status {returncode})", hint=hint, detail=stderr or stdout or None)


class NotReadyError(StackError):
    """A service did not become ready in time; waiting longer may help.

    Args:
        service: The Compose service.
        waited_seconds: How long we waited.
        state: What its container is doing now.
        last_probe: What the last probe answered.
        log_tail: The container's last lines.
        hint: What to do next.
    """

    exit_code = 5

    def __init__(
        self,
        service: str,
        waited_seconds: float,
        state: str,
        last_probe: str,
        log_tail: str = "",
        *,
        hint: str | None = None,
    ) -> None:
        self.service = service
        self.waited_seconds = waited_seconds
        self.state = state
        self.last_probe = last_probe
        self.log_tail = log_tail
        super().__init__(self._describe(), hint=hint, detail=log_tail or None)

    def _describe(self) -> str:
        return (
            f"`{self.service}` is not ready after {self.waited_seconds:.0f} s "
            f"(container {self.state}; last probe: {self.last_probe})"
        )


class ServiceExitedError(NotReadyError):
    """A service's container ended before it was ready; waiting longer will not help."""

    def _describe(self) -> str:
        return f"`{self.service}` ended after {self.waited_seconds:.0f} s: {self.state}"


class NotRunningError(StackError):
    """What was asked about does not run.

    Args:
        what: What does not run (`engine`, `grafana`).
        project: In which project.
        hint: What to do next.
    """

    exit_code = 5

    def __init__(self, what: str, project: str, *, hint: str = "stack up") -> None:
        super().__init__(f"`{what}` does not run in project `{project}`", hint=hint)


def leave_out_login(url: str) -> str:
    """Give a URL without the name and password that may stand in it: errors and reports are handed on."""
    start = url.find("://") + len("://") if "://" in url else 0
    host, slash, path = url[start:].partition("/")
    return f"{url[:start]}{host.rpartition('@')[2]}{slash}{path}"


class ServiceApiError(StackError):
    """A running service answered with an error, or not at all.

    Args:
        service: The Compose service.
        url: What was asked; a login in it is not shown.
        message: What came back.
        hint: What to do next.
    """

    exit_code = 6

    def __init__(self, service: str, url: str, message: str, *, hint: str | None = None) -> None:
        self.service = service
        self.url = leave_out_login(url)
        super().__init__(f"{service} at {self.url}: {message}", hint=hint)


class ModelError(StackError):
    """The model cannot be had, or its files are not what they should be."""

    exit_code = 7


class TraceError(StackError):
    """A trace cannot be read or written."""

    exit_code = 8


class ImageError(StackError):
    """An image or pin cannot be had, or is not what it should be."""

    exit_code = 9

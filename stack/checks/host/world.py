"""The machine as the checks see it: every reading is passed in, so that recorded answers can stand in for it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class DockerReport:
    """What the Docker daemon said, or why it said nothing.

    Attributes:
        address: Where it was asked (`unix:///var/run/docker.sock`), with what chose that.
        info: `GET /info`; None where it did not answer.
        version: `GET /version`.
        containers: `GET /containers/json?all=1`.
        problem: Why it did not answer, for a person.
        hint: What mends that.
    """

    address: str = ""
    info: Mapping[str, Any] | None = None
    version: Mapping[str, Any] = field(default_factory=dict)
    containers: Sequence[Mapping[str, Any]] = ()
    problem: str | None = None
    hint: str | None = None


@dataclass(frozen=True)
class ToolAnswer:
    """What a command printed; `returncode` is None where it is not installed."""

    returncode: int | None
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True)
class EndpointAnswer:
    """What an HTTP endpoint answered.

    Attributes:
        seconds: How long it took.
        status: The HTTP status, or None where nothing answered.
        date: Its `Date` header as seconds since the epoch, or None.
        problem: Why nothing answered, for a person.
    """

    seconds: float
    status: int | None = None
    date: float | None = None
    problem: str | None = None


def run_tool(argv: Sequence[str], timeout_seconds: float = 2.0) -> ToolAnswer:
    """Run a command that only reads; one that does not end in time gives its timeout as the error."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_seconds, check=False)
    except FileNotFoundError:
        return ToolAnswer(None)
    except subprocess.TimeoutExpired:
        return ToolAnswer(124, stderr=f"no answer within {timeout_seconds:.0f} s")
    except OSError as err:
        return ToolAnswer(126, stderr=str(err))
    return ToolAnswer(done.returncode, done.stdout, done.stderr)


def _ask_nothing(url: str) -> EndpointAnswer:
    return EndpointAnswer(0.0, problem="not asked")


def _no_docker() -> DockerReport:
    return DockerReport(problem="not asked")


@dataclass(frozen=True)
class HostWorld:
    """How the machine is read.

    Attributes:
        ask_docker: Asks the daemon; called once a run.
        ask_endpoint: Asks a URL; never raises.
        ask_tool: Runs a command that only reads.
        nvml: The `pynvml` module or a recorded stand-in; None imports it.
        environ: The caller's environment.
        uid: The caller's uid.
        proc: The kernel's `/proc`.
        sys: The kernel's `/sys`.
        root: Where absolute paths of configuration files are looked for (`/etc/cdi`).
        home: The user's home.
        statvfs: Reads a filesystem's figures.
        now: Seconds since the epoch.
        cpu_count: Cores that this process may use.
    """

    ask_docker: Callable[[], DockerReport] = _no_docker
    ask_endpoint: Callable[[str], EndpointAnswer] = _ask_nothing
    ask_tool: Callable[[Sequence[str]], ToolAnswer] = run_tool
    nvml: Any = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    uid: int = field(default_factory=os.geteuid)
    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    root: Path = Path("/")
    home: Path = field(default_factory=Path.home)
    statvfs: Callable[[Path], os.statvfs_result] = os.statvfs
    now: Callable[[], float] = time.time
    cpu_count: Callable[[], int] = lambda: len(os.sched_getaffinity(0))

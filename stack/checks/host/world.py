"""The machine as the checks see it: every reading is passed in, so that recorded answers can stand in for it."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stack.checks.host.target import EndpointNeed


@dataclass(frozen=True)
class DockerReport:
    """What the Docker daemon said, or why it said nothing.

    Attributes:
        address: Where it was asked (`unix:///var/run/docker.sock`), with what chose that.
        info: `GET /info`; None where it did not answer.
        version: What of `GET /version` is known (`ApiVersion`).
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
    """What an endpoint of the network answered.

    Attributes:
        is_reachable: Whether what should answer there does.
        reason: What was seen, for a person.
        seconds: How long it took.
        date: Its clock (the `Date` header) as seconds since the epoch, or None.
    """

    is_reachable: bool
    reason: str
    seconds: float = 0.0
    date: float | None = None


@dataclass(frozen=True)
class ModelAnswer:
    """What the hub says of the wanted model to whoever holds this token.

    Attributes:
        problem: Why it cannot be had, for a person; None where it can.
        hint: What mends that.
        size_bytes: Size of the files that would be fetched.
    """

    problem: str | None = None
    hint: str | None = None
    size_bytes: int | None = None


def run_tool(argv: Sequence[str], timeout_seconds: float = 2.0) -> ToolAnswer:
    """Run a command that only reads.

    Raises:
        TimeoutError: It did not end in time, which says more of how busy the machine is than of the tool.
    """
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_seconds, check=False)
    except FileNotFoundError:
        return ToolAnswer(None)
    except subprocess.TimeoutExpired as err:
        raise TimeoutError(f"`{' '.join(argv)}` gave no answer within {timeout_seconds:.0f} s") from err
    except OSError as err:
        return ToolAnswer(126, stderr=str(err))
    return ToolAnswer(done.returncode, done.stdout, done.stderr)


def probe_port(address: str, port: int) -> str | None:
    """Try to bind a port for a moment; give None where that works, else the errno's name (`EADDRINUSE`)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Connections that are closing do not keep the daemon from a port either.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as err:
        return errno.errorcode.get(err.errno or 0, str(err))
    return None


def _no_docker() -> DockerReport:
    return DockerReport(problem="not asked")


def _ask_nothing(need: EndpointNeed) -> EndpointAnswer:
    return EndpointAnswer(False, "not asked")


@dataclass(frozen=True)
class HostWorld:
    """How the machine is read.

    Attributes:
        ask_docker: Asks the daemon; called once a run.
        ask_endpoint: Asks something on the network; never raises.
        ask_model: Asks the hub for the wanted model; never raises. None where nothing has to be asked.
        ask_tool: Runs a command that only reads.
        nvml: The `pynvml` module or a recorded stand-in; None imports it.
        environ: The caller's environment.
        uid: The caller's uid.
        proc: The kernel's `/proc`.
        sys: The kernel's `/sys`.
        root: Where other files of the system are looked for (`/etc/cdi`).
        home: The user's home.
        statvfs: Reads a filesystem's figures.
        access: Tells what this user may do with a path, as `os.access`.
        probe_port: Tells whether a port can be bound now.
        now: Seconds since the epoch.
        installed_at: When this tool was installed, in seconds since the epoch.
        cpu_count: Cores that this process may use.
    """

    ask_docker: Callable[[], DockerReport] = _no_docker
    ask_endpoint: Callable[[EndpointNeed], EndpointAnswer] = _ask_nothing
    ask_model: Callable[[], ModelAnswer] | None = None
    ask_tool: Callable[[Sequence[str]], ToolAnswer] = run_tool
    nvml: Any = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    uid: int = field(default_factory=os.geteuid)
    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    root: Path = Path("/")
    home: Path = field(default_factory=Path.home)
    statvfs: Callable[[Path], os.statvfs_result] = os.statvfs
    access: Callable[[Path, int], bool] = os.access
    probe_port: Callable[[str, int], str | None] = probe_port
    now: Callable[[], float] = time.time
    installed_at: Callable[[], float] = lambda: Path(__file__).stat().st_mtime
    cpu_count: Callable[[], int] = lambda: len(os.sched_getaffinity(0))

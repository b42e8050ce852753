"""What a host check is, and what it is given to work with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from stack.checks.finding import Outcome
from stack.checks.gpus import GpuReport, read_gpus
from stack.checks.host.containers import FoundContainer, parse_container
from stack.checks.host.target import EndpointNeed, HostTarget
from stack.checks.host.world import DockerReport, EndpointAnswer, HostWorld

Read = TypeVar("Read")

__all__ = ["HostCheck", "HostContext", "HostTarget", "Outcome"]


@dataclass(frozen=True)
class HostContext:
    """What every check of one run shares: what is wanted, and the machine. Fit for many threads.

    Attributes:
        target: What `up` would want.
        world: How the machine is read.
    """

    target: HostTarget
    world: HostWorld = field(default_factory=HostWorld)
    _readings: _Once = field(default_factory=lambda: _Once(), repr=False, compare=False)

    def read_docker(self) -> DockerReport:
        """Give what the Docker daemon said; asked once a run, however many checks want to know."""
        return self._readings.get("docker", self.world.ask_docker)

    def read_gpus(self) -> GpuReport:
        """Give the NVIDIA GPUs; NVML is asked once a run. For more of it, see `world.nvml`."""
        return self._readings.get("gpus", self._ask_gpus)

    def read_endpoint(self, need: EndpointNeed) -> EndpointAnswer:
        """Give what something on the network answered; each is asked once a run."""
        return self._readings.get(need, lambda: self.world.ask_endpoint(need))

    def read_containers(self) -> tuple[FoundContainer, ...]:
        """Give every container that the daemon knows, of whatever project."""
        return tuple(parse_container(row) for row in self.read_docker().containers)

    def once(self, key: Hashable, read: Callable[[], Read]) -> Read:
        """Give what `read` gives, calling it once a run for all checks that share the key."""
        return self._readings.get(key, read)

    def _ask_gpus(self) -> GpuReport:
        return read_gpus(self.world.nvml, self.world.sys / "bus/pci/devices")


@dataclass(frozen=True)
class HostCheck:
    """One check; a module `check_*.py` beside this one holds it as `CHECK`.

    A check changes nothing on the machine. It says `fail` only for what keeps `up` from working.

    Attributes:
        name: Stable, kebab-case.
        run: Gives what it found. Whatever it raises becomes a finding.
        order: Where it stands in the report, as all checks run at the same moment: 1-199 Docker, 200-299 GPUs,
            300-399 memory, CPU and disk, 400-499 ports and network, 500 on the rest.
        is_quick: Whether it belongs to the preflight of `up`: no network beyond this machine, under 0.3 s.
        is_decisive: Whether `up` cannot work while the check itself cannot be answered: what it raises is then
            a failed finding, else a warning.
        needs_docker: Whether it only makes sense with a daemon that answers; skipped without one.
        limit_seconds: Longer than that, and it is a warning that nothing answered.
    """

    name: str
    run: Callable[[HostContext], Outcome]
    order: int
    is_quick: bool = False
    is_decisive: bool = False
    needs_docker: bool = False
    limit_seconds: float = 1.5


class _Once:
    """Values that are read once, also when many threads want them at the same moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._values: dict[Hashable, Any] = {}

    def get(self, key: Hashable, read: Callable[[], Read]) -> Read:
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._values:
                self._values[key] = read()
            return self._values[key]

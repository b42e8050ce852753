"""What a container is busy with: two looks at its counters, and what lies between them.

The counters are the daemon's (`GET /containers/{id}/stats`). Where it counts no disk traffic, as on cgroup v1 with
some kernels, the kernel's own count of each process is taken, as far as this user may read it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from stack.containers.daemon import translated

# Compilers that an engine starts: Inductor's C++ kernels on a CPU, CUDA and Triton kernels on a GPU.
_COMPILERS = frozenset({"cc1", "cc1plus", "g++", "gcc", "clang", "ld", "ninja", "nvcc", "cicc", "ptxas"})

# Below these it does nothing worth naming: our own probes and health checks cost about a tenth of them.
_SOME_CPU = 0.05
_SOME_DISK = 1e6
_SOME_NETWORK = 100e3
_MEMORY_IS_SHORT = 0.95

LOOK_SECONDS = 1.0
"""Between two looks: long enough for rates, short enough for whoever waits."""


@dataclass(frozen=True)
class Sample:
    """A container's counters at one moment.

    Attributes:
        at_seconds: When, on a clock that only grows.
        cpu_seconds: CPU time taken so far.
        read_bytes: Read from disks so far, or None where nobody tells.
        written_bytes: Written to disks so far, or None where nobody tells.
        network_bytes: Received and sent so far.
        memory_share: Memory that cannot be dropped, as a share of the container's limit; 0 without a limit.
        compilers: Compilers that run in it.
    """

    at_seconds: float
    cpu_seconds: float
    read_bytes: int | None
    written_bytes: int | None
    network_bytes: int
    memory_share: float
    compilers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Activity:
    """What a container did between two samples.

    Attributes:
        cpus: CPU time per second: 1.0 is one core.
        reads: Bytes a second from disks, or None where nobody tells.
        writes: Bytes a second to disks, or None where nobody tells.
        network: Bytes a second, both ways.
        memory_share: As in `Sample`.
        compilers: Compilers that run in it.
    """

    cpus: float
    reads: float | None
    writes: float | None
    network: float
    memory_share: float = 0.0
    compilers: tuple[str, ...] = ()

    @property
    def is_idle(self) -> bool:
        """Tell whether it does nothing that can be seen from outside."""
        disk = (self.reads or 0.0) + (self.writes or 0.0)
        return self.cpus < _SOME_CPU and disk < _SOME_DISK and self.network < _SOME_NETWORK and not self.compilers

    def __str__(self) -> str:
        """Say it: `reads from disk (85 MB/s), CPU 12 %`, where 100 % is one core."""
        said = []
        if self.compilers:
            said.append(f"compiles ({', '.join(self.compilers)})")
        for verb, rate, least in (
            ("reads from disk", self.reads, _SOME_DISK),
            ("writes to disk", self.writes, _SOME_DISK),
            ("uses the network", self.network, _SOME_NETWORK),
        ):
            if rate is not None and rate >= least:
                said.append(f"{verb} ({rate / 1e6:.{0 if rate >= 1e7 else 1}f} MB/s)")
        if self.is_idle:
            said.append(f"waits (no CPU{', disk' if self.reads is not None else ''} or network use)")
        else:
            said = said or ["computes"]
            said.append(f"CPU {self.cpus * 100:.0f} %")
        if self.memory_share >= _MEMORY_IS_SHORT:
            said.append(f"memory {self.memory_share * 100:.0f} % of its limit")
        return ", ".join(said)


def compare_samples(before: Sample, after: Sample) -> Activity:
    """Give what was done between two samples; a counter that went back, as when a process ended, counts as still."""
    seconds = max(after.at_seconds - before.at_seconds, 1e-3)

    def rate(old: float | None, new: float | None) -> float | None:
        return None if old is None or new is None else max(0.0, new - old) / seconds

    return Activity(
        rate(before.cpu_seconds, after.cpu_seconds) or 0.0,
        rate(before.read_bytes, after.read_bytes),
        rate(before.written_bytes, after.written_bytes),
        rate(before.network_bytes, after.network_bytes) or 0.0,
        after.memory_share,
        after.compilers,
    )


def parse_stats(document: Mapping[str, Any], at_seconds: float) -> Sample:
    """Turn the daemon's document into a sample; of what cgroup v1 and v2 call by different names, either.

    Source: https://docs.docker.com/reference/api/engine/version/v1.41/ (ContainerStats); memory without the page
        cache as the docker CLI counts it (cli/command/container/stats_helpers.go).
    """
    entries = (document.get("blkio_stats") or {}).get("io_service_bytes_recursive") or []
    memory = document.get("memory_stats") or {}
    details, limit = memory.get("stats") or {}, memory.get("limit") or 0
    cached = sum(details.get(f"total_{name}", details.get(name, 0)) for name in ("inactive_file", "active_file"))
    used = max(0, memory.get("usage", 0) - cached)
    return Sample(
        at_seconds,
        ((document.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage", 0) / 1e9,
        _sum_operation(entries, "read") if entries else None,
        _sum_operation(entries, "write") if entries else None,
        sum(item.get("rx_bytes", 0) + item.get("tx_bytes", 0) for item in (document.get("networks") or {}).values()),
        used / limit if limit else 0.0,
    )


def _sum_operation(entries: Sequence[Mapping[str, Any]], operation: str) -> int:
    return sum(entry["value"] for entry in entries if entry["op"].lower() == operation)


class ActivityProbe:
    """Looks at one container.

    Args:
        connect: Makes a connection to the daemon; made at the first look, for most boots need none.
        container_id: The container.
        proc: Where the kernel shows processes.
        clock: Seconds that only grow.
        sleep: Waits for seconds.
    """

    def __init__(
        self,
        connect: Callable[[], docker.DockerClient],
        container_id: str,
        *,
        proc: Path = Path("/proc"),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connect = connect
        self._container_id = container_id
        self._proc = proc
        self._clock = clock
        self._sleep = sleep

    def look(self) -> Activity:
        """Give what the container does, measured for `LOOK_SECONDS`.

        Raises:
            CommandError: The daemon does not tell, as of a container that is gone.
            HostError: It does not answer.
        """
        client = self._connect()
        try:
            before = self._take(client)
            self._sleep(LOOK_SECONDS)
            return compare_samples(before, self._take(client))
        finally:
            client.close()

    def _take(self, client: docker.DockerClient) -> Sample:
        with translated("reading what a container does"):
            document = client.api.stats(self._container_id, stream=False, one_shot=True)
            listed = client.api.top(self._container_id, ps_args="-eo pid,comm")
        sample = parse_stats(document, self._clock())
        processes = [(row[0], row[1]) for row in listed.get("Processes") or []]
        compilers = tuple(sorted({name for _, name in processes} & _COMPILERS))
        read, written = sample.read_bytes, sample.written_bytes
        if read is None:
            read, written = self._sum_processes([pid for pid, _ in processes])
        return Sample(
            sample.at_seconds, sample.cpu_seconds, read, written, sample.network_bytes, sample.memory_share, compilers
        )

    def _sum_processes(self, pids: Sequence[str]) -> tuple[int | None, int | None]:
        """Sum up what the kernel counted for each process; a parent's count holds its ended children."""
        counts: list[dict[str, int]] = []
        for pid in pids:
            folder = self._proc / pid
            try:
                # The daemon may run elsewhere: its process numbers mean nothing here then.
                if self._container_id not in (folder / "cgroup").read_text():
                    return None, None
                lines = (folder / "io").read_text().splitlines()
            except FileNotFoundError:
                continue
            except OSError:
                return None, None
            counts.append({name: int(value) for name, _, value in (line.partition(":") for line in lines)})
        if not counts:
            return None, None
        return sum(item["read_bytes"] for item in counts), sum(item["write_bytes"] for item in counts)

"""Measure what surrounds this project's engine between two looks: its CPU time, the host's, and its GPUs' clocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import docker

from stack.checks.gpu_clocks import GpuClocks, read_gpu_clocks
from stack.checks.gpu_load import GpuLoad
from stack.containers.activity import compare_samples, parse_stats
from stack.containers.daemon import translated
from stack.containers.ownership import Found
from stack.errors import StackError
from stack.telemetry.diagnosis.surroundings import GpuUse, Surroundings

_MAX_NUM_SEQS = "--max-num-seqs"
# proc_stat(5): user, nice, system, (idle, iowait,) irq, softirq, in ticks of a hundredth second on every Linux.
_BUSY_FIELDS = (1, 2, 3, 6, 7)
_TICK_SECONDS = 0.01


class AroundProbe:
    """Looks at what surrounds one engine's container, from its making until `finish`.

    Args:
        client: A connection to the daemon.
        found: The engine's container.
        read_clocks: Gives the GPUs' clocks now.
        proc: Where the kernel shows processes.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        found: Found,
        *,
        read_clocks: Callable[[], Sequence[GpuClocks]] = read_gpu_clocks,
        proc: Path = Path("/proc"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._found, self._proc, self._clock = client, found, proc, clock
        host = found.attributes.get("HostConfig") or {}
        self._requests = host.get("DeviceRequests") or []
        self._limit = (host.get("NanoCpus") or 0) / 1e9
        self._read_clocks = read_clocks
        self._clocks: list[GpuClocks] = []
        # The driver and the kernel of this machine tell nothing of a daemon on another one.
        self._is_here = is_on_this_machine(found, proc)
        self._before = self._take()

    def tick(self) -> None:
        """Look at the GPUs' clocks; to be called once a second or so."""
        if self._requests and self._is_here:
            self._clocks += [one for one in self._read_clocks() if is_of_engine(one, self._requests)]

    def finish(self) -> Surroundings:
        """Give what was measured; what could not be is None."""
        argv = [str(word) for word in self._found.attributes["Config"].get("Cmd") or []]
        engine, other, cores = self._compare_cores()
        return Surroundings(
            device="cuda" if self._requests else "cpu",
            max_num_seqs=read_max_num_seqs(argv),
            engine_cores=engine,
            other_cores=other,
            cores=cores,
            gpus=sum_up_gpus(self._clocks),
        )

    def _compare_cores(self) -> tuple[float | None, float | None, float | None]:
        after = self._take()
        if self._before is None or after is None:
            return None, None, None
        (before, busy_before, cores), (now, busy_now, _) = self._before, after
        engine = compare_samples(before, now).cpus
        other = None
        if busy_before is not None and busy_now is not None:
            seconds = max(now.at_seconds - before.at_seconds, 1e-3)
            other = max(0.0, (busy_now - busy_before) / seconds - engine)
        return engine, other, self._limit or cores

    def _take(self) -> tuple[Any, float | None, float | None] | None:
        try:
            with translated("reading what the engine does"):
                document = self._client.api.stats(self._found.state.container_id, stream=False, one_shot=True)
        except StackError:
            return None
        cores = (document.get("cpu_stats") or {}).get("online_cpus")
        return parse_stats(document, self._clock()), self._read_busy_seconds(), float(cores) if cores else None

    def _read_busy_seconds(self) -> float | None:
        """Give the CPU time of all of the host, or None where it is not the engine's."""
        if not self._is_here:
            return None
        try:
            fields = (self._proc / "stat").read_text().splitlines()[0].split()
        except OSError:
            return None
        return sum(int(fields[index]) for index in _BUSY_FIELDS) * _TICK_SECONDS


def read_max_num_seqs(argv: Sequence[str]) -> int | None:
    """Give `--max-num-seqs` of an engine's command line, in either spelling."""
    for index, word in enumerate(argv):
        name, _, value = word.partition("=")
        if name == _MAX_NUM_SEQS:
            value = value or (argv[index + 1] if index + 1 < len(argv) else "")
            return int(value) if value.isdecimal() else None
    return None


def is_on_this_machine(found: Found, proc: Path = Path("/proc")) -> bool:
    """Tell whether a container runs on this machine's kernel, and not on that of a daemon elsewhere."""
    pid = (found.attributes.get("State") or {}).get("Pid")
    try:
        return found.state.container_id in (proc / str(pid) / "cgroup").read_text()
    except OSError:
        return False


def is_of_engine(gpu: GpuClocks | GpuLoad, requests: Sequence[dict[str, Any]]) -> bool:
    """Tell whether the daemon gave this GPU to a container."""
    named = [str(name) for request in requests for name in request.get("DeviceIDs") or []]
    names = {name.rpartition("=")[2] for name in named}
    return not names or bool(names & {"all", str(gpu.index), gpu.uuid})


def sum_up_gpus(looks: Sequence[GpuClocks]) -> tuple[GpuUse, ...]:
    """Give what each GPU did over all looks: means, and what held it down at every one of them."""
    found: dict[int, list[GpuClocks]] = {}
    for look in looks:
        found.setdefault(look.index, []).append(look)
    return tuple(
        GpuUse(
            index,
            len(rows),
            _mean([row.utilization for row in rows]),
            _mean([row.clock_share for row in rows]),
            tuple(words for words in rows[0].slowdowns if all(words in row.slowdowns for row in rows)),
        )
        for index, rows in sorted(found.items())
    )


def _mean(values: Sequence[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return fmean(told) if told else None

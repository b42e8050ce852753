"""A pretended machine: every reading of the host checks is recorded or made up."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stack.checks.host.check import HostContext
from stack.checks.host.target import HostTarget
from stack.checks.host.world import DockerReport, HostWorld, ToolAnswer

GIB = 1024**3
# What Debian 12's engine says of itself, shortened.
INFO = {
    "ServerVersion": "20.10.24+dfsg1",
    "OSType": "linux",
    "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]],
    "Runtimes": {"io.containerd.runc.v2": {"path": "runc"}, "runc": {"path": "runc"}},
    "DefaultRuntime": "runc",
    "SecurityOptions": ["name=seccomp,profile=default"],
    "CDISpecDirs": None,
    "CgroupVersion": "1",
    "MemTotal": 24 * GIB,
    "HttpProxy": "",
    "HttpsProxy": "",
    "NoProxy": "",
}
VERSION = {"Version": "20.10.24+dfsg1", "ApiVersion": "1.41"}
DOCKER_VERSION = {"Client": {"Version": "28.2.2", "Context": "default"}, "Server": {"Version": "20.10.24+dfsg1"}}
TOOLS = {
    "docker version": ToolAnswer(0, json.dumps(DOCKER_VERSION)),
    "docker compose": ToolAnswer(0, '{"version":"v2.40.3-3"}\n'),
    "docker buildx": ToolAnswer(0, "github.com/docker/buildx 0.29.1+ds1 0.29.1+ds1-4\n"),
}
MEMINFO = "MemTotal:       25165824 kB\nMemAvailable:   20971520 kB\nSwapTotal:             0 kB\nSwapFree: 0 kB\n"
CPUINFO = "processor\t: 0\nmodel name\t: Acme 9000\nflags\t\t: fpu avx2 avx512f avx512_bf16\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A `/proc` of a healthy machine; a test rewrites what it is about."""
    folder = tmp_path / "proc"
    (folder / "sys/kernel").mkdir(parents=True)
    (folder / "self").mkdir()
    (folder / "net").mkdir()
    (folder / "sys/kernel/osrelease").write_text("6.1.0-28-amd64\n")
    (folder / "meminfo").write_text(MEMINFO)
    (folder / "cpuinfo").write_text(CPUINFO)
    (folder / "locks").write_text("")
    return folder


def give_filesystem(free_bytes: int, *, inodes: tuple[int, int] = (10**7, 10**7), is_read_only: bool = False) -> Any:
    """Give what statvfs says of a filesystem: free inodes and all of them, block size 1."""
    flag = os.ST_RDONLY if is_read_only else 0
    return SimpleNamespace(
        f_bavail=free_bytes, f_frsize=1, f_blocks=100 * GIB, f_files=inodes[1], f_favail=inodes[0], f_flag=flag
    )


@pytest.fixture
def make_context(tmp_path: Path, proc: Path) -> Callable[..., HostContext]:
    """A function: fields of the target, and of the world in `world`, give the context of a healthy machine."""

    def make(
        *,
        info: Mapping[str, Any] | None = None,
        docker: DockerReport | None = None,
        tools: Mapping[str, ToolAnswer] | None = None,
        containers: tuple[Mapping[str, Any], ...] = (),
        free_bytes: int = 80 * GIB,
        world: Mapping[str, Any] | None = None,
        **target: Any,
    ) -> HostContext:
        report = docker or DockerReport("unix:///var/run/docker.sock", INFO | (info or {}), VERSION, containers)
        answers = TOOLS | (tools or {})
        pretended = {
            "ask_docker": lambda: report,
            "ask_tool": lambda argv: answers.get(" ".join(argv[:2]), ToolAnswer(None)),
            "environ": {},
            "uid": 1000,
            "proc": proc,
            "sys": tmp_path / "sys",
            "root": tmp_path / "root",
            "home": tmp_path / "home",
            "statvfs": lambda path: give_filesystem(free_bytes),
            "access": lambda path, mode: True,
            "probe_port": lambda address, port: None,
            "now": lambda: 1_800_000_000.0,
            "installed_at": lambda: 1_700_000_000.0,
            "cpu_count": lambda: 8,
            "nvml": FakeNoNvml,
        }
        return HostContext(HostTarget(**({"project": "mine"} | target)), HostWorld(**(pretended | (world or {}))))

    return make


class FakeNoNvml:
    """NVML on a machine without the driver's library."""

    class NVMLError(Exception):
        """As in pynvml."""

    @classmethod
    def nvmlInit(cls) -> None:  # noqa: N802 (NVML's name)
        raise cls.NVMLError("NVML Shared Library Not Found")


def give_container(name: str, *, project: str | None = None, service: str = "engine", **fields: Any) -> dict[str, Any]:
    """Give a row of the daemon's listing; `tool=True` is one that this tool made."""
    labels = {} if project is None else {"com.docker.compose.project": project, "com.docker.compose.service": service}
    if fields.pop("tool", False):
        labels["dev.stack.project"] = str(project)
    ports = [{"PrivatePort": 8000, "PublicPort": port, "Type": "tcp"} for port in fields.pop("ports", ())]
    return {"Id": "c" * 64, "Names": [f"/{name}"], "Labels": labels, "Ports": ports, "State": "running", **fields}

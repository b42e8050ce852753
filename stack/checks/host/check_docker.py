"""The Docker daemon: reachable, allowed, new enough, and on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from stack.checks.host.check import HostCheck, HostContext, Outcome

# The oldest engine that the stack is tested on (Debian 12's). Older ones may work.
MIN_ENGINE = (20, 10)
MIN_API = (1, 41)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", ""})


def run(context: HostContext) -> Outcome:
    """Judge what the daemon says of itself."""
    report = context.read_docker()
    if report.info is None:
        return Outcome(
            "fail",
            report.problem or "the Docker daemon does not answer",
            hint=report.hint or "start it: `sudo systemctl start docker`, or run `./scripts/up`",
            why="every service of the stack runs in a container",
            data={"address": report.address},
        )
    version = str(report.info.get("ServerVersion", "unknown"))
    kind = describe_kind(report.info)
    data = {
        "address": report.address,
        "version": version,
        "api_version": report.version.get("ApiVersion"),
        "kind": kind,
        "cgroup_version": report.info.get("CgroupVersion"),
    }
    said = f"{kind} {version} at {report.address}" if report.address else f"{kind} {version}"
    return _judge(said, str(report.info.get("OSType", "linux")), data)


def _judge(said: str, containers: str, data: Mapping[str, Any]) -> Outcome:
    if containers != "linux":
        return Outcome(
            "fail",
            f"{said} runs {containers} containers",
            hint="switch it to Linux containers",
            why="the images of the stack are Linux images",
            data=data,
        )
    if is_elsewhere(data["address"]):
        return Outcome(
            "warn",
            f"{said}: that is another machine",
            hint="unset DOCKER_HOST, or choose a local context: `docker context use default`",
            why="folders of this machine (models, caches, rendered files) are mounted into the containers, which only "
            "works where the daemon sees the same folders; ports are published over there",
            data=data,
        )
    if is_old(data["version"], MIN_ENGINE) or is_old(str(data["api_version"]), MIN_API):
        return Outcome(
            "warn",
            f"{said} is older than 20.10, the oldest that the stack is tested on",
            hint="upgrade Docker",
            why="what the Compose files ask for (health checks, limits, GPU reservations) may not be understood",
            data=data,
        )
    return Outcome("pass", said, data=data)


def describe_kind(info: Mapping[str, Any]) -> str:
    """Tell which daemon it is: Docker Desktop's, a rootless one, Podman's, or the plain engine."""
    system = str(info.get("OperatingSystem", ""))
    if "Docker Desktop" in system:
        return "Docker Desktop"
    if "name=rootless" in (info.get("SecurityOptions") or []):
        return "rootless Docker Engine"
    return "Docker Engine"


def is_elsewhere(address: str) -> bool:
    """Tell whether a daemon's address leads to another machine."""
    parts = urlsplit(address.split(" ", 1)[0])
    if parts.scheme == "ssh":
        return True
    return parts.scheme in ("tcp", "http", "https") and (parts.hostname or "") not in _LOOPBACK


def is_old(version: str, least: tuple[int, int]) -> bool:
    """Tell whether a version is older than the least one; one that cannot be read is not."""
    parts = version.split(".")[:2]
    digits = ["".join(character for character in part if character.isdigit()) for part in parts]
    return len(digits) == 2 and all(digits) and (int(digits[0]), int(digits[1])) < least


CHECK = HostCheck("docker", run, order=20, is_quick=True, is_decisive=True)

"""Where `stack top` looks, and what runs there: this project's services as Docker tells them, or addresses given."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import httpx2

from stack.checks.gpu_load import GpuLoad, read_gpu_loads
from stack.errors import ConfigError, NotRunningError, Problem, ServiceApiError, StackError, leave_out_login
from stack.operations.diagnose.around import is_of_engine, is_on_this_machine
from stack.operations.session import Session
from stack.operations.status.read import ServiceStatus, Status, read_status
from stack.telemetry.service_http import check_status, fetch_response, parse_json

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_VERSION_TIMEOUT_SECONDS = 2.0
ReadGpus = Callable[[], tuple[GpuLoad, ...]]


@dataclass(frozen=True)
class Runs:
    """What runs; None where it is not known.

    Attributes:
        project: The Compose project; None for an engine that was named by its address.
        version: vLLM's version.
        commit: Its commit.
        commit_level: What proves the commit.
        model: The model's id.
        revision: Its revision.
        served_name: What clients write as `model`.
        device: `cpu` or `cuda`.
        started_at: When the engine's container was last started.
        smoke_passed: Whether the last smoke test of this boot passed.
        smoke_at: When it was run.
    """

    project: str | None = None
    version: str | None = None
    commit: str | None = None
    commit_level: str | None = None
    model: str | None = None
    revision: str | None = None
    served_name: str | None = None
    device: str | None = None
    started_at: datetime.datetime | None = None
    smoke_passed: bool | None = None
    smoke_at: datetime.datetime | None = None


@dataclass(frozen=True)
class Place:
    """Where to look.

    Attributes:
        engine: The engine's address; None where no engine's container runs.
        prometheus: Prometheus' address; None where none is known.
        runs: What runs there.
        trouble: What the engine's container does instead of running, or None.
        read_gpus: Gives the load of the engine's GPUs.
    """

    engine: str | None
    prometheus: str | None
    runs: Runs
    trouble: str | None = None
    read_gpus: ReadGpus = tuple


def build_finder(session: Session, engine: str | None, prometheus: str | None) -> Callable[[], Place]:
    """Give what finds the place, anew at each call.

    Args:
        session: The run.
        engine: Any vLLM's address; None: this project's engine.
        prometheus: Any Prometheus' address; None: this project's, where the engine is this project's too.

    Raises:
        ConfigError: The engine's address is none.
        HostError: The daemon does not answer, and no engine is named.
        NotRunningError: No engine is named and this project's does not run.
    """
    if engine is not None:
        address = engine.rstrip("/").removesuffix("/metrics")
        # The GPUs of another machine cannot be asked; on loopback they are most likely this one's.
        gpus = read_gpu_loads if _find_host(address) in _LOOPBACK else tuple
        return lambda: Place(address, prometheus, Runs(version=_fetch_version(address)), read_gpus=gpus)
    client = session.connect()
    first = [read_status(session, client)]
    if not first[0].is_serving:
        raise NotRunningError("engine", session.project, hint="stack up, or `--engine URL` for another one")
    # What was said at the first look is said; later it would only stand in the middle of the view.
    quiet = replace(session, say=lambda text: None)

    def find() -> Place:
        place = build_own_place(first.pop() if first else read_status(quiet, client))
        return place if prometheus is None else replace(place, prometheus=prometheus)

    return find


def build_own_place(status: Status, read_gpus: ReadGpus = read_gpu_loads) -> Place:
    """Give the place of this project.

    Args:
        status: What runs.
        read_gpus: Gives the load of this machine's GPUs.
    """
    services = {service.name: service for service in status.services}
    engine = services.get("engine")
    return Place(
        engine=_find_url(engine),
        prometheus=_find_url(services.get("prometheus")),
        runs=_build_runs(status, engine),
        trouble=_describe_trouble(engine),
        read_gpus=_choose_gpus(status, read_gpus),
    )


def _find_host(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError as err:
        problem = Problem("--engine", f"`{leave_out_login(address)}` is no address ({err})")
        raise ConfigError([problem], hint="write it as `http://HOST:PORT`") from err


def _fetch_version(address: str) -> str | None:
    url = f"{address}/version"
    try:
        with httpx2.Client(trust_env=False) as http:
            response = fetch_response(http, "engine", url, timeout_seconds=_VERSION_TIMEOUT_SECONDS)
            check_status(response, "engine", url)
            answer = parse_json(response, "engine", url)
    except ServiceApiError:
        return None
    version = answer.get("version") if isinstance(answer, dict) else None
    return version if isinstance(version, str) else None


def _find_url(service: ServiceStatus | None) -> str | None:
    return service.url if service is not None and service.state == "running" else None


def _build_runs(status: Status, service: ServiceStatus | None) -> Runs:
    engine, smoke = status.engine, status.smoke
    started = service.started_at if service is not None else None
    runs = Runs(
        project=status.project,
        started_at=datetime.datetime.fromisoformat(started) if started else None,
        smoke_passed=smoke.passed if smoke is not None else None,
        smoke_at=smoke.started_at if smoke is not None else None,
    )
    if engine is None:
        return runs
    return replace(
        runs,
        version=engine.version,
        commit=engine.commit,
        commit_level=engine.commit_level,
        model=engine.model,
        revision=engine.revision,
        served_name=engine.served_name,
        device=engine.device,
    )


def _describe_trouble(service: ServiceStatus | None) -> str | None:
    if service is None:
        return "there is no container of it"
    if service.state == "running":
        return None
    code = f" with {service.exit_code}" if service.exit_code is not None else ""
    return f"its container is {service.state}{code}"


def _choose_gpus(status: Status, read_gpus: ReadGpus) -> ReadGpus:
    found = status.found.get("engine")
    requests = (found.attributes.get("HostConfig") or {}).get("DeviceRequests") if found is not None else None
    if found is None or not requests or not is_on_this_machine(found):
        return tuple
    return lambda: tuple(gpu for gpu in read_gpus() if is_of_engine(gpu, requests))


def find_quietly(find: Callable[[], Place], known: Place) -> Place:
    """Give the place, or the one that is known already where Docker does not answer now."""
    try:
        return find()
    except StackError:
        return known

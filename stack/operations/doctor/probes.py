"""How `doctor` asks Docker, the hub and the registries: briefly, and without raising."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Mapping
from typing import Any

import docker
import requests
from docker.errors import DockerException

from stack.checks.host.target import EndpointNeed
from stack.checks.host.world import DockerReport, EndpointAnswer, ModelAnswer
from stack.config.schema import StackConfig
from stack.containers.daemon import LABEL_PROJECT, LABEL_SERVICE, connect
from stack.errors import HostError, ModelError, StackError
from stack.images.registry import is_registry_reachable
from stack.models.hub import build_hub_client, fetch_listing
from stack.models.hub_access import ask_hub, load_token
from stack.operations.images.pinned_engine import open_http
from stack.operations.offline import REASON
from stack.progress import ignore

# `doctor` has three seconds in all; what answers later than this counts as not answering.
NETWORK_SECONDS = 2.0
_CONNECT_SECONDS = 1.0
_READ_SECONDS = 2.0

Connect = Callable[[], docker.DockerClient]


def connect_briefly(environ: Mapping[str, str]) -> docker.DockerClient:
    """Connect to the daemon without the patience that `up` has.

    Raises:
        HostError: It does not answer, or this user may not talk to it.
    """
    client = connect(_CONNECT_SECONDS, environ)
    client.api.timeout = _READ_SECONDS
    return client


def ask_docker(client: docker.DockerClient | HostError, environ: Mapping[str, str]) -> DockerReport:
    """Ask the daemon for itself and its containers, or say why there is none."""
    address = find_address(environ)
    if isinstance(client, HostError):
        return DockerReport(address, problem=client.message, hint=client.hint)
    try:
        info, version = client.info(), {"ApiVersion": client.api.api_version}
        rows = client.api.containers(all=True)
        containers = [row | {"Gpus": _read_gpus(client, row)} if _may_hold_gpu(row) else row for row in rows]
    except (DockerException, requests.RequestException) as err:
        return DockerReport(
            address, problem=f"the Docker daemon does not answer ({err})", hint="see `docker info` and `dmesg`"
        )
    return DockerReport(address, info, version, containers)


def find_address(environ: Mapping[str, str]) -> str:
    """Give where the daemon is asked, and what chose that place."""
    if environ.get("DOCKER_HOST"):
        return f"{environ['DOCKER_HOST']} (DOCKER_HOST)"
    from docker.context import ContextAPI  # noqa: PLC0415 (only here)

    try:
        context = ContextAPI.get_current_context()
    except (DockerException, OSError, ValueError, KeyError):
        return "unix:///var/run/docker.sock"
    chosen = "" if context.Name == "default" else f" (context {context.Name})"
    return f"{context.Host or 'unix:///var/run/docker.sock'}{chosen}"


def _may_hold_gpu(row: Mapping[str, Any]) -> bool:
    labels = row.get("Labels") or {}
    return labels.get(LABEL_SERVICE) == "engine" and LABEL_PROJECT in labels and row.get("State") == "running"


def _read_gpus(client: docker.DockerClient, row: Mapping[str, Any]) -> list[str]:
    """Give the GPUs of a running engine: the daemon's listing does not name them."""
    try:
        host = client.api.inspect_container(row["Id"]).get("HostConfig") or {}
    except DockerException:
        # It ended in the meantime.
        return []
    found: list[str] = []
    for request in host.get("DeviceRequests") or []:
        found += request.get("DeviceIDs") or (["all"] if request.get("Count") else [])
    return found


class NetworkProbes:
    """Asks the hub and registries, each once: what is decided and what is reported rest on the same answer.

    Args:
        config: The configuration.
        environ: The caller's environment.
        clock: Monotonic seconds.
    """

    def __init__(
        self, config: StackConfig, environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._environ = environ
        self._clock = clock
        self._seconds = min(config.images.timeout_seconds, NETWORK_SECONDS)
        self._answers: dict[str, EndpointAnswer] = {}

    def ask(self, need: EndpointNeed) -> EndpointAnswer:
        """Give what an endpoint answered; offline, nobody is asked."""
        if self._config.offline:
            return EndpointAnswer(False, REASON)
        if need.url not in self._answers:
            ask = self._ask_hub if need.kind == "hub" else self._ask_registry
            self._answers[need.url] = ask(need.url)
        return self._answers[need.url]

    def _ask_hub(self, url: str) -> EndpointAnswer:
        began = self._clock()
        answer = ask_hub(url, self._seconds, environ=self._environ)
        return EndpointAnswer(answer.is_reachable, answer.reason, self._clock() - began, parse_date(answer.date))

    def _ask_registry(self, host: str) -> EndpointAnswer:
        dates: list[str] = []
        began = self._clock()
        with open_http(self._config) as http:
            http.event_hooks = {"response": [lambda response: dates.append(response.headers.get("date", ""))]}
            reachable, reason = is_registry_reachable(host, self._seconds, client=http)
        return EndpointAnswer(reachable, reason, self._clock() - began, parse_date(dates[0] if dates else ""))

    def ask_model(self, model_id: str, revision: str) -> ModelAnswer:
        """Ask the hub for a model's listing; a hub that wants patience is an answer, too."""
        config = self._config.model
        try:
            token = load_token(config.token_file, self._environ)
            client = build_hub_client(
                model_id, revision, endpoint=config.endpoint, token=token, report=ignore, sleep=_refuse_to_wait
            )
            return ModelAnswer(size_bytes=fetch_listing(client).size_bytes)
        except ModelError as err:
            return ModelAnswer(err.message, err.hint)
        except StackError:
            return ModelAnswer()


def _refuse_to_wait(seconds: float) -> None:
    raise StackError(f"the hub asks to wait {seconds:.0f} s")


def parse_date(text: str) -> float | None:
    """Read an HTTP `Date` header, in seconds since the epoch; None where there is none."""
    parts = email.utils.parsedate_tz(text) if text else None
    return email.utils.mktime_tz(parts) if parts else None

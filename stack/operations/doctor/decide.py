"""What `up` would decide, found out within seconds and also where Docker does not answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import docker

from stack.checks.finding import Finding
from stack.checks.host.target import EndpointNeed
from stack.checks.host.world import DockerReport, ModelAnswer
from stack.config.host_paths import check_host_paths
from stack.errors import ConfigError, HostError, StackError
from stack.models.reference import DEFAULT_REVISION
from stack.operations.doctor.no_daemon import NoDaemon
from stack.operations.doctor.probes import NETWORK_SECONDS, Connect, NetworkProbes, ask_docker
from stack.operations.images.identify import check_known_identity
from stack.operations.layout.decide import check_engine, check_model
from stack.operations.offline import demand_here
from stack.operations.resolve import Resolved, resolve
from stack.operations.session import Session, load_project_lock

Made = TypeVar("Made")

# The registries and the hub are asked side by side; what is not decided by then is not known.
_DECIDE_SECONDS = NETWORK_SECONDS + 0.3
_DOCKER_SECONDS = 1.0


@dataclass(frozen=True)
class Decision:
    """What was decided.

    Attributes:
        resolved: The decisions, or None where they could not be taken.
        finding: What the decisions say of `up`.
        docker: Gives what the daemon said; waits for it.
        model: What the hub says of the model; None where it was not asked.
    """

    resolved: Resolved | None
    finding: Finding
    docker: Callable[[], DockerReport]
    model: ModelAnswer | None = None


def decide(session: Session, probes: NetworkProbes, connect: Connect) -> Decision:
    """Take the decisions of `up`, each bounded in time; nothing is started or written."""
    connected = start(lambda: _connect(connect))
    reported = start(lambda: ask_docker(connected.result(), session.environ))
    hub = EndpointNeed("the model hub", "hub", session.config.model.endpoint)
    asked = start(lambda: probes.ask(hub)) if _may_need_hub(session) else None

    def ask_hub() -> tuple[bool, str]:
        answer = asked.result() if asked is not None else probes.ask(hub)
        return answer.is_reachable, answer.reason

    decided = start(lambda: _resolve(session, connected.result(), ask_hub))
    resolved, finding = _wait_for_decisions(decided)
    # A slow daemon must not use up the time of every check that wants its answer.
    wait((reported,), _DOCKER_SECONDS)
    model = _ask_model(resolved, probes, hub) if resolved is not None else None
    return Decision(resolved, finding, reported.result, model)


def start(work: Callable[[], Made]) -> Future[Made]:
    """Run something in a thread that keeps nobody waiting, not even the end of the process."""
    future: Future[Made] = Future()

    def call() -> None:
        try:
            future.set_result(work())
        except BaseException as err:  # noqa: BLE001 - carried over to whoever asks for the result
            future.set_exception(err)

    threading.Thread(target=call, daemon=True, name="doctor").start()
    return future


def _connect(connect: Connect) -> docker.DockerClient | HostError:
    try:
        return connect()
    except HostError as err:
        return err


def _may_need_hub(session: Session) -> bool:
    """Tell whether the model is one of the hub's, or yet to be chosen."""
    wanted = session.config.model.id
    if session.config.offline:
        return False
    if wanted is not None:
        return wanted != "demo" and not wanted.startswith(("/", ".", "~"))
    try:
        return load_project_lock(replace(session, say=lambda text: None)).model is None
    except StackError:
        return False


def _resolve(
    session: Session, client: docker.DockerClient | HostError, ask_hub: Callable[[], tuple[bool, str]]
) -> Resolved:
    """Take the decisions as `up` does, with less patience.

    Raises:
        StackError: What was asked for cannot be had here.
    """
    config = session.config
    problems = check_host_paths(config)
    if problems:
        raise ConfigError(problems)
    seconds = min(config.images.timeout_seconds, NETWORK_SECONDS)
    images = config.images.model_copy(update={"timeout_seconds": seconds, "retries": 0})
    brief = replace(session, loaded=replace(session.loaded, config=config.model_copy(update={"images": images})))
    daemon = cast(Any, NoDaemon()) if isinstance(client, HostError) else client
    resolved = resolve(brief, daemon, ask_hub=ask_hub)
    check_engine(session, resolved.device)
    if not isinstance(client, HostError):
        demand_here(session.config, resolved)
    check_model(resolved)
    if not isinstance(client, HostError):
        check_known_identity(session, client, resolved)
    return resolved


def _wait_for_decisions(decided: Future[Resolved]) -> tuple[Resolved | None, Finding]:
    why = "`up` takes the same decisions, and stops where it cannot"
    try:
        resolved = decided.result(_DECIDE_SECONDS)
    except NotInTime:
        message = f"device, images and model are not decided within {_DECIDE_SECONDS:.1f} s: something does not answer"
        hint = "`stack up --dry-run` takes the time that it needs"
        return None, Finding("decisions", "warn", message, _DECIDE_SECONDS, hint, why=why)
    except ConfigError as err:
        message = "; ".join(str(problem) for problem in err.problems)
        return None, Finding("decisions", "fail", message, hint=err.hint or "change it in stack.toml", why=why)
    except StackError as err:
        return None, Finding("decisions", "fail", err.message, hint=err.hint, why=why)
    except Exception as err:  # noqa: BLE001 - a doctor that breaks on a strange machine says nothing at all
        message = f"the decisions failed: {type(err).__name__}: {err}"
        return None, Finding("decisions", "fail", message, hint="`stack -vv up --dry-run` shows where", why=why)
    return resolved, Finding("decisions", "pass", "; ".join(str(choice) for choice in resolved.choices))


def _ask_model(resolved: Resolved, probes: NetworkProbes, hub: EndpointNeed) -> ModelAnswer | None:
    """Ask the hub for a model that is yet to be fetched, where the hub answers at all."""
    if resolved.reference.kind != "hub" or resolved.snapshot is not None or not probes.ask(hub).is_reachable:
        return None
    revision = resolved.locked_revision or DEFAULT_REVISION
    asked = start(lambda: probes.ask_model(resolved.reference.id, revision))
    try:
        return asked.result(NETWORK_SECONDS / 2)
    except NotInTime:
        return ModelAnswer()

"""The engine that a bench asks, as its client's container must know it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.errors import HostError, ModelError, NotRunningError
from stack.models.facts import build_model_facts
from stack.models.warm import list_snapshots
from stack.operations.access import API_KEY
from stack.operations.engine_client import build_engine
from stack.operations.session import Session
from stack.operations.status.engine import EngineStatus
from stack.operations.status.read import Status, read_status

_ALIAS = "engine.metrics"
_OWN_MOUNTS = ("/run/secrets/", "/opt/stack")
# What decides how the client makes tokens of text, as it decides that for the engine.
_TOKENIZER_FLAGS = {"--tokenizer-mode": True, "--trust-remote-code": False}


@dataclass(frozen=True)
class BenchTarget:
    """The running engine.

    Attributes:
        status: What runs.
        engine: Which vLLM on which model.
        port: Its port on this machine.
        network: The network on which the client reaches it; nothing else is to be reached there but the watchers.
        base_url: Where, on that network.
        tokenizer: The tokenizer's path inside the client's container.
        tokenizer_arguments: How the engine reads it, for the client.
        mounts: Host paths by the container's: the model, and the API key where one is demanded.
        user: `uid:gid` that the engine runs as.
        max_model_len: Tokens of the longest request with its answer, or None where the engine does not say.
        host: What names this machine.
    """

    status: Status
    engine: EngineStatus
    port: int
    network: str
    base_url: str
    tokenizer: str
    tokenizer_arguments: tuple[str, ...]
    mounts: Mapping[str, Path]
    user: str
    max_model_len: int | None
    host: Mapping[str, str]


def read_target(session: Session) -> BenchTarget:
    """Give the running engine.

    Raises:
        NotRunningError: No engine runs.
        ServiceApiError: It does not answer.
        ModelError: Its model generates nothing.
        HostError: Its container is not one of this version's.
    """
    status = read_status(session)
    if not status.is_serving or status.engine is None or "engine" not in status.ports:
        raise NotRunningError("engine", session.project)
    _demand_generation(session, status.engine)
    attributes = status.found["engine"].attributes
    argv = [str(word) for word in attributes["Config"].get("Cmd") or []]
    with closing(build_engine(session, status.ports["engine"], status.served_name)) as engine:
        cards = {card.id: card for card in engine.fetch_models()}
    card = cards.get(status.served_name or "") or next(iter(cards.values()), None)
    return BenchTarget(
        status=status,
        engine=status.engine,
        port=status.ports["engine"],
        network=find_network(attributes),
        base_url=f"http://{_ALIAS}:8000",
        tokenizer=find_flag(argv, "--tokenizer") or argv[0],
        tokenizer_arguments=build_tokenizer_arguments(argv),
        mounts=find_mounts(attributes),
        user=attributes["Config"].get("User") or "2000:0",
        max_model_len=card.max_model_len if card is not None else None,
        host=dict(status.boot.start.host) if status.boot is not None else {},
    )


def find_network(attributes: Mapping[str, Any]) -> str:
    """Give the network on which containers reach the engine, from the daemon's document of its container.

    Raises:
        HostError: It is on none.
    """
    networks = (attributes.get("NetworkSettings") or {}).get("Networks") or {}
    for name, network in networks.items():
        if _ALIAS in (network.get("Aliases") or []):
            return str(name)
    raise HostError("the engine is on no network that another container can use", hint="`stack up` mends it")


def find_mounts(attributes: Mapping[str, Any]) -> dict[str, Path]:
    """Give what the client reads of what the engine reads: its model and what the user mounts, and its API key."""
    key = f"/run/secrets/{API_KEY}"

    def is_read(mount: Mapping[str, Any]) -> bool:
        target = mount["Destination"]
        return target == key or (not mount.get("RW") and not target.startswith(_OWN_MOUNTS))

    binds = [mount for mount in attributes.get("Mounts") or [] if mount.get("Type") == "bind"]
    return {mount["Destination"]: Path(mount["Source"]) for mount in binds if is_read(mount)}


def build_tokenizer_arguments(argv: list[str]) -> tuple[str, ...]:
    """Give what of an engine's command line its client must be told too."""
    words: list[str] = []
    for flag, has_value in _TOKENIZER_FLAGS.items():
        if flag in argv:
            words += [flag, find_flag(argv, flag) or ""] if has_value else [flag]
    return tuple(words)


def find_flag(argv: list[str], flag: str) -> str | None:
    """Give the value behind a flag, or None where it is not there."""
    return argv[argv.index(flag) + 1] if flag in argv[:-1] else None


def _demand_generation(session: Session, engine: EngineStatus) -> None:
    for snapshot in list_snapshots(session.config.model.volume):
        if (snapshot.id, snapshot.revision) == (engine.model, engine.revision):
            if build_model_facts(snapshot.path).is_pooling:
                raise ModelError(
                    f"{engine.model} gives vectors, not text: there is nothing to measure tokens of",
                    hint="`stack smoke` tests it; `vllm bench serve --backend openai-embeddings` measures it",
                )
            return

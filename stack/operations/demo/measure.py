"""Learn from a running engine's first answers how fast it is, before a demo chooses what to send."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from stack.operations.engine_client import build_engine
from stack.operations.session import Session
from stack.operations.status.read import Status
from stack.progress import ProgressEvent
from stack.traffic.demo_body import Engine
from stack.traffic.demo_pace import (
    TOGETHER,
    Pace,
    build_first,
    build_probes,
    fall_back,
    read_characters_per_token,
    read_pace,
)
from stack.traffic.demo_texts import load_demo_texts
from stack.traffic.engine_http import EngineApiError
from stack.traffic.observation import Observation, ReplayTarget
from stack.traffic.record import Record
from stack.traffic.replay_client import replay
from stack.traffic.schedule import build_schedule

_TASK = "measure"
_DEFAULT_MODEL_LEN = 2048


@dataclass(frozen=True)
class Measured:
    """What is known of an engine before a demo."""

    engine: Engine
    pace: Pace


def measure(session: Session, status: Status, target: ReplayTarget, *, nonce: int) -> Measured:
    """Send a few requests and give what they tell.

    Args:
        session: The run.
        status: What runs.
        target: The engine.
        nonce: Another one for each run.

    Raises:
        ServiceApiError: The engine does not answer, or gives no text.
    """
    texts = load_demo_texts()
    engine = _read_engine(session, status)
    session.report(ProgressEvent(_TASK, "the first answer"))
    first = _send(target, build_first(engine, texts))[0]
    if first.response.status in (400, 404):
        # A base model has no chat template.
        engine = fall_back(engine)
        first = _send(target, build_first(engine, texts))[0]
    _demand(target, engine, first)
    session.report(ProgressEvent(_TASK, "a long prompt"))
    long, together = build_probes(engine, texts, first, nonce)
    long_seen = _send(target, long)[0]
    _demand(target, engine, long_seen)
    session.report(ProgressEvent(_TASK, f"{TOGETHER} answers together"))
    pace = read_pace(long_seen, _send(target, together))
    per_token = read_characters_per_token(long[0], long_seen)
    engine = replace(engine, characters_per_token=per_token or engine.characters_per_token)
    said = (
        f"{pace.tokens_per_second:.0f} tokens/s in {TOGETHER} answers together, "
        f"{pace.prefill_tokens_per_second:.0f} tokens/s of prompt"
    )
    session.report(ProgressEvent(_TASK, said, state="done"))
    return Measured(engine, pace)


def _read_engine(session: Session, status: Status) -> Engine:
    with closing(build_engine(session, status.ports["engine"], status.served_name)) as client:
        cards = {card.id: card for card in client.fetch_models()}
        name = client.model
    length = cards[name].max_model_len if name in cards else None
    return Engine(name, max_model_len=length or _DEFAULT_MODEL_LEN)


def _send(target: ReplayTarget, records: Sequence[Record]) -> list[Observation]:
    return replay(target, records, schedule=build_schedule([None] * len(records), concurrency=len(records)))


def _demand(target: ReplayTarget, engine: Engine, seen: Observation) -> None:
    response = seen.response
    if response.status == 200 and not response.error:
        return
    said = response.error_message or f"HTTP {response.status} instead of a text"
    hint = "`stack smoke` tells what works; a model that gives vectors has nothing to show here"
    raise EngineApiError(target.base_url + engine.route, said, status_code=response.status, hint=hint)

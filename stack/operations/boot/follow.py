"""Follow a boot to its end: first token, what smoke will need warmed, and the record in the history."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from contextlib import closing

from stack.containers.activity import ActivityProbe
from stack.containers.daemon import ServiceState
from stack.errors import NotReadyError, ServiceApiError, StackError
from stack.history.pace import EARLIER_BOOTS
from stack.history.records import compare_phases
from stack.history.store import History
from stack.operations.annotations.kinds import annotate_boot
from stack.operations.boot.first_token import Boot, wait_first_token
from stack.operations.boot.slow_phase import SlowPhaseWatch
from stack.operations.boot.start import build_start, read_host
from stack.operations.boot.watch import BootWatch
from stack.operations.engine_client import build_engine
from stack.operations.history.open import open_project_history
from stack.operations.run_metrics import clear_boot_deadline, note_boot_deadline, note_ready_gpus, write_metrics
from stack.operations.session import Session
from stack.operations.up.outcome import BootResult, UpResult
from stack.progress import ProgressEvent
from stack.traffic.engine_client import EngineClient


def follow_boot(session: Session, up: UpResult, state: ServiceState | None) -> BootResult:
    """Wait for the engine that was just started, and record how it went.

    Raises:
        ServiceExitedError: It ended.
        NotReadyError: It gave no token in time.
    """
    if state is None:
        raise NotReadyError("engine", 0, "missing", "Compose made no container", hint="stack logs engine")
    history = open_project_history(session)
    started = state.started_at or datetime.datetime.now(datetime.UTC)
    log_path = session.paths.boots / f"{started:%Y%m%dT%H%M%SZ}-{state.container_id[:12]}.log"
    lock = _note_lock(session, history, up, started)
    host = read_host(session, up)
    start = build_start(up, state, started, log_path=str(log_path), lock_sha256=lock, host=host)
    note_boot_deadline(session.paths.metrics, time.time() + session.config.engine.ready_timeout_seconds)
    boot_id = history.record_boot(start)
    for old in history.prune_logs():
        old.unlink(missing_ok=True)
    earlier = history.boots_of_kind(start.kind, EARLIER_BOOTS, before=boot_id)
    watch = BootWatch(session.connect, state, log_path, session.report)
    probe = ActivityProbe(session.connect, state.container_id)
    try:
        boot, warm_seconds = _wait(session, up, watch, SlowPhaseWatch(watch, earlier, probe.look, session.say))
    except (StackError, KeyboardInterrupt) as err:
        _record_failure(session, history, boot_id, watch, is_interrupted=isinstance(err, KeyboardInterrupt))
        raise
    finally:
        watch.close()
    _record_ready(session, history, boot_id, boot)
    note_ready_gpus(session.paths.metrics, up.resolved.device.gpus)
    write_metrics(session, history)
    current = {phase.name: phase.seconds for phase in boot.phases}
    deltas = compare_phases(current, earlier[0].phases) if earlier else []
    return BootResult(boot_id, boot.phases, boot.total_seconds, boot.cache_state, deltas, warm_seconds, str(log_path))


def _record_ready(session: Session, history: History, boot_id: int, boot: Boot) -> None:
    for phase in boot.phases:
        history.record_phase(boot_id, phase.name, round(phase.seconds, 3))
    seconds = round(boot.total_seconds, 3)
    history.finish_boot(boot_id, "ready", total_seconds=seconds, cache_state=boot.cache_state)
    clear_boot_deadline(session.paths.metrics)


def _record_failure(
    session: Session, history: History, boot_id: int, watch: BootWatch, *, is_interrupted: bool
) -> None:
    outcome = "interrupted" if is_interrupted else "failed"
    history.finish_boot(boot_id, outcome, total_seconds=watch.elapsed_seconds())
    session.report(ProgressEvent("boot", outcome, state="failed"))
    if not is_interrupted:
        # An interrupted one goes on in its container.
        clear_boot_deadline(session.paths.metrics)
        annotate_boot(session, boot_id)


def _note_lock(session: Session, history: History, up: UpResult, now: datetime.datetime) -> str | None:
    # What is only tried has no stack.lock yet: an upgrade names it when it keeps the engine.
    if up.lock_text is None or session.lock_file is not None:
        return None
    return history.note_lock(up.lock_text, now)


def _wait(session: Session, up: UpResult, watch: BootWatch, slow: SlowPhaseWatch) -> tuple[Boot, float]:
    facts = up.resolved.model_facts
    is_pooling = bool(facts and facts.is_pooling)
    with closing(build_engine(session, up.resolved.ports["engine"])) as engine:
        with slow:
            boot = wait_first_token(
                watch,
                engine,
                timeout_seconds=session.config.engine.ready_timeout_seconds,
                is_pooling=is_pooling,
                describe_activity=slow.describe,
            )
        said = f"first token {boot.total_seconds:.1f} s after the container's start"
        session.report(ProgressEvent("boot", said, state="done"))
        return boot, 0.0 if is_pooling else warm_engine(session, engine)


def warm_engine(session: Session, engine: EngineClient) -> float:
    """Send one request of each kind that smoke sends, so that what compiles at first use has compiled.

    Asking for log-probabilities compiles a kernel even in an eager engine.
    """
    began = time.monotonic()
    words, turn = "Warm-up text for the engine.", [{"role": "user", "content": "Say yes."}]
    requests: dict[str, Callable[[], object]] = {
        "scores": lambda: engine.run_completion(words, max_tokens=2, logprobs=5, prompt_logprobs=1, temperature=0),
        "chosen scores": lambda: engine.run_completion(words, max_tokens=1, logprobs=1, logprob_token_ids=[5, 6]),
        "chat": lambda: engine.run_chat(turn, max_tokens=2, logprobs=True, top_logprobs=5),
    }
    refused = []
    for name, send in requests.items():
        session.report(ProgressEvent("warm", f"first request of its kind: {name}"))
        try:
            send()
        except ServiceApiError as err:
            # A base model has no chat template, and older engines know fewer options: smoke judges that, not this.
            refused.append(f"{name} refused ({err.message})")
    session.report(ProgressEvent("warm", "; ".join(refused) or "every kind of request that smoke sends", state="done"))
    return time.monotonic() - began

"""One run of `vllm bench serve`: in a container of its own, of the running engine's own image."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from stack.containers.one_shot import Ended, OneShot, run_one_shot
from stack.errors import CommandError, ServiceApiError
from stack.failures.explain import explain_text
from stack.operations.bench.target import BenchTarget
from stack.operations.engine_client import build_engine
from stack.operations.layout.engine import ENGINE_ENVIRONMENT
from stack.operations.session import Session
from stack.progress import ProgressEvent
from stack.telemetry.exposition import Exposition, counter_delta, parse_exposition
from stack.traffic.bench_load import Load, build_arguments
from stack.traffic.bench_result import RESULT_MARK, Measured, UnreadableResultError, find_errors, find_result
from stack.traffic.engine_http import EngineApiError

TASK = "bench"
_RUNNING, _ANSWERED = "vllm:num_requests_running", "vllm:request_success_total"
_TOKENS = "vllm:generation_tokens_total"
_REPORT_SECONDS = 4.0
_METRICS_SECONDS = 4.0
# Python's imports, and a queue in front of a slow engine.
_LEAST_LIMIT_SECONDS, _SLOW = 900.0, 10.0
_TAIL_LINES = 25
_NOISE = "nanobind: leaked"
_KILLED = 137
# Of `timeout`.
_LATE = 124
_RESULT = "/tmp/result.json"  # noqa: S108 (inside the container, which has a /tmp of its own)
# The key comes from a file: in argv or in the container's environment `docker inspect` would show it.
# The first argument is the limit: nobody else keeps it where this tool was killed.
_SCRIPT = f"""
ulimit -S -n "$(ulimit -H -n)" 2>/dev/null || true
if [ -e /run/secrets/api_key ]; then
    OPENAI_API_KEY=$(cat /run/secrets/api_key) && [ -n "$OPENAI_API_KEY" ] || {{
        echo "error: /run/secrets/api_key cannot be read by uid $(id -u), or is empty" >&2
        exit 1
    }}
    export OPENAI_API_KEY
fi
limit=$1 && shift
timeout --kill-after=10 "$limit" vllm bench serve "$@" || exit
printf '\\n%s' '{RESULT_MARK}'
cat {_RESULT}
echo
"""
# Its home is its own /tmp. vLLM's other client, in Rust, saves another result.
_ENVIRONMENT = {name: value.replace("/cache", "/tmp") for name, value in ENGINE_ENVIRONMENT.items()} | {  # noqa: S108
    "VLLM_USE_RUST_BENCH": "0"
}


@dataclass(frozen=True)
class Run:
    """What one run came to.

    Attributes:
        measured: What the client measured.
        foreign: Requests of others that the engine had meanwhile.
        errors: Why requests failed.
        seed: What the prompts were made from.
    """

    measured: Measured
    foreign: int
    errors: tuple[str, ...]
    seed: int


class BenchClient:
    """Runs the client again and again.

    Args:
        session: The run of the tool.
        target: The engine.
        goodput_seconds: The longest good latencies, as vLLM names them.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        session: Session,
        target: BenchTarget,
        goodput_seconds: dict[str, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session, self._target, self._goodput, self._clock = session, target, goodput_seconds, clock

    def run(self, load: Load, *, seed: int, said: str, seconds: float) -> Run:
        """Measure a load once.

        Args:
            load: What is sent.
            seed: What the prompts are made from. No two runs should have the same: the engine would know them.
            said: What this run is, for who watches.
            seconds: About how long it should take.

        Raises:
            CommandError: The client could not be run, failed, or gave no result.
            EngineApiError: No request was answered.
        """
        before = self._fetch_page()
        busy = before.total(_RUNNING) if before is not None else None
        teller = _Teller(self._session, self._fetch_page, before, load, said, self._clock)
        limit = max(_LEAST_LIMIT_SECONDS, _SLOW * seconds)
        shot = self._build_shot(load, seed, limit)
        ended = run_one_shot(self._session.connect, shot, tell=teller, limit_seconds=limit, clock=self._clock)
        if ended.status != 0:
            raise build_failure(ended, limit)
        try:
            measured = find_result(ended.output)
        except UnreadableResultError as err:
            raise CommandError(_ARGV, 0, stderr=cut_tail(ended.output), message=f"`vllm bench serve`: {err}") from err
        errors = tuple(find_errors(ended.output))
        if not measured.completed:
            why = f": {'; '.join(errors)}" if errors else ""
            raise EngineApiError(
                self._target.base_url, f"none of the requests was answered{why}", hint="`stack logs engine`"
            )
        ours = load.warmups + measured.completed + measured.failed
        return Run(measured, self._count_foreign(before, ours, bool(busy)), errors, seed)

    def _build_shot(self, load: Load, seed: int, limit_seconds: float) -> OneShot:
        target = self._target
        arguments = ["--backend", "openai", "--base-url", target.base_url]
        arguments += ["--model", target.status.served_name or target.engine.model, "--tokenizer", target.tokenizer]
        arguments += [*target.tokenizer_arguments, *build_arguments(load, seed=seed, goodput_seconds=self._goodput)]
        folder, _, name = _RESULT.rpartition("/")
        arguments += ["--disable-tqdm", "--save-result", "--result-dir", folder, "--result-filename", name]
        return OneShot(
            project=self._session.project,
            task=TASK,
            image_id=target.engine.image_id,
            command=["/bin/sh", "-c", _SCRIPT, "bench", f"{limit_seconds:.0f}", *arguments],
            network=target.network,
            environment=_ENVIRONMENT,
            mounts=target.mounts,
            user=target.user,
        )

    def _fetch_page(self) -> Exposition | None:
        target = self._target
        try:
            with closing(
                build_engine(self._session, target.port, target.status.served_name, timeout_seconds=_METRICS_SECONDS)
            ) as engine:
                return parse_exposition(engine.fetch_metrics(), url=f"{engine.base_url}/metrics")
        except ServiceApiError:
            # An engine under load may be slow to tell; whether it answers at all, the client finds out.
            return None

    def _count_foreign(self, before: Exposition | None, ours: int, was_busy: bool) -> int:
        after = self._fetch_page()
        if before is None or after is None:
            return int(was_busy)
        answered = round(counter_delta(before, after, _ANSWERED) or 0)
        return max(answered - ours, int(was_busy))


class _Teller:
    """Says how far a run is, at most every few seconds, from what the engine counts."""

    def __init__(
        self,
        session: Session,
        fetch: Callable[[], Exposition | None],
        before: Exposition | None,
        load: Load,
        said: str,
        clock: Callable[[], float],
    ) -> None:
        self._session, self._fetch, self._before, self._clock = session, fetch, before, clock
        self._load, self._said = load, said
        self._told = clock()
        session.report(ProgressEvent(TASK, f"{said}: the client starts"))

    def __call__(self) -> None:
        if self._clock() - self._told < _REPORT_SECONDS:
            return
        self._told = self._clock()
        self._session.report(ProgressEvent(TASK, f"{self._said}: {self._describe()}"))

    def _describe(self) -> str:
        page = self._fetch()
        if page is None or self._before is None:
            return "the engine tells no metrics"
        answered = round(counter_delta(self._before, page, _ANSWERED) or 0)
        running = round(page.total(_RUNNING) or 0)
        if not answered and not running:
            return "the client starts"
        tokens = round(counter_delta(self._before, page, _TOKENS) or 0)
        total = self._load.warmups + self._load.prompts
        return f"{min(answered, total)} of {total} answered, {running} under way, {tokens} tokens"


_ARGV = ["vllm", "bench", "serve"]


def build_failure(ended: Ended, limit_seconds: float) -> CommandError:
    """Give the error of a client that did not end well."""
    known = explain_text(ended.output)
    hint = known.next if known else "`stack logs engine` and `stack status` tell how the engine is"
    if ended.is_late or ended.status == _LATE:
        message = f"`vllm bench serve` was stopped: it took longer than {limit_seconds:.0f} s"
        hint = "`stack diagnose` tells what limits the engine"
    elif ended.was_oom_killed:
        message = "`vllm bench serve` was killed: it took more memory than it may"
    elif ended.status in (None, _KILLED):
        message = "`vllm bench serve` was killed, or its container removed, while it ran"
        hint = "`stack down` does that, and so does `docker rm`; `stack bench` starts it anew"
    else:
        message = known.cause if known else "`vllm bench serve` failed in the engine's image"
    return CommandError(
        _ARGV,
        ended.status if ended.status is not None else 1,
        stderr=cut_tail(ended.output),
        message=message,
        hint=hint,
    )


def cut_tail(output: str) -> str:
    """Give the last lines of what the client said, without the long report of a library's that ends each run."""
    return "\n".join(output.partition(_NOISE)[0].strip().splitlines()[-_TAIL_LINES:])

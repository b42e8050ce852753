"""What an engine did between two looks at its page: differences of counters, and gauges at both ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

from stack.telemetry.diagnosis.surroundings import Surroundings
from stack.telemetry.exposition import Exposition, counter_delta


@dataclass(frozen=True)
class Pair:
    """A gauge at the first and at the second look: what holds at both may have held between them."""

    before: float
    after: float

    @property
    def least(self) -> float:
        """The smaller of the two."""
        return min(self.before, self.after)

    @property
    def most(self) -> float:
        """The larger of the two."""
        return max(self.before, self.after)

    def __str__(self) -> str:
        return f"{self.before:g} and {self.after:g}"


@dataclass(frozen=True)
class Window:
    """Two pages of one engine, for one of its models and ranks.

    Attributes:
        model: The served model name.
        engine: vLLM's number of the engine (data-parallel rank).
        before: The first page.
        after: The second page.
        seconds: What lies between them.
        around: What else is known.
    """

    model: str
    engine: str
    before: Exposition
    after: Exposition
    seconds: float
    around: Surroundings = field(default_factory=Surroundings)

    @cached_property
    def running(self) -> Pair:
        """Requests in the batch."""
        return self._gauge("vllm:num_requests_running")

    @cached_property
    def waiting(self) -> Pair:
        """Requests that wait for room; without those that wait for something else, where the engine tells."""
        name = "vllm:num_requests_waiting"
        by_reason = f"{name}_by_reason"
        return self._gauge(by_reason, reason="capacity") if by_reason in self.after.names else self._gauge(name)

    @cached_property
    def deferred(self) -> Pair:
        """Requests that wait for an adapter, a KV transfer or the like."""
        return self._gauge("vllm:num_requests_waiting_by_reason", reason="deferred")

    @cached_property
    def kv_usage(self) -> Pair:
        """The share of the KV cache that living requests hold, 0 to 1."""
        return self._gauge("vllm:kv_cache_usage_perc")

    @cached_property
    def kv_tokens(self) -> int | None:
        """Tokens that the KV cache holds; None where the engine does not tell."""
        for sample in self.after.select("vllm:cache_config_info", engine=self.engine):
            text = sample.labels.get("kv_cache_size_tokens", "")
            return int(text) if text.isdecimal() else None
        return None

    @cached_property
    def generated(self) -> float:
        """Tokens made."""
        return self._delta("vllm:generation_tokens_total")

    @cached_property
    def prompted(self) -> float:
        """Prompt tokens of requests that gave their first token, cached ones included."""
        return self._delta("vllm:prompt_tokens_total")

    @cached_property
    def computed(self) -> float:
        """Prompt tokens that were computed, not found in a cache."""
        name = "vllm:prompt_tokens_by_source_total"
        return self._delta(name, source="local_compute") if name in self.after.names else self.prompted

    @cached_property
    def finished(self) -> float:
        """Requests that ended, however they did."""
        return self._delta("vllm:e2e_request_latency_seconds_count")

    @cached_property
    def preemptions(self) -> float:
        """Requests that were thrown out of the batch, at least.

        vLLM counts one only when it runs again. Until then it shows in the gauges: it left the batch, waits, and did
        not end.
        """
        left = self.running.before - self.running.after - self.finished
        unseen = min(left, self.waiting.after - self.waiting.before)
        return max(self._delta("vllm:num_preemptions_total"), unseen, 0.0)

    @cached_property
    def rejections(self) -> dict[str, float]:
        """Requests that a queue limit turned away, by reason; of the model, for the engine counts no rank here."""
        name = "vllm:admission_rejections_total"
        reasons = {sample.labels.get("reason", "") for sample in self.after.select(name, model_name=self.model)}
        deltas = {
            reason: counter_delta(self.before, self.after, name, model_name=self.model, reason=reason) or 0.0
            for reason in sorted(reasons)
        }
        return {reason: delta for reason, delta in deltas.items() if delta > 0}

    @cached_property
    def queue_seconds(self) -> float:
        """Seconds that requests which ended had waited, summed up."""
        return self._delta("vllm:request_queue_time_seconds_sum")

    @property
    def mean_queue_seconds(self) -> float:
        """How long a request that ended had waited."""
        return _divide(self.queue_seconds, self.finished)

    @property
    def queue_share(self) -> float:
        """Of the time to their first token, the share that requests which ended had waited; 0 where none ended."""
        return _divide(self.queue_seconds, self.queue_seconds + self._delta("vllm:request_prefill_time_seconds_sum"))

    @property
    def decoding(self) -> float:
        """How many requests decoded at once, on average.

        Every token adds the seconds since the one before it: what they sum up to per second is how many requests were
        between two tokens. That counts requests which have not ended, too.
        """
        return self._delta("vllm:inter_token_latency_seconds_sum") / self.seconds

    @property
    def starting(self) -> float:
        """How many requests waited for their first token at once, on average, in the queue or in prefill."""
        return self._delta("vllm:time_to_first_token_seconds_sum") / self.seconds

    @property
    def prefilling(self) -> float | None:
        """How many requests were in prefill at once, on average; None where nothing tells.

        While requests wait, the time to the first token is mostly theirs: then only those that ended tell, whose
        queue and prefill are counted apart.
        """
        if self.waiting.most == 0:
            return self.starting * (1 - self.queue_share)
        if self.finished == 0:
            return None
        return self._delta("vllm:request_prefill_time_seconds_sum") / self.seconds

    @property
    def present(self) -> float:
        """How many requests were in the engine at once, on average; also of a model that makes no tokens."""
        of_ended = self._delta("vllm:request_inference_time_seconds_sum") / self.seconds
        by_tokens = self.starting + self.decoding
        return by_tokens if by_tokens > 0 else of_ended

    @property
    def prefill_share(self) -> float | None:
        """Of the time that requests were computed, the share in prefill; None where nothing was computed."""
        prefilling = self.prefilling
        if prefilling is None or prefilling + self.decoding <= 0:
            return None
        return prefilling / (prefilling + self.decoding)

    @property
    def mean_prompt_tokens(self) -> float:
        """The length of a prompt of the requests that gave their first token; 0 where none did."""
        return _divide(self.prompted, self._delta("vllm:time_to_first_token_seconds_count"))

    @property
    def free_kv_tokens(self) -> float | None:
        """Tokens for which the KV cache had room at its emptier look; None where the engine does not tell."""
        return None if self.kv_tokens is None else (1 - self.kv_usage.least) * self.kv_tokens

    @property
    def server_cores(self) -> float | None:
        """Cores that the API server's process kept busy; None where several share the work and none is counted."""
        delta = counter_delta(self.before, self.after, "process_cpu_seconds_total")
        return None if delta is None else delta / self.seconds

    @property
    def http_errors(self) -> float:
        """Answers with a status of 400 and more, of the whole server."""
        name = "http_requests_total"
        return sum(counter_delta(self.before, self.after, name, status=status) or 0.0 for status in ("4xx", "5xx"))

    @property
    def has_moved(self) -> bool:
        """Whether any token was made or read, or any request ended."""
        return self.generated + self.prompted + self.finished > 0

    @property
    def is_asleep(self) -> bool:
        """Whether the engine sleeps, by its own word."""
        name = "vllm:engine_sleep_state"
        return self.after.total(name, engine=self.engine, sleep_state="awake") == 0

    def _gauge(self, name: str, **labels: str) -> Pair:
        return Pair(self._read(self.before, name, labels), self._read(self.after, name, labels))

    def _read(self, page: Exposition, name: str, labels: dict[str, str]) -> float:
        value = page.total(name, engine=self.engine, model_name=self.model, **labels)
        return value if value is not None and math.isfinite(value) else 0.0

    def _delta(self, name: str, **labels: str) -> float:
        delta = counter_delta(self.before, self.after, name, engine=self.engine, model_name=self.model, **labels)
        return delta if delta is not None and math.isfinite(delta) else 0.0


def _divide(what: float, by: float) -> float:
    return what / by if by > 0 else 0.0

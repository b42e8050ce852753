"""vLLM's `/metrics` text as sums over labels, and what can be told from two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

PROMPT_TOKENS = "vllm:prompt_tokens_total"
GENERATION_TOKENS = "vllm:generation_tokens_total"
FINISHED = "vllm:request_success_total"
FIRST_TOKENS = "vllm:time_to_first_token_seconds_count"
# A histogram in spite of its name: its count is the number of engine steps.
STEPS = "vllm:iteration_tokens_total_count"
RUNNING = "vllm:num_requests_running"


@dataclass(frozen=True)
class Counters:
    """Samples of one scrape, summed over all labels but `finished_reason`."""

    values: Mapping[str, float]
    aborted: float

    def get(self, name: str) -> float:
        """Give one sum.

        Raises:
            ValueError: The engine does not export it.
        """
        if name not in self.values:
            raise ValueError(f"`{name}` is not in /metrics")
        return self.values[name]

    def count_vanished(self) -> float:
        """Count the requests that got a first token and neither ended as counted nor are running.

        vLLM takes a request out of its books when the client is gone, without counting it as finished: it
        shows as a first token that was never followed by an end. Requests still in prefill make the figure
        smaller for the moment, never larger.

        Source:
            vllm/v1/engine/output_processor.py, abort_requests (0.32.0): no finished-request stats.
        """
        return self.get(FIRST_TOKENS) - self.get(FINISHED) - self.get(RUNNING)


def parse_counters(text: str) -> Counters:
    """Read the text of `/metrics`.

    Raises:
        ValueError: It is not in Prometheus' text format, or empty.
    """
    values: dict[str, float] = {}
    aborted = 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values[sample.name] = values.get(sample.name, 0.0) + sample.value
            if sample.name == FINISHED and sample.labels.get("finished_reason") == "abort":
                aborted += sample.value
    if not values:
        raise ValueError("/metrics is empty")
    return Counters(values, aborted)

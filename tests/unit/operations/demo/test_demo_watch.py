"""What is kept of the engine's page while a demo runs."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from stack.operations.demo.tally import Peak
from stack.operations.demo.watch import DemoWatch
from stack.telemetry.exposition import parse_exposition

PAGE = parse_exposition(
    "".join(
        f'vllm:num_requests_running{{engine="{engine}"}} 3\nvllm:kv_cache_usage_perc{{engine="{engine}"}} {usage}\n'
        for engine, usage in (("0", 0.7), ("1", 0.8), ("2", "NaN"))
    )
)


def test_requests_are_those_of_all_engines_and_the_kv_usage_is_the_fullest_ones():
    looked, peak = threading.Event(), Peak()
    plan = SimpleNamespace(find_span=lambda seconds: 0, spans=[SimpleNamespace(end_seconds=60.0)])

    def fetch():
        looked.set()
        return PAGE

    with DemoWatch(plan, [peak], fetch, lambda at: None):
        assert looked.wait(30)
    assert (peak.running, peak.waiting, peak.kv_cache_usage_ratio) == (9, 0, 0.8)

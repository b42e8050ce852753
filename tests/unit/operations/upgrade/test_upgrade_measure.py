"""What is measured of an engine, and what is not taken for it."""

import pytest

from stack.operations.upgrade.measure import is_in_use
from stack.telemetry.exposition import parse_exposition


@pytest.mark.parametrize(
    ("running", "found", "looks"),
    [((0,), False, 1), ((1, 1, 0), False, 3), ((2, 2, 2, 2), True, 4)],
    ids=["idle", "our own last request", "others"],
)
def test_a_gauge_that_still_counts_our_last_request_is_no_other_request(running, found, looks):
    pages = [
        parse_exposition(f"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running {n}\n") for n in running
    ]
    slept = []
    assert is_in_use(lambda: pages[len(slept) - 1], slept.append) is found
    assert len(slept) == looks and sum(slept) <= 3

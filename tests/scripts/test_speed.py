"""The speed script's arithmetic and table; that it runs is shown by a scenario."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "scripts" / "lib" / "speed.py"


@pytest.fixture(scope="module")
def speed():
    spec = importlib.util.spec_from_file_location("speed_script", PATH)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def take(speed, ups=((3.0, 2.0), (9.0, 8.5), (4.0, 1.0))):
    return {
        speed.UP: [speed.Run(seconds + 5, 0.5, seconds) for seconds, _ in ups],
        speed.PLAIN_UP: [speed.Run(seconds + 7, 0.1, seconds) for _, seconds in ups],
        "stack status": [speed.Run(seconds, 0.25) for seconds in (0.4, 0.7, 0.6)],
    }


def test_the_own_share_is_the_median_of_the_pairs_and_not_the_difference_of_medians(speed):
    rows = {row.name: row for row in speed.build_rows(take(speed))}
    assert rows[speed.UP].median_seconds == 4.0
    assert rows[speed.PLAIN_UP].median_seconds == 2.0
    share = rows[speed.UP_SHARE]
    assert (share.median_seconds, share.min_seconds, share.max_seconds, share.runs) == (1.0, 0.5, 3.0, 3)
    assert (share.cpu_seconds, share.target_seconds, share.met) == (None, 2.0, True)


def test_what_was_not_taken_has_no_row(speed):
    assert [row.name for row in speed.build_rows({"stack status": [speed.Run(0.1, 0.1)], speed.DOWN: []})] == [
        "stack status"
    ]


def test_an_up_without_a_token_is_no_measurement(speed):
    with pytest.raises(AssertionError):
        speed.build_rows({speed.UP: [speed.Run(1.0, 0.5, None)]})


def test_the_table_tells_what_was_missed(speed):
    assert speed.render_rows(speed.build_rows(take(speed))) == (
        "SECONDS                                 MEDIAN     MIN     MAX    CPU   N  TARGET  MET\n"
        "stack up, first token                     4.00    3.00    9.00   0.50   3\n"
        "docker compose up, first token            2.00    1.00    8.50   0.10   3\n"
        "stack status                              0.60    0.40    0.70   0.25   3     0.5  NO\n"
        "stack's own share of up                   1.00    0.50    3.00          3     2.0  yes"
    )

"""The bundle's speed script: its arithmetic and table."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "scripts" / "lib" / "speed_bundle.py"


@pytest.fixture(scope="module")
def speed():
    spec = importlib.util.spec_from_file_location("speed_bundle_script", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_each_figure_is_a_median_and_is_held_against_what_it_must_not_exceed(speed):
    taken = {speed.SAVE: [9.0, 1.0, 3.0], speed.PLAIN_SAVE: [4.0], speed.FIRST: [100.0], speed.SECOND: [5.1]}
    rows = {row.name: row for row in speed.build_rows(taken)}
    assert (rows[speed.SAVE].median_seconds, rows[speed.SAVE].ratio, rows[speed.SAVE].met) == (3.0, 0.75, True)
    assert (rows[speed.SECOND].target_ratio, rows[speed.SECOND].met) == (0.05, False)
    assert rows[speed.PLAIN_SAVE].met is None


def test_what_was_not_measured_is_not_judged(speed):
    rows = speed.build_rows({speed.LOAD: [2.0]})
    assert (rows[0].ratio, rows[0].met) == (None, None)


def test_the_table_says_what_missed_its_target(speed):
    text = speed.render_rows(speed.build_rows({speed.SAVE: [5.0], speed.PLAIN_SAVE: [4.0]}))
    lines = text.splitlines()
    assert lines[1].split()[-3:] == ["1.25", "1.00", "NO"]
    assert lines[2].startswith("docker save | zstd -T0")

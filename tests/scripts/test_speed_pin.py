"""The script that measures a pin: that it pins, counts and tells; how fast is nobody's assertion."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "scripts" / "lib" / "speed_pin.py"


@pytest.fixture(scope="module")
def speed():
    spec = importlib.util.spec_from_file_location("speed_pin_script", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_pin_is_measured_and_takes_no_more_requests_than_aimed_at(speed, capsys):
    if shutil.which("docker-registry") is None:
        pytest.skip("needs a real registry: apt-get install docker-registry")
    speed.main(["--runs", "1"])
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 3 and rows[2].split() == ["requests", "3", "3", "3", "yes"]


def test_what_is_slower_or_asks_more_than_aimed_at_is_told(speed):
    assert [line.endswith("NO") for line in speed.render([speed.Turn(1.5, 4)])] == [False, True, True]
    assert not any(line.endswith("NO") for line in speed.render([speed.Turn(0.5, 3), speed.Turn(0.6, 2)]))

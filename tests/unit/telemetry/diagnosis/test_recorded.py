"""Pairs of pages of a real engine that was brought into each state; only the series that the rules use are kept."""

from __future__ import annotations

import re

import pytest

from stack.telemetry.diagnosis.diagnose import diagnose
from stack.telemetry.diagnosis.surroundings import Surroundings
from stack.telemetry.exposition import parse_exposition
from tests.unit.telemetry.diagnosis.pages import METRICS, names

FOLDER = METRICS / "diagnosis"
PLACES = {"queue": 2, "queue-short": 2}

EXPECTED = {
    "idle": (["idle"], "high"),
    "slow-client": (["client"], "high"),
    "one-client": (["client", "decode"], "medium"),
    "prefill": (["prefill"], "high"),
    "decode": (["decode"], "high"),
    "decode-kv": (["decode"], "high"),
    "kv-cache": (["kv-cache"], "medium"),
    "preemption": (["preemption"], "high"),
    "preemption-once": (["preemption", "decode"], "medium"),
    "queue": (["queue", "decode"], "high"),
    "queue-short": (["queue", "decode"], "high"),
}


def diagnose_recorded(state, around=None):
    before, after = ((FOLDER / f"{state}.{when}.txt").read_text() for when in ("before", "after"))
    seconds = float(re.search(r"^# seconds (\S+)$", after, re.MULTILINE)[1])
    (found,) = diagnose(parse_exposition(before), parse_exposition(after), seconds, around)
    return found


@pytest.mark.parametrize("state", EXPECTED)
def test_the_state_the_engine_was_brought_into_is_found(state):
    found = diagnose_recorded(state, Surroundings(device="cpu", max_num_seqs=PLACES.get(state)))
    assert (names(found), found.limits[0].confidence) == EXPECTED[state]


@pytest.mark.parametrize("state", EXPECTED)
def test_the_same_page_twice_never_tells_what_only_a_window_can(state):
    page = parse_exposition((FOLDER / f"{state}.after.txt").read_text())
    (found,) = diagnose(page, page, 20)
    assert set(names(found)) <= {"idle", "stuck"}


@pytest.mark.parametrize("state", EXPECTED)
def test_pages_in_the_wrong_order_are_a_restart(state):
    before, after = (parse_exposition((FOLDER / f"{state}.{when}.txt").read_text()) for when in ("before", "after"))
    (found,) = diagnose(after, before, 20)
    assert found.limits == () or state == "idle"


def test_every_recording_is_expected():
    assert {path.name.split(".")[0] for path in FOLDER.glob("*.txt")} == set(EXPECTED)

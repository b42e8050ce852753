from __future__ import annotations

from dataclasses import replace

import pytest

from stack.telemetry.diagnosis.surroundings import GpuUse, Surroundings
from tests.unit.telemetry.diagnosis.pages import DECODE, FEW, RUNNING, SERVER_CPU, look_twice, names

HOT = GpuUse(0, 20, utilization=0.97, clock_share=0.55, slowdowns=("its temperature (hardware)",))
FULL = Surroundings(device="cpu", engine_cores=1.1, other_cores=0.8, cores=2)


def test_a_busy_gpu_that_is_held_down_all_the_time_is_the_limit():
    found = look_twice(DECODE, {RUNNING: 12}, around=Surroundings(device="cuda", gpus=(HOT,)))
    assert names(found) == ["gpu-clocks", "decode"]
    assert found.limits[0].evidence == (
        "GPU 0: 55% of its highest clock, busy 97% of the time; held down by its temperature (hardware) at all of "
        "20 looks",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"slowdowns": ()},  # nothing holds it down at every look
        {"clock_share": 0.93},  # as at every power limit
        {"clock_share": None},
        {"utilization": 0.1},
        {"looks": 2},
    ],
)
def test_clocks_are_not_named_without_need(changes):
    around = Surroundings(device="cuda", gpus=(replace(HOT, **changes),))
    assert names(look_twice(DECODE, {RUNNING: 12}, around=around)) == ["decode"]


def test_clocks_are_not_named_for_an_engine_that_waits_for_clients():
    assert names(look_twice(FEW, around=Surroundings(device="cuda", gpus=(HOT,)))) == ["client"]


def test_an_api_server_that_uses_its_whole_core_is_the_limit():
    found = look_twice({**DECODE, SERVER_CPU: 19.4}, {RUNNING: 12})
    assert names(found) == ["host-cpu", "decode"]
    assert found.limits[0].evidence[0].startswith("the API server's process kept 0.97 cores busy")
    assert "api-server-count" in found.limits[0].change[0]


def test_an_api_server_with_time_left_and_one_that_was_busy_long_ago_are_not():
    assert names(look_twice({**DECODE, SERVER_CPU: 8}, {RUNNING: 12})) == ["decode"]
    assert names(look_twice(DECODE, {RUNNING: 12, SERVER_CPU: 1e6})) == ["decode"]


def test_other_programs_on_all_cores_are_the_limit():
    found = look_twice(DECODE, {RUNNING: 12}, around=FULL)
    assert names(found) == ["host-cpu", "decode"]
    assert found.limits[0].evidence == ("the engine kept 1.1 of 2.0 cores busy, everything else 0.8",)


@pytest.mark.parametrize(
    "changes",
    [
        {"engine_cores": 1.9, "other_cores": 0.1},  # a CPU engine is meant to use them all
        {"other_cores": None},
        {"cores": 8.0},
        {"engine_cores": None},
    ],
)
def test_the_hosts_cpu_is_not_named_without_need(changes):
    assert names(look_twice(DECODE, {RUNNING: 12}, around=replace(FULL, **changes))) == ["decode"]


def test_others_on_all_cores_do_not_matter_to_an_engine_that_waits_or_idles():
    assert names(look_twice(FEW, around=FULL)) == ["client"]
    assert names(look_twice({}, around=replace(FULL, engine_cores=0.02, other_cores=1.9))) == ["idle"]


def test_an_engine_on_a_gpu_that_uses_all_cores_is_limited_by_them():
    around = Surroundings(device="cuda", engine_cores=3.9, other_cores=0.1, cores=4)
    assert names(look_twice(DECODE, {RUNNING: 12}, around=around)) == ["host-cpu", "decode"]

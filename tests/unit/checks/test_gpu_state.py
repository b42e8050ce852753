from __future__ import annotations

import pytest

from stack.checks.gpu_state import GpuProcess, GpuState, read_gpu_states
from tests.fixtures.fake_nvml import (
    GPU_IS_LOST,
    GTX_1080_TI,
    H100,
    LIBRARY_NOT_FOUND,
    MIB,
    RTX_4090,
    RTX_PRO_6000,
    build_nvml,
)


def test_a_server_board_tells_everything():
    (state,) = read_gpu_states(build_nvml(H100))
    assert state == GpuState(
        0, is_mig=False, compute_mode="default", is_persistent=True, is_ecc=True, uncorrected_errors=0, processes=()
    )


@pytest.mark.parametrize("board", [RTX_4090, GTX_1080_TI])
def test_what_geforce_does_not_support_is_not_known(board):
    (state,) = read_gpu_states(build_nvml(board))
    assert (state.is_ecc, state.is_mig, state.uncorrected_errors, state.is_repair_failed) == (None, None, None, False)


def test_what_waits_for_a_reset_is_told():
    board = RTX_PRO_6000._replace(ecc=(1, 0), mig=(0, 1), remapped=(3, 1, 1, 0), uncorrected=2)
    (state,) = read_gpu_states(build_nvml(board))
    assert (state.is_ecc_pending, state.is_mig_pending, state.is_mig) == (True, True, False)
    assert (state.is_repair_pending, state.is_repair_failed, state.uncorrected_errors) == (True, False, 2)


def test_processes_come_largest_first_and_one_that_does_both_once():
    board = RTX_4090._replace(compute=((41, 900), (42, None)), graphics=((40, 300), (41, 900)))
    (state,) = read_gpu_states(build_nvml(board))
    assert state.processes == (
        GpuProcess(41, 900 * MIB, "compute"),
        GpuProcess(40, 300 * MIB, "graphics"),
        GpuProcess(42, None, "compute"),
    )


def test_where_the_driver_does_not_tell_who_uses_it_nobody_is_made_up():
    (state,) = read_gpu_states(build_nvml(RTX_4090._replace(compute=None, graphics=None)))
    assert state.processes is None


def test_a_lost_board_is_left_out():
    states = read_gpu_states(build_nvml(H100._replace(error=GPU_IS_LOST), RTX_4090))
    assert [state.index for state in states] == [1]


def test_without_a_driver_there_is_nothing_to_tell_and_the_library_is_let_go():
    assert read_gpu_states(build_nvml(init_error=LIBRARY_NOT_FOUND)) == ()
    nvml = build_nvml(H100)
    read_gpu_states(nvml)
    assert nvml.shutdowns == 1

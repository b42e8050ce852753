from __future__ import annotations

from types import SimpleNamespace

import pytest

from stack.checks.gpu_clocks import GpuClocks, read_gpu_clocks
from tests.fixtures.fake_nvml import GPU_IS_LOST, H100, LIBRARY_NOT_FOUND, RTX_4090, build_nvml


def build(*boards, clock=1200, highest=2400, gpu=90, reasons=0, **rest):
    """`pynvml` with what it says of clocks; None is "not supported"."""
    nvml = build_nvml(*boards, **rest)

    def answer(value):
        def read(handle, *which):
            if value is None:
                raise nvml.NVMLError(3)
            return value

        return read

    nvml.nvmlDeviceGetClockInfo = answer(clock)
    nvml.nvmlDeviceGetMaxClockInfo = answer(highest)
    nvml.nvmlDeviceGetUtilizationRates = answer(None if gpu is None else SimpleNamespace(gpu=gpu))
    nvml.nvmlDeviceGetCurrentClocksThrottleReasons = answer(reasons)
    return nvml


def test_clocks_are_shares_of_the_highest_and_reasons_are_words():
    (found,) = read_gpu_clocks(build(RTX_4090, reasons=0x40 | 0x8 | 0x4))
    words = ("the power limit", "the hardware's slowdown", "its temperature (hardware)")
    assert found == GpuClocks(0, "GPU-00000000", 0.5, 0.9, words)


@pytest.mark.parametrize("reasons", [0, 0x1, 0x2, 0x10, 0x100])
def test_idle_clocks_and_clocks_asked_for_are_no_slowdown(reasons):
    assert read_gpu_clocks(build(H100, reasons=reasons))[0].slowdowns == ()


def test_what_a_board_does_not_tell_is_not_known():
    nvml = build(RTX_4090, clock=None, gpu=None, reasons=None)
    assert read_gpu_clocks(nvml) == (GpuClocks(0, "GPU-00000000"),)
    assert read_gpu_clocks(build(RTX_4090, highest=0))[0].clock_share is None


def test_a_lost_board_is_left_out_and_without_a_driver_there_is_none():
    assert [one.index for one in read_gpu_clocks(build(H100._replace(error=GPU_IS_LOST), RTX_4090))] == [1]
    assert read_gpu_clocks(build(init_error=LIBRARY_NOT_FOUND)) == ()


def test_the_library_is_let_go():
    nvml = build(H100)
    read_gpu_clocks(nvml)
    assert nvml.shutdowns == 1

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stack.checks.gpu_load import GpuLoad, read_gpu_loads
from tests.fixtures.fake_nvml import GPU_IS_LOST, H100, LIBRARY_NOT_FOUND, MIB, RTX_4090, build_nvml


def build(*boards, power=312_400, limit=450_000, temperature=67, gpu=98, reasons=0x4, **rest):
    """`pynvml` with what it says of work, power and temperature; None is "not supported"."""
    nvml = build_nvml(*boards, **rest)

    def answer(value):
        def read(handle, *which):
            if value is None:
                raise nvml.NVMLError(3)
            return value

        return read

    nvml.nvmlDeviceGetClockInfo = nvml.nvmlDeviceGetMaxClockInfo = answer(None)
    nvml.nvmlDeviceGetUtilizationRates = answer(None if gpu is None else SimpleNamespace(gpu=gpu))
    nvml.nvmlDeviceGetCurrentClocksThrottleReasons = answer(reasons)
    nvml.nvmlDeviceGetPowerUsage = answer(power)
    nvml.nvmlDeviceGetEnforcedPowerLimit = answer(limit)
    nvml.nvmlDeviceGetTemperature = answer(temperature)
    return nvml


@pytest.mark.parametrize("as_bytes", [False, True])
def test_work_memory_power_and_temperature_are_in_base_units(as_bytes):
    (found,) = read_gpu_loads(build(RTX_4090, as_bytes=as_bytes))
    assert found == GpuLoad(
        index=0, uuid="GPU-00000000", name="NVIDIA GeForce RTX 4090", utilization=0.98,
        used_bytes=(24564 - 23028) * MIB, total_bytes=24564 * MIB, power_watts=312.4, power_limit_watts=450.0,
        temperature_celsius=67, slowdowns=("the power limit",),
    )  # fmt: skip


def test_what_a_board_does_not_tell_is_not_known():
    (found,) = read_gpu_loads(build(RTX_4090, power=None, limit=None, temperature=None, gpu=None, reasons=None))
    assert (found.power_watts, found.power_limit_watts, found.temperature_celsius) == (None, None, None)
    assert (found.utilization, found.slowdowns) == (None, ())


def test_a_lost_board_is_left_out_and_without_a_driver_there_is_none():
    assert [one.index for one in read_gpu_loads(build(H100._replace(error=GPU_IS_LOST), RTX_4090))] == [1]
    assert read_gpu_loads(build(init_error=LIBRARY_NOT_FOUND)) == ()

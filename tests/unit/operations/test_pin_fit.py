"""What of this machine decides whether an image runs, and what stops."""

import types

import pytest

from stack.checks.gpus import Gpu, GpuReport
from stack.config.schema import StackConfig
from stack.errors import HostError
from stack.images.fit import Judgement
from stack.operations.pin import choose_pin_device
from stack.operations.pin_fit import demand_fit, read_host

GPUS = GpuReport((Gpu(0, "GPU-a", "A100", 1, 1, (8, 0)), Gpu(1, "GPU-b", "GTX 1080", 1, 1, (6, 1))), "580.65.06", "")
NONE = GpuReport(reason="no NVIDIA GPU on this machine")
MISFIT = Judgement("driver", "does not fit", "CUDA 13.0 needs driver 580 or newer, this machine has 570")


def read(tmp_path, **engine):
    client = types.SimpleNamespace(info=lambda: {"DockerRootDir": str(tmp_path)})
    return read_host(StackConfig.model_validate({"engine": engine}), "cuda", GPUS, client, "x86_64")


def test_a_machine_is_its_gpus_driver_platform_and_disk(tmp_path):
    host = read(tmp_path)
    assert host.gpus == (("A100", (8, 0)), ("GTX 1080", (6, 1)))
    assert (host.platform, host.driver) == ("linux/amd64", "580.65.06") and host.free_bytes > 0


@pytest.mark.parametrize("devices", [["0"], ["GPU-a"]])
def test_gpus_that_the_engine_does_not_get_do_not_count(tmp_path, devices):
    assert read(tmp_path, device="cuda", devices=devices).gpus == (("A100", (8, 0)),)


def test_a_disk_that_cannot_be_looked_at_is_not_known(tmp_path):
    assert read(tmp_path / "elsewhere").free_bytes is None
    assert read_host(StackConfig(), "cpu", NONE, None, "aarch64").free_bytes is None


def test_a_misfit_stops_with_the_command_that_overrides_it():
    with pytest.raises(HostError, match="driver: CUDA 13.0 needs driver 580") as caught:
        demand_fit([MISFIT], False, "stack pin x --anyway")
    assert "stack pin x --anyway" in caught.value.hint
    demand_fit([MISFIT], True, "stack pin x --anyway")
    demand_fit([Judgement("driver", "unknown", "?")], False, "")


@pytest.mark.parametrize(
    ("asked", "cuda", "report", "device"),
    [
        ("auto", None, GPUS, "cuda"),
        ("auto", None, NONE, "cpu"),
        ("auto", "cu129", NONE, "cuda"),
        ("cpu", None, GPUS, "cpu"),
        ("cuda", None, NONE, "cuda"),
    ],
)
def test_the_device_is_the_one_asked_for_else_what_this_machine_has(asked, cuda, report, device):
    assert choose_pin_device(asked, cuda, report) == device

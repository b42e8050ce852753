"""The GPUs as NVML tells them; a stand-in answers as the driver of a known machine did."""

from __future__ import annotations

import pytest

from stack.checks.cuda_support import DEFAULT_IMAGE, build_variant
from stack.checks.gpus import (
    ERROR_LIBRARY_NOT_FOUND,
    Gpu,
    GpuReport,
    find_unfit_reason,
    has_nvidia_device,
    is_fit,
    read_gpus,
)
from tests.fixtures.fake_nvml import (
    GPU_IS_LOST,
    GTX_1080,
    H100,
    LIBRARY_NOT_FOUND,
    MIB,
    RTX_4090,
    RTX_PRO_6000,
    VERSION_MISMATCH,
    build_nvml,
)


@pytest.fixture
def pci(tmp_path):
    """A function: PCI devices as (vendor, class) give the kernel's folder."""

    def build(*devices):
        for number, (vendor, kind) in enumerate(devices):
            folder = tmp_path / f"0000:0{number}:00.0"
            folder.mkdir()
            (folder / "vendor").write_text(vendor + "\n")
            (folder / "class").write_text(kind + "\n")
        (tmp_path / "unreadable").mkdir()
        return tmp_path

    return build


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_workstation_board_is_read_with_its_memory_and_capability(as_bytes):
    report = read_gpus(build_nvml(RTX_4090, as_bytes=as_bytes))
    assert report == GpuReport(
        gpus=(
            Gpu(0, "GPU-00000000", "NVIDIA GeForce RTX 4090", 24564 * MIB, 23028 * MIB, (8, 9)),
        ),
        driver="580.95.05",
        reason="",
    )  # fmt: skip
    assert find_unfit_reason(report, DEFAULT_IMAGE, {}) is None


@pytest.mark.parametrize("boards", [[RTX_PRO_6000], [H100, H100], [RTX_4090, RTX_PRO_6000], [GTX_1080, RTX_4090]])
def test_a_machine_with_a_fit_board_is_fit(boards):
    assert find_unfit_reason(read_gpus(build_nvml(*boards)), DEFAULT_IMAGE, {}) is None


def test_a_machine_without_a_driver_and_without_a_board_has_no_gpu(pci):
    nvml = build_nvml(init_error=LIBRARY_NOT_FOUND)
    report = read_gpus(nvml, pci(("0x8086", "0x030000"), ("0x10de", "0x040300")))
    assert report == GpuReport(reason="no NVIDIA GPU on this machine", has_device=False, error=ERROR_LIBRARY_NOT_FOUND)
    assert find_unfit_reason(report, DEFAULT_IMAGE, {}) == "no NVIDIA GPU on this machine"
    assert nvml.shutdowns == 0


def test_a_board_without_a_driver_that_answers_is_told_from_none_at_all(pci):
    nvml = build_nvml(init_error="Driver Not Loaded")
    report = read_gpus(nvml, pci(("0x10de", "0x030000")))
    assert report.reason == "an NVIDIA GPU is here, but its driver does not answer (Driver Not Loaded)"


@pytest.mark.parametrize("code", [VERSION_MISMATCH, GPU_IS_LOST])
def test_some_answers_prove_a_gpu_where_the_bus_cannot_be_looked_at(code, tmp_path):
    report = read_gpus(build_nvml(init_error=code), tmp_path / "no-pci")
    assert (report.has_device, report.error, report.gpus) == (True, code, ())


def test_a_lost_board_does_not_hide_the_others():
    report = read_gpus(build_nvml(H100._replace(error=GPU_IS_LOST), RTX_4090))
    assert [gpu.index for gpu in report.gpus] == [1]
    assert (report.unreadable, report.error) == (((0, "GPU is lost"),), GPU_IS_LOST)


def test_a_driver_that_cannot_describe_a_board_is_told_and_let_go():
    nvml = build_nvml(RTX_4090, read_error="GPU is lost")
    assert read_gpus(nvml).reason == "the NVIDIA driver cannot describe its GPUs (GPU is lost)"
    assert nvml.shutdowns == 1


def test_a_driver_without_a_board_says_so():
    report = read_gpus(build_nvml())
    assert find_unfit_reason(report, DEFAULT_IMAGE, {}) == "the NVIDIA driver reports no GPU"


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        ("570.211.01", "driver 570.211.01 is too old for CUDA 13.0: 580 or newer is needed (vLLM's default images)"),
        ("535.54", "driver 535.54 is too old for CUDA 13.0: 580 or newer is needed (vLLM's default images)"),
        ("580.65.06", None),
        ("610.00", None),
    ],
)
def test_the_driver_must_know_cuda_13(driver, reason):
    assert find_unfit_reason(read_gpus(build_nvml(H100, driver=driver)), DEFAULT_IMAGE, {}) == reason


@pytest.mark.parametrize(("board", "driver"), [(RTX_4090, "575.51.03"), (RTX_PRO_6000, "570.86.15"), (H100, "535.54")])
def test_an_image_with_cuda_12_9_asks_for_less(board, driver):
    report = read_gpus(build_nvml(board, driver=driver))
    assert find_unfit_reason(report, build_variant("cu129"), {}) is None
    assert find_unfit_reason(report, DEFAULT_IMAGE, {}) is not None


def test_what_may_work_is_tried_only_where_a_gpu_was_asked_for():
    report = read_gpus(build_nvml(H100, driver="570.86.15"))
    assert find_unfit_reason(report, DEFAULT_IMAGE, {}) is not None
    assert find_unfit_reason(report, DEFAULT_IMAGE, {}, is_asked=True) is None


def test_boards_that_are_all_too_old_are_named_with_their_capability():
    reason = find_unfit_reason(read_gpus(build_nvml(GTX_1080)), DEFAULT_IMAGE, {})
    assert reason == (
        "NVIDIA GeForce GTX 1080 has compute capability 6.1; "
        "the image has 7.5, 8.0, 8.6, 8.9, 9.0, 10.0, 12.0 (vLLM's default images)"
    )


@pytest.mark.parametrize(("capability", "fit"), [((7, 0), False), ((7, 5), True), ((12, 0), True)])
def test_a_board_is_fit_from_turing_on(capability, fit):
    assert is_fit(Gpu(0, "GPU-0", "x", 1, 1, capability), DEFAULT_IMAGE) is fit


@pytest.mark.parametrize(
    ("device", "found"),
    [(("0x10de", "0x030000"), True), (("0x10de", "0x030200"), True), (("0x10de", "0x0c0330"), False)],
)
def test_only_a_display_controller_of_nvidia_counts(pci, device, found):
    assert has_nvidia_device(pci(device)) is found


def test_a_machine_without_a_pci_bus_has_none(tmp_path):
    assert not has_nvidia_device(tmp_path / "none")


@pytest.mark.gpu
def test_the_gpus_of_this_machine_can_be_read():
    report = read_gpus()
    assert report.gpus and report.driver and not report.reason
    assert all(0 < gpu.free_bytes <= gpu.total_bytes for gpu in report.gpus)

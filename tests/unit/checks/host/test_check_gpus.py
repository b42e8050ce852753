"""The GPU checks on boards that answer as documented; see `fixtures/fake_nvml.py` for what that is taken from."""

from __future__ import annotations

import dataclasses

import pytest

from stack.checks.cuda_support import DEFAULT_IMAGE, FORWARD_SWITCH, CudaImage, build_variant
from stack.checks.host.check_gpu_capability import run as check_capability
from stack.checks.host.check_gpu_driver import run as check_driver
from stack.checks.host.check_gpu_memory import run as check_memory
from stack.checks.host.check_gpu_state import run as check_state
from stack.checks.host.check_gpu_wsl import run as check_wsl
from stack.checks.host.check_model_memory import run as check_model
from stack.checks.host.memory_verdict import MemoryVerdict
from stack.checks.host.target import EngineNeed, ModelNeed
from tests.fixtures.fake_nvml import (
    DRIVER_NOT_LOADED,
    GPU_IS_LOST,
    GTX_1080_TI,
    H100,
    LIBRARY_NOT_FOUND,
    NO_PERMISSION,
    RESET_REQUIRED,
    RTX_4090,
    RTX_PRO_6000,
    VERSION_MISMATCH,
    build_nvml,
)

GIB = 1024**3
BOARDS = {"geforce": RTX_4090, "rtx-pro": RTX_PRO_6000, "server": H100}


@pytest.fixture
def make(make_context, tmp_path):
    """A function: boards give the context of a machine with them, whose engine runs on CUDA 13 unless said."""

    def build(*boards, engine=None, world=None, **fields):
        nvml_settings = {name: fields.pop(name) for name in ("driver", "init_error") if name in fields}
        asked = {"device_asked": "auto", "device": "cuda", "utilization": 0.92, "image": DEFAULT_IMAGE} | (engine or {})
        (tmp_path / "sys").mkdir(exist_ok=True)
        seen = {"nvml": build_nvml(*boards, **nvml_settings), "sys": tmp_path / "sys"} | (world or {})
        return make_context(engine=EngineNeed(**asked), world=seen, **fields)

    return build


def add_pci(folder):
    device = folder / "bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x10de\n")
    (device / "class").write_text("0x030000\n")


def load_module(proc, version="580.95.05"):
    (proc / "driver/nvidia").mkdir(parents=True)
    line = f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build  (dvs-builder)\n"
    (proc / "driver/nvidia/version").write_text(line)


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_current_board_with_a_current_driver_passes_all(make, board):
    context = make(board)
    checks = (check_driver, check_capability, check_state, check_memory)
    assert [check(context).status for check in checks] == ["pass"] * 4


def test_without_a_gpu_nothing_is_judged(make):
    context = make(init_error=LIBRARY_NOT_FOUND, engine={"device": "cpu"})
    checks = (check_driver, check_capability, check_state, check_memory, check_wsl)
    assert [check(context).status for check in checks] == ["skip"] * 5


def test_a_gpu_that_was_asked_for_and_is_not_here_fails_with_what_serves_instead(make):
    found = check_driver(make(init_error=LIBRARY_NOT_FOUND, engine={"device_asked": "cuda", "device": None}))
    assert (found.status, found.message) == ("fail", "no NVIDIA GPU on this machine")
    assert "--device cpu" in found.hint


def test_a_gpu_without_a_driver_is_told_from_none(make, tmp_path):
    add_pci(tmp_path / "sys")
    found = check_driver(make(init_error=LIBRARY_NOT_FOUND))
    assert (found.status, found.message) == ("warn", "an NVIDIA GPU is here, without NVIDIA's driver")
    assert "runs on the CPU" in found.why


def test_a_driver_without_its_library_is_told_by_the_module_that_is_loaded(make, proc, tmp_path):
    load_module(proc)
    found = check_driver(make(init_error=LIBRARY_NOT_FOUND, engine={"device_asked": "cuda"}))
    assert found.status == "fail"
    assert "module of driver 580.95.05 is loaded, but its library" in found.message
    assert found.data["kernel_module"] == "580.95.05"


@pytest.mark.parametrize(
    ("code", "said", "hint"),
    [
        (VERSION_MISMATCH, "does not match the kernel module that runs (580.95.05)", "reboot"),
        (DRIVER_NOT_LOADED, "its kernel module is not loaded", "modprobe nvidia"),
        (GPU_IS_LOST, "fell off the bus", "xid"),
        (NO_PERMISSION, "may not ask", "/dev/nvidia"),
        (RESET_REQUIRED, "must be reset", "--gpu-reset"),
    ],
)
def test_a_driver_that_does_not_answer_is_explained_by_its_code(make, proc, tmp_path, code, said, hint):
    add_pci(tmp_path / "sys")
    load_module(proc)
    found = check_driver(make(init_error=code, engine={"device_asked": "cuda"}))
    assert (found.status, found.data["nvml_error"]) == ("fail", code)
    assert said in found.message
    assert hint in found.hint


@pytest.mark.parametrize(
    ("board", "driver", "status", "hint"),
    [
        (RTX_4090, "580.65.06", "pass", None),
        (RTX_4090, "575.51.03", "warn", "stack pin latest --cuda cu129"),
        (RTX_4090, "470.256.02", "warn", "580 or newer"),
        (H100, "570.211.01", "warn", "VLLM_ENABLE_CUDA_COMPATIBILITY"),
    ],
)
def test_the_driver_is_held_against_the_cuda_of_the_image(make, board, driver, status, hint):
    found = check_driver(make(board, driver=driver))
    assert found.status == status
    assert hint is None or hint in found.hint
    assert "(vLLM's default images)" in found.message or status == "pass"
    if board is RTX_4090 and status == "warn":
        assert "VLLM_ENABLE_CUDA_COMPATIBILITY" not in found.hint


@pytest.mark.parametrize(("driver", "status"), [("575.51.03", "fail"), ("580.1", "pass")])
def test_where_a_gpu_was_asked_for_a_driver_that_cannot_is_a_failure(make, driver, status):
    assert check_driver(make(RTX_4090, driver=driver, engine={"device_asked": "cuda"})).status == status


def test_what_may_work_is_a_warning_until_it_is_switched_on(make):
    engine = {"device_asked": "cuda"}
    found = check_driver(make(H100, driver="570.1", engine=engine))
    assert (found.status, found.why.startswith("without forward compatibility")) == ("warn", True)
    engine["environ"] = {FORWARD_SWITCH: "1"}
    assert check_driver(make(H100, driver="570.1", engine=engine)).status == "pass"


def test_a_variant_with_an_older_cuda_is_judged_by_its_own_facts_and_says_on_what_they_rest(make):
    image = dataclasses.replace(build_variant("cu129"), source="stack.lock, variant cu129")
    found = check_driver(make(RTX_4090, driver="575.51.03", engine={"image": image, "device_asked": "cuda"}))
    assert found.status == "pass"
    assert found.message == "driver 575.51.03 runs CUDA 12.9 (needs 575; stack.lock, variant cu129)"
    assert found.data["image_facts_from"] == "stack.lock, variant cu129"


def test_an_image_of_which_nothing_is_known_makes_no_promise(make):
    found = check_driver(make(RTX_4090, engine={"image": CudaImage()}))
    assert (found.status, found.message) == ("pass", "driver 580.95.05; the CUDA of the engine's image is not known")


def test_an_old_board_has_no_kernels_and_another_one_is_named(make):
    found = check_capability(make(GTX_1080_TI, RTX_4090))
    assert found.status == "fail"
    assert "GTX 1080 Ti has compute capability 6.1; the image has 7.5, 8.0" in found.message
    assert "(vLLM's default images)" in found.message
    assert found.hint == '`devices = ["1"]` under `[engine]` takes NVIDIA GeForce RTX 4090'
    assert check_capability(make(GTX_1080_TI, RTX_4090, engine={"gpu_indexes": (1,)})).status == "pass"


def test_an_old_board_beside_a_cpu_engine_is_a_warning(make):
    found = check_capability(make(GTX_1080_TI, engine={"device": "cpu"}))
    assert (found.status, found.hint) == ("warn", "`stack up --device cpu`")


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"compute_mode": 2}, "fail", "compute mode `prohibited`"),
        ({"compute_mode": 3}, "warn", "compute mode `exclusive-process`"),
        ({"compute_mode": 3, "compute": ((77, 10),)}, "fail", "compute mode `exclusive-process`"),
        ({"mig": (1, 1)}, "fail", "cut into MIG instances"),
        ({"mig": (0, 1)}, "warn", "changes to MIG"),
        ({"ecc": (1, 0)}, "warn", "ECC on, and off from its next reset"),
        ({"ecc": (0, 1)}, "warn", "ECC off, and on from its next reset"),
        ({"uncorrected": 3}, "warn", "3 memory errors"),
        ({"remapped": (0, 1, 1, 0)}, "warn", "waits for a reset"),
        ({"remapped": (0, 9, 0, 1)}, "warn", "could not replace"),
    ],
)
def test_a_board_in_a_bad_state_is_named_with_what_mends_it(make, changes, status, said):
    found = check_state(make(H100._replace(**changes)))
    assert found.status == status
    assert said in found.message
    assert found.hint
    assert found.why


def test_a_board_that_the_engine_does_not_get_is_not_judged(make):
    assert check_state(make(H100._replace(compute_mode=2), H100, engine={"gpu_indexes": (1,)})).status == "pass"


def test_a_lost_board_beside_a_good_one_is_a_warning(make):
    found = check_state(make(H100, H100._replace(error=GPU_IS_LOST), engine={"gpu_indexes": (0,)}))
    assert (found.status, found.message) == ("warn", "GPU 1 does not answer (GPU is lost)")


def test_persistence_that_is_off_is_said_and_warns_of_nothing(make):
    found = check_state(make(RTX_4090))
    assert found.status == "pass"
    assert "persistence is off" in found.message
    assert "persistence" not in check_state(make(H100)).message


def test_memory_that_is_free_for_the_claim_passes_with_both_figures(make):
    found = check_memory(make(H100))
    assert found.status == "pass"
    assert found.message == "NVIDIA H100 80GB HBM3: 79.2 GiB of 79.6 GiB free, vLLM claims 73.3 GiB"


def test_who_holds_the_memory_is_named_by_process_and_project(make, proc):
    ids = ("a" * 64, "b" * 64)
    for pid, name, cgroup in (
        (41, "python3", f"/docker/{ids[0]}"),
        (42, "Xorg", "/user.slice"),
        (43, "ollama", f"/docker/{ids[1]}"),
    ):
        (proc / str(pid)).mkdir()
        (proc / str(pid) / "comm").write_text(f"{name}\n")
        (proc / str(pid) / "cgroup").write_text(f"0::{cgroup}\n")
    labels = {
        "com.docker.compose.project": "other",
        "com.docker.compose.service": "engine",
        "dev.stack.project": "other",
    }
    rows = (
        {"Id": ids[0], "Names": ["/other-engine-1"], "State": "running", "Labels": labels, "Ports": []},
        {"Id": ids[1], "Names": ["/ollama"], "State": "running", "Labels": {}, "Ports": []},
    )
    board = RTX_4090._replace(free_mib=4000, compute=((41, 16000), (43, 3000), (99, 500)), graphics=((42, 800),))
    found = check_memory(make(board, containers=rows))
    assert found.status == "fail"
    assert (
        "held by python3 (41) in project `other` 15.6 GiB, ollama (43) in container `ollama` 2.9 GiB" in found.message
    )
    assert "Xorg (42) 800.0 MiB, process (99) 500.0 MiB" in found.message
    assert found.hint.startswith("`stack down --project other`; or `gpu-memory-utilization = 0.16`")


def test_where_the_driver_names_nobody_that_is_said(make):
    found = check_memory(make(RTX_4090._replace(free_mib=4000, compute=None, graphics=None)))
    assert found.message.endswith("the driver does not tell who holds the rest")


def test_memory_that_our_own_engine_holds_is_no_fault(make):
    assert check_memory(make(RTX_4090._replace(free_mib=1000), running=("engine",))).status == "pass"


def test_a_cache_of_a_set_size_claims_no_share(make):
    assert check_memory(make(RTX_4090._replace(free_mib=4000), engine={"utilization": None})).status == "pass"


@pytest.mark.parametrize(
    ("fits", "status"), [("yes", "pass"), ("no", "fail"), ("uncertain", "warn"), ("unknown", "skip")]
)
def test_the_sizing_becomes_a_finding_and_unknown_is_no_promise(make, fits, status):
    verdict = MemoryVerdict(fits, "because", (15 * GIB, 15 * GIB), 4 * GIB, (20 * GIB, 24 * GIB), 32768, (8192, 16384))
    model = ModelNeed("acme/model", "hub", judge_memory=lambda total, free: verdict)
    found = check_model(make(RTX_4090, model=model))
    assert found.status == status
    assert "weights 15.0 GiB, KV cache 4.0 GiB for 32768 tokens" in found.message
    assert ("largest context that fits is 8192 to 16384 tokens" in found.message) is (fits != "unknown")
    assert (found.hint is not None) is (status in ("fail", "warn"))


def test_the_model_is_held_against_the_board_with_the_least_free(make):
    asked = []
    model = ModelNeed("m", "hub", judge_memory=lambda *sizes: asked.append(sizes) or MemoryVerdict("yes", "x"))
    check_model(make(H100, H100._replace(free_mib=30000), model=model))
    assert asked == [(81559 * 1024**2, 30000 * 1024**2)]
    check_model(make(engine={"device": "cpu"}, init_error=LIBRARY_NOT_FOUND, model=model))
    assert asked[1] == (None, None)


@pytest.mark.parametrize(("kind", "name"), [("hub", "acme/model"), ("demo", "demo")])
def test_a_model_that_is_not_here_yet_is_not_judged_and_the_command_that_does_is_named(make, kind, name):
    found = check_model(make(H100, model=ModelNeed("acme/model", kind)))
    assert found.status == "skip"
    assert found.message.endswith(f"`stack doctor --estimate {name}`")


@pytest.fixture
def wsl(make, proc, tmp_path):
    """A function: whether Windows gives libcuda, and boards, give the context of WSL 2."""
    (proc / "sys/kernel/osrelease").write_text("6.6.87.2-microsoft-standard-WSL2\n")
    root = tmp_path / "wsl-root"

    def build(*boards, has_cuda=True, **settings):
        (root / "usr/lib/wsl/lib").mkdir(parents=True)
        if has_cuda:
            (root / "usr/lib/wsl/lib/libcuda.so.1").write_text("")
        return make(*boards, world={"root": root}, **settings), root

    return build


def test_a_gpu_in_wsl_passes_and_says_what_wsl_takes_away(wsl):
    context, _ = wsl(RTX_4090)
    found = check_wsl(context)
    assert found.status == "pass"
    assert "pinned memory" in found.message


def test_a_linux_driver_inside_wsl_is_a_warning(wsl):
    context, root = wsl(RTX_4090)
    (root / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    (root / "usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05").write_text("")
    found = check_wsl(context)
    assert (found.status, "purge" in found.hint) == ("warn", True)


def test_wsl_without_libcuda_fails_only_where_a_gpu_was_asked_for(wsl):
    context, _ = wsl(has_cuda=False, init_error=LIBRARY_NOT_FOUND, engine={"device_asked": "cuda"})
    found = check_wsl(context)
    assert found.status == "fail"
    assert "driver in Windows" in found.hint

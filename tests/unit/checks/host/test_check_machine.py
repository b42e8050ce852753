"""Memory, CPU, WSL, shared memory, the way to a GPU."""

from __future__ import annotations

import json

import pytest

from stack.checks.host import (
    check_container_toolkit,
    check_cpu,
    check_memory,
    check_shm,
    check_wsl,
)
from stack.checks.host.meminfo import parse_meminfo, read_cgroup_limit
from stack.checks.host.target import EngineNeed, FolderNeed, ModelNeed

GIB = 1024**3
CPU = EngineNeed(device="cpu", kv_cache_bytes=2 * GIB)


def give_model(weights_bytes):
    return ModelNeed("acme/model", "hub", weights_bytes=weights_bytes)


def test_memory_that_suffices_passes_and_says_what_for(make_context):
    outcome = check_memory.run(make_context(engine=CPU, model=give_model(GIB)))
    assert outcome.status == "pass"
    assert "20.0 GiB of 24.0 GiB of memory available, no swap" in outcome.message
    assert "about 4.7 GiB (weights 1.0 GiB, KV cache 2.0 GiB, the processes themselves 1.7 GiB)" in outcome.message


@pytest.mark.parametrize(("weights", "status"), [(16, "pass"), (17, "warn"), (21, "fail")])
def test_weights_and_cache_are_held_against_what_is_there(make_context, weights, status):
    assert check_memory.run(make_context(engine=CPU, model=give_model(weights * GIB))).status == status


def test_memory_that_the_running_engine_holds_is_not_missed(make_context):
    context = make_context(engine=CPU, model=give_model(17 * GIB), running=("engine",))
    assert check_memory.run(context).status == "pass"


def test_a_daemon_in_a_virtual_machine_has_less(make_context):
    context = make_context(engine=CPU, model=give_model(GIB), info={"MemTotal": 4 * GIB})
    assert check_memory.run(context).status == "fail"


def test_a_kernel_that_does_not_say_is_a_warning(make_context, proc):
    (proc / "meminfo").write_text("")
    assert check_memory.run(make_context(engine=CPU)).status == "warn"


def write_group(proc, tmp_path, lines, **limits):
    (proc / "self/cgroup").write_text("\n".join(lines) + "\n")
    for path, text in limits.items():
        file = tmp_path / "sys/fs/cgroup" / path.replace("__", "/").replace("_max", ".max")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_the_limit_of_a_parent_group_counts(proc, tmp_path):
    write_group(proc, tmp_path, ["0::/user/mine"], user__memory_max="1073741824\n", user__mine__memory_max="max\n")
    assert read_cgroup_limit(proc, tmp_path / "sys") == GIB


def test_version_one_says_no_limit_as_a_number(proc, tmp_path):
    (proc / "self/cgroup").write_text("5:memory:/\n0::/\n")
    folder = tmp_path / "sys/fs/cgroup/memory"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert read_cgroup_limit(proc, tmp_path / "sys") is None
    (folder / "memory.limit_in_bytes").write_text("536870912\n")
    assert read_cgroup_limit(proc, tmp_path / "sys") == GIB // 2


def test_a_small_group_of_this_shell_is_a_warning_and_no_failure(make_context, proc, tmp_path):
    write_group(proc, tmp_path, ["0::/tight"], tight__memory_max=str(GIB // 2))
    outcome = check_memory.run(make_context(engine=CPU, model=give_model(GIB)))
    assert outcome.status == "warn"
    assert "control group may use 512.0 MiB" in outcome.message


def test_a_rootless_daemon_is_held_to_the_same_group(make_context, proc, tmp_path):
    write_group(proc, tmp_path, ["0::/tight"], tight__memory_max=str(GIB // 2))
    context = make_context(engine=CPU, info={"SecurityOptions": ["name=rootless"]})
    assert check_memory.run(context).status == "fail"


def test_rows_that_are_no_numbers_are_passed_over():
    assert parse_meminfo("MemTotal: many kB\nMemAvailable: 2 kB\n").available_bytes == 2048


def write_flags(proc, *flags):
    (proc / "cpuinfo").write_text(f"model name\t: Acme 9000\nflags\t\t: fpu {' '.join(flags)}\n")


@pytest.mark.parametrize(
    ("flags", "status"), [((), "fail"), (("avx2",), "warn"), (("avx2", "avx512f"), "pass"), (("avx512f",), "fail")]
)
def test_the_cpu_engine_needs_its_instructions(make_context, proc, flags, status):
    write_flags(proc, *flags)
    assert check_cpu.run(make_context(engine=CPU)).status == status


def test_the_gpu_engine_does_not(make_context, proc):
    write_flags(proc)
    assert check_cpu.run(make_context(engine=EngineNeed(device="cuda"))).status == "pass"


def test_one_core_is_few(make_context):
    assert check_cpu.run(make_context(engine=CPU, world={"cpu_count": lambda: 1})).status == "warn"


def test_a_processor_without_such_a_list_is_not_refused(make_context, proc):
    (proc / "cpuinfo").write_text("Features\t: fp asimd\n")
    assert check_cpu.run(make_context(engine=CPU)).status == "pass"


def write_kernel(proc, release):
    (proc / "sys/kernel/osrelease").write_text(release + "\n")


def test_plain_linux_is_not_wsl(make_context):
    assert check_wsl.run(make_context()).data["is_wsl"] is False


def test_the_first_wsl_cannot_run_docker(make_context, proc):
    write_kernel(proc, "4.4.0-19041-Microsoft")
    assert check_wsl.run(make_context()).status == "fail"


def test_the_second_wsl_passes_unless_folders_lie_on_a_windows_drive(make_context, proc):
    write_kernel(proc, "6.6.87.2-microsoft-standard-WSL2")
    assert check_wsl.run(make_context()).status == "pass"
    from pathlib import Path

    folder = FolderNeed("models", Path("/mnt/c/models"), "`model.volume`")
    outcome = check_wsl.run(make_context(folders=(folder,)))
    assert (outcome.status, outcome.hint) == ("warn", "keep them inside WSL: `model.volume`")


def test_shared_memory_is_judged_by_the_number_of_gpus(make_context):
    one, two = EngineNeed(device="cuda"), EngineNeed(device="cuda", tensor_parallel=2)
    assert check_shm.run(make_context(engine=one, shm_bytes=600 * 1024**2)).status == "pass"
    assert check_shm.run(make_context(engine=two, shm_bytes=600 * 1024**2)).status == "warn"
    assert check_shm.run(make_context(engine=one, shm_bytes=64 * 1024**2)).status == "warn"
    assert check_shm.run(make_context(engine=CPU, shm_bytes=16 * GIB)).status == "warn"
    assert check_shm.run(make_context()).status == "skip"


CUDA = EngineNeed(device_asked="cuda", device="cuda")


def test_no_gpu_and_none_wanted_is_no_matter(make_context):
    assert check_container_toolkit.run(make_context(engine=CPU)).status == "skip"


@pytest.mark.parametrize(
    "info",
    [
        {"Runtimes": {"runc": {}, "nvidia": {"path": "nvidia-container-runtime"}}},
        {"DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]},
    ],
    ids=["runtime", "cdi"],
)
def test_the_daemons_word_decides(make_context, info):
    assert check_container_toolkit.run(make_context(engine=CUDA, info=info)).status == "pass"


def test_a_toolkit_that_the_daemon_does_not_know_is_not_enough(make_context, tmp_path):
    tool = tmp_path / "root/usr/bin/nvidia-ctk"
    tool.parent.mkdir(parents=True)
    tool.touch()
    for name, text in (("nvidia.yaml", 'cdiVersion: 0.5.0\nkind: "nvidia.com/gpu"\n'), ("other.json", "[]")):
        path = tmp_path / "root/etc/cdi" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "root/etc/cdi/nvidia.json").write_text(json.dumps({"kind": "nvidia.com/gpu"}))
    outcome = check_container_toolkit.run(make_context(engine=CUDA))
    assert outcome.status == "fail"
    assert "is installed, but the daemon has neither" in outcome.message
    assert [path.rpartition("/")[2] for path in outcome.data["cdi_specs"]] == ["nvidia.json", "nvidia.yaml"]

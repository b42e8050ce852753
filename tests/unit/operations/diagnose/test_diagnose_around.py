from __future__ import annotations

from types import SimpleNamespace

import pytest
from docker.errors import NotFound

from stack.checks.gpu_clocks import GpuClocks
from stack.containers.ownership import Found
from stack.operations.diagnose.around import AroundProbe, is_of_engine, read_max_num_seqs, sum_up_gpus
from stack.telemetry.diagnosis.surroundings import GpuUse, Surroundings

CONTAINER = "c" * 64
HOT = "its temperature (hardware)"


class Host:
    """A daemon and a kernel whose counters the test sets."""

    def __init__(self, folder, *, requests=None, nano_cpus=0):
        self.proc, self.engine_seconds, self.seconds, self.is_gone = folder, 10.0, 100.0, False
        (folder / "7").mkdir()
        (folder / "7" / "cgroup").write_text(f"0::/system.slice/docker-{CONTAINER}.scope\n")
        self.write_stat(1000)
        attributes = {
            "Config": {"Cmd": ["/model", "--max-num-seqs", "4"]},
            "HostConfig": {"DeviceRequests": requests, "NanoCpus": nano_cpus},
            "State": {"Pid": 7},
        }
        self.found = Found(SimpleNamespace(container_id=CONTAINER), attributes)
        self.api = SimpleNamespace(stats=self.read_stats)

    def write_stat(self, user_ticks):
        (self.proc / "stat").write_text(f"cpu  {user_ticks} 10 20 99999 500 1 2 3 0 0\ncpu0 1 1 1 1\n")

    def read_stats(self, container_id, **how):
        if self.is_gone:
            raise NotFound("no such container")
        usage = {"total_usage": self.engine_seconds * 1e9}
        return {"cpu_stats": {"cpu_usage": usage, "online_cpus": 8}}

    def probe(self, clocks=()):
        return AroundProbe(self, self.found, read_clocks=lambda: clocks, proc=self.proc, clock=lambda: self.seconds)

    def pass_time(self, *, engine, busy_ticks):
        self.seconds += 20
        self.engine_seconds += engine
        self.write_stat(1000 + busy_ticks)


def test_cores_are_those_between_the_two_looks(tmp_path):
    host = Host(tmp_path)
    probe = host.probe()
    host.pass_time(engine=30, busy_ticks=5000)
    around = probe.finish()
    assert (around.engine_cores, around.other_cores, around.cores) == (1.5, pytest.approx(1.0), 8)
    assert (around.device, around.max_num_seqs, around.gpus) == ("cpu", 4, ())


def test_a_limit_of_the_container_is_what_it_may_use(tmp_path):
    host = Host(tmp_path, nano_cpus=2_500_000_000)
    assert host.probe().finish().cores == 2.5


def test_a_daemon_elsewhere_tells_of_the_engine_and_nobody_of_the_rest(tmp_path):
    host = Host(tmp_path, requests=[{"Count": -1}])
    (tmp_path / "7" / "cgroup").write_text("0::/init.scope\n")
    probe = host.probe((GpuClocks(0, "GPU-of-this-machine", 0.5),))
    probe.tick()
    host.pass_time(engine=30, busy_ticks=5000)
    around = probe.finish()
    assert (around.engine_cores, around.other_cores, around.gpus) == (1.5, None, ())


def test_a_container_that_is_gone_leaves_the_rest(tmp_path):
    host = Host(tmp_path)
    probe = host.probe()
    host.is_gone = True
    assert probe.finish() == Surroundings(device="cpu", max_num_seqs=4)


def test_only_the_engines_gpus_are_looked_at(tmp_path):
    clocks = (GpuClocks(0, "GPU-a", 0.9, 0.5), GpuClocks(1, "GPU-b", 0.5, 0.9, (HOT,)))
    host = Host(tmp_path, requests=[{"DeviceIDs": ["1"]}])
    probe = host.probe(clocks)
    probe.tick()
    probe.tick()
    around = probe.finish()
    assert (around.device, around.gpus) == ("cuda", (GpuUse(1, 2, 0.9, 0.5, (HOT,)),))


@pytest.mark.parametrize(
    ("requests", "is_its"),
    [
        ([{"Count": -1}], True),
        ([{"DeviceIDs": ["GPU-b"]}], True),
        ([{"DeviceIDs": ["nvidia.com/gpu=all"]}], True),
        ([{"DeviceIDs": ["nvidia.com/gpu=0"]}], False),
        ([{"DeviceIDs": ["0", "2"]}], False),
    ],
)
def test_a_gpu_is_named_by_index_identity_or_cdi(requests, is_its):
    assert is_of_engine(GpuClocks(1, "GPU-b"), requests) is is_its


def test_what_held_a_gpu_down_for_a_moment_only_did_not_hold_it_down():
    looks = [GpuClocks(0, "a", 0.6, 1.0, (HOT, "the power limit")), GpuClocks(0, "a", 0.8, None, ("the power limit",))]
    assert sum_up_gpus(looks) == (GpuUse(0, 2, 1.0, pytest.approx(0.7), ("the power limit",)),)


@pytest.mark.parametrize(
    ("argv", "places"),
    [
        (["/model", "--max-num-seqs", "16"], 16),
        (["/model", "--max-num-seqs=16"], 16),
        (["/model", "--max-num-seqs"], None),
        (["/model", "--max-num-seqs", "many"], None),
        (["/model"], None),
    ],
)
def test_the_places_are_read_from_the_command_line(argv, places):
    assert read_max_num_seqs(argv) == places

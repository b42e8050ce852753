"""What a container is busy with: recorded answers of two daemons, and what is said of them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from docker.errors import NotFound

from stack.containers.activity import Activity, ActivityProbe, Sample, compare_samples, parse_stats
from stack.errors import CommandError

RECORDED = Path(__file__).parent / "recorded"
ID = "9d0cbc40417c93c9f8a79ea296407f188ee9ffaa9bc64cc93a5dd9ae2a2622e4"
# Not recorded, for want of such a machine: the shape is that of the API's reference and of the docker CLI's source.
CGROUP2 = {
    "blkio_stats": {
        "io_service_bytes_recursive": [
            {"major": 259, "minor": 0, "op": "read", "value": 5_368_709_120},
            {"major": 259, "minor": 0, "op": "write", "value": 8192},
            {"major": 7, "minor": 1, "op": "read", "value": 4096},
        ]
    },
    "cpu_stats": {"cpu_usage": {"total_usage": 1_000_000_000}},
    "memory_stats": {
        "usage": 7_900_000_000,
        "stats": {"inactive_file": 5_000_000_000, "active_file": 400_000_000, "anon": 2_500_000_000},
        "limit": 8_000_000_000,
    },
}
IDLE = Activity(cpus=0.02, reads=0.0, writes=0.0, network=4e3)


def test_a_cgroup_v1_daemon_is_understood():
    sample = parse_stats(json.loads((RECORDED / "stats-cgroup1.json").read_text()), 7.0)
    assert (sample.at_seconds, sample.cpu_seconds) == (7.0, 1.185235537)
    # This kernel counts no disk traffic for a container: that is unknown, and not none.
    assert (sample.read_bytes, sample.written_bytes) == (None, None)
    assert sample.network_bytes == 70215 + 193329 + 15630 + 89096
    assert sample.memory_share == pytest.approx((20803584 - 106496) / 22748856320)


def test_a_cgroup_v2_daemon_is_understood():
    sample = parse_stats(CGROUP2, 7.0)
    assert (sample.read_bytes, sample.written_bytes) == (5_368_709_120 + 4096, 8192)
    # Pages of the weights' files can be dropped at any time: they are not what fills a limit.
    assert sample.memory_share == pytest.approx((7_900_000_000 - 5_000_000_000 - 400_000_000) / 8_000_000_000)


def test_an_empty_document_of_a_container_that_just_ended_is_no_failure():
    assert parse_stats({"networks": None, "memory_stats": {}, "blkio_stats": {}}, 1.0).memory_share == 0.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "waits (no CPU, disk or network use)"),
        ({"reads": None, "writes": None}, "waits (no CPU or network use)"),
        ({"cpus": 0.12, "reads": 85e6}, "reads from disk (85 MB/s), CPU 12 %"),
        ({"cpus": 0.12, "reads": 3.4e6}, "reads from disk (3.4 MB/s), CPU 12 %"),
        ({"cpus": 1.01}, "computes, CPU 101 %"),
        ({"cpus": 0.2, "writes": 12e6, "network": 12e6},
         "writes to disk (12 MB/s), uses the network (12 MB/s), CPU 20 %"),
        ({"cpus": 1.9, "compilers": ("cc1plus",)}, "compiles (cc1plus), CPU 190 %"),
        ({"cpus": 1.0, "memory_share": 0.97}, "computes, CPU 100 %, memory 97 % of its limit"),
    ],
)  # fmt: skip
def test_what_is_said_of_an_activity(changes, said):
    assert str(dataclasses.replace(IDLE, **changes)) == said


def test_rates_lie_between_two_samples_and_are_never_negative():
    before = Sample(10.0, 5.0, 1000, 500, 100, 0.1)
    after = Sample(12.0, 7.5, 401_000, 0, 300, 0.2, ("nvcc",))
    assert compare_samples(before, after) == Activity(1.25, 200_000.0, 0.0, 100.0, 0.2, ("nvcc",))
    assert compare_samples(dataclasses.replace(before, read_bytes=None), after).reads is None


class FakeDaemon:
    """Gives documents in turn, and the processes of one container."""

    def __init__(self, processes=(), error=None):
        self.api = self
        self.cpu = 0
        self.closed = 0
        self._processes, self._error = processes, error

    def stats(self, container_id, *, stream, one_shot):
        if self._error is not None:
            raise self._error
        assert (container_id, stream, one_shot) == (ID, False, True)
        self.cpu += 500_000_000
        return {"cpu_stats": {"cpu_usage": {"total_usage": self.cpu}}}

    def top(self, container_id, ps_args):
        return {"Titles": ["PID", "COMMAND"], "Processes": [list(row) for row in self._processes]}

    def close(self):
        self.closed += 1


def write_process(proc, pid, read_bytes, container_id=ID):
    folder = proc / pid
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup").write_text(f"0::/system.slice/docker-{container_id}.scope\n")
    (folder / "io").write_text(f"rchar: 1\nread_bytes: {read_bytes}\nwrite_bytes: 0\ncancelled_write_bytes: 0\n")


def look(daemon, proc, during=lambda: None):
    seconds = iter((100.0, 102.0))
    probe = ActivityProbe(lambda: daemon, ID, proc=proc, clock=lambda: next(seconds), sleep=lambda _: during())
    return probe.look()


def test_where_the_daemon_counts_no_disk_traffic_the_kernel_is_asked(tmp_path):
    write_process(tmp_path, "41", 1000)
    write_process(tmp_path, "42", 0)
    daemon = FakeDaemon([("41", "python3"), ("42", "cc1plus"), ("43", "gone")])
    found = look(daemon, tmp_path, during=lambda: write_process(tmp_path, "42", 4_000_000))
    assert found == Activity(0.25, 2_000_000.0, 0.0, 0.0, 0.0, ("cc1plus",))
    assert daemon.closed == 1


def test_processes_of_a_daemon_elsewhere_are_not_taken_for_ours(tmp_path):
    write_process(tmp_path, "41", 1000, container_id="another")
    assert look(FakeDaemon([("41", "python3")]), tmp_path).reads is None


def test_a_process_that_this_user_may_not_look_at_leaves_the_disk_unknown(tmp_path):
    write_process(tmp_path, "41", 1000)
    (tmp_path / "41/io").unlink()
    (tmp_path / "41/io").mkdir()
    assert look(FakeDaemon([("41", "python3")]), tmp_path).reads is None


def test_a_container_that_is_gone_is_an_error_of_ours(tmp_path):
    daemon = FakeDaemon(error=NotFound("No such container"))
    with pytest.raises(CommandError, match="reading what a container does failed"):
        look(daemon, tmp_path)
    assert daemon.closed == 1

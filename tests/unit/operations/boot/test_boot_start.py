"""What history keeps of the machine that a boot ran on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import docker.errors
import pytest

from stack.operations.boot import start as boot_start
from stack.operations.boot.start import build_host, read_host

INFO = {
    "NCPU": 8, "MemTotal": 32 * 2**30, "OperatingSystem": "Debian GNU/Linux 13", "KernelVersion": "6.12.0",
    "ServerVersion": "29.1.0", "Name": "annas-laptop", "ID": "d5c1-serial",
}  # fmt: skip
CPUINFO = "processor : 0\nmodel name\t: A CPU @ 3 GHz\nprocessor : 1\nmodel name\t: A CPU @ 3 GHz\n"
MACHINE_ID = "0123456789abcdef0123456789abcdef\n"


def test_a_host_is_told_by_its_parts():
    host = build_host(INFO, CPUINFO, MACHINE_ID, gpus=["RTX 4090", "RTX 4090"], driver="580.95")
    assert len(host.pop("id")) == 8
    assert host == {
        "cpu": "A CPU @ 3 GHz", "cores": "8", "memory": "32.0 GiB", "gpu": "RTX 4090, RTX 4090", "driver": "580.95",
        "os": "Debian GNU/Linux 13", "kernel": "6.12.0", "docker": "29.1.0",
    }  # fmt: skip


def test_a_host_is_known_again_without_its_name_serial_or_machine_id():
    first = build_host(INFO, CPUINFO, MACHINE_ID, gpus=[], driver=None)
    assert first["id"] == build_host({}, "", MACHINE_ID.strip(), gpus=[], driver=None)["id"]
    assert first["id"] != build_host(INFO, CPUINFO, "f" * 32, gpus=[], driver=None)["id"]
    said = str(first)
    assert not any(private in said for private in ("annas", "serial", MACHINE_ID[:8]))


def test_what_nobody_tells_is_left_out():
    host = build_host({"Architecture": "aarch64"}, "", "", gpus=[], driver=None)
    assert host == {"cpu": "aarch64"}


def test_a_daemon_that_does_not_tell_fails_no_boot(monkeypatch):
    def fail():
        raise docker.errors.APIError("broken")

    monkeypatch.setattr(boot_start, "_CPUINFO", Path("/nonexistent"))
    monkeypatch.setattr(boot_start, "_MACHINE_ID", Path("/nonexistent"))
    session = SimpleNamespace(connect=lambda: SimpleNamespace(info=fail))
    up = SimpleNamespace(resolved=SimpleNamespace(device=SimpleNamespace(gpus=())))
    assert list(read_host(session, up)) == ["cpu"]


@pytest.mark.parametrize("gpus", [(), ("RTX 4090",)])
def test_the_driver_is_asked_only_where_a_gpu_is_used(monkeypatch, gpus):
    asked = []
    monkeypatch.setattr(boot_start, "read_gpus", lambda: asked.append(1) or SimpleNamespace(driver="580.95"))
    session = SimpleNamespace(connect=lambda: SimpleNamespace(info=lambda: INFO))
    device = SimpleNamespace(gpus=tuple(SimpleNamespace(name=name) for name in gpus))
    host = read_host(session, SimpleNamespace(resolved=SimpleNamespace(device=device)))
    assert (host.get("driver"), bool(asked)) == (("580.95", True) if gpus else (None, False))

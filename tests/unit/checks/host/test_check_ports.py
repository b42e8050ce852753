"""Ports and the other projects on this machine."""

from __future__ import annotations

import socket

import pytest

from stack.checks.gpus import Gpu, GpuReport
from stack.checks.host import check_other_stacks, check_ports
from stack.checks.host.target import EngineNeed, PortNeed
from tests.unit.checks.host.conftest import give_container

ASKED = PortNeed("engine", "127.0.0.1", 8000, is_asked=True)
AUTO = PortNeed("prometheus", "127.0.0.1", 9091, is_asked=False, preferred=9090)
TAKEN = {"probe_port": lambda address, port: "EADDRINUSE"}


def test_free_ports_pass(make_context):
    outcome = check_ports.run(make_context(ports=(ASKED,)))
    assert (outcome.status, outcome.message) == ("pass", "8000 (engine) free for us")


def test_a_port_of_our_own_running_container_is_not_tried(make_context):
    need = PortNeed("engine", "127.0.0.1", 8000, is_asked=True, is_ours=True)
    assert check_ports.run(make_context(ports=(need,), world=TAKEN)).message.startswith("8000 (engine, running)")


def test_a_taken_port_that_was_asked_for_fails_and_names_the_container(make_context):
    context = make_context(
        ports=(ASKED,), world=TAKEN, containers=(give_container("web", project="shop", ports=[8000]),)
    )
    outcome = check_ports.run(context)
    assert outcome.status == "fail"
    assert outcome.message == "port 8000 for `engine` is taken by container `web` of project `shop`"
    assert "`services.engine.port`" in outcome.hint


def test_a_container_is_seen_also_where_the_daemon_publishes_without_a_process(make_context):
    context = make_context(ports=(ASKED,), containers=(give_container("web", ports=[8000]),))
    assert check_ports.run(context).message == "port 8000 for `engine` is taken by container `web`"


def test_a_process_of_root_is_told_apart_from_nobody(make_context, proc):
    row = "0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0  0 4242 1"
    (proc / "net/tcp").write_text(f"  sl  local_address ...\n   {row}\n")
    outcome = check_ports.run(make_context(ports=(ASKED,), world=TAKEN))
    assert outcome.message.endswith("is taken by a program of root, which this user may not look at")


def test_what_cannot_be_seen_at_all_is_said_so(make_context):
    outcome = check_ports.run(make_context(ports=(ASKED,), world=TAKEN))
    assert outcome.message.endswith("is taken by a program that this user may not see")


def test_an_automatic_port_that_was_just_taken_is_only_a_warning(make_context):
    outcome = check_ports.run(make_context(ports=(AUTO,), world=TAKEN))
    assert (outcome.status, outcome.why) == ("warn", "`up` finds another port by itself")


def test_a_service_that_moved_says_because_of_whom(make_context):
    context = make_context(ports=(AUTO,), containers=(give_container("other", ports=[9090]),))
    outcome = check_ports.run(context)
    assert outcome.message == "9091 (prometheus) free for us; 9090 is taken by container `other`"


def test_an_address_of_another_machine_fails(make_context):
    need = PortNeed("gateway", "203.0.113.9", 8080, is_asked=False)
    outcome = check_ports.run(make_context(ports=(need,), world={"probe_port": lambda address, port: "EADDRNOTAVAIL"}))
    assert (outcome.status, "no address of this machine" in outcome.message) == ("fail", True)


def test_a_port_that_only_root_may_bind_is_left_to_the_daemon(make_context):
    need = PortNeed("gateway", "127.0.0.1", 80, is_asked=True)
    assert check_ports.run(make_context(ports=(need,), world={"probe_port": lambda *a: "EACCES"})).status == "pass"


def test_the_real_probe_tells_a_taken_port_from_a_free_one():
    from stack.checks.host.world import probe_port

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert probe_port("127.0.0.1", port) == "EADDRINUSE"
    assert probe_port("127.0.0.1", port) is None


OTHER = {"project": "theirs", "tool": True}
CUDA = EngineNeed(device="cuda", gpu_indexes=(0,))
GPUS = GpuReport((Gpu(0, "GPU-aa", "RTX 4090", 24, 20, (8, 9)), Gpu(1, "GPU-bb", "RTX 4090", 24, 20, (8, 9))), "590")


def test_alone_on_the_machine(make_context):
    ours = give_container("mine-engine-1", project="mine", tool=True)
    strangers = give_container("vllm", project="else")
    assert check_other_stacks.run(make_context(containers=(ours, strangers))).status == "pass"


def test_another_projects_engine_takes_the_same_cores(make_context):
    context = make_context(engine=EngineNeed(device="cpu"), containers=(give_container("e", **OTHER),))
    outcome = check_other_stacks.run(context)
    assert (outcome.status, outcome.hint) == ("warn", "`stack down --project theirs` if it is not needed")


def test_one_that_ended_takes_nothing(make_context):
    context = make_context(engine=EngineNeed(device="cpu"), containers=(give_container("e", **OTHER, State="exited"),))
    assert check_other_stacks.run(context).status == "pass"


@pytest.mark.parametrize(
    ("gpus", "status"), [(["all"], "warn"), (["0"], "warn"), (["GPU-aa"], "warn"), (["1"], "pass"), ([], "pass")]
)
def test_the_same_gpu_is_recognised_by_index_and_uuid(make_context, monkeypatch, gpus, status):
    monkeypatch.setattr("stack.checks.host.check.read_gpus", lambda nvml, pci: GPUS)
    context = make_context(engine=CUDA, containers=(give_container("e", **OTHER, Gpus=gpus),))
    assert check_other_stacks.run(context).status == status

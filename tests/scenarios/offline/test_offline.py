"""What `up --offline` starts must be here already: what is not is named at once, and nothing tries to leave."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import pytest

from tests.fixtures.private_daemon import PrivateDaemon
from tests.fixtures.way_out import STRANGER, Left, WayOut
from tests.scenarios.harness import Stack, run_docker
from tests.scenarios.projects import render_config

pytestmark = pytest.mark.root

NOTHING = Left(0, 0, 0, 0)
SEND = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('{STRANGER}', 9))"
ASK = "timeout 2 python3 -c \"import socket; socket.getaddrinfo('example.com', 80)\" || true"
Make = Callable[..., Stack]


def copy_models(origin: Stack, there: Stack) -> None:
    shutil.copytree(origin.data, there.data, dirs_exist_ok=True)


@pytest.mark.fault(
    "`up --offline` on a machine where images or the model are missing",
    "every image and every file is named with the command that brings it, before anything starts; nobody is asked",
)
def test_what_is_missing_is_named_before_anything_starts_and_nobody_is_asked(
    make_stack: Make, make_there: Make, daemon: PrivateDaemon, way_out: WayOut, fake_engine: str
) -> None:
    config = render_config(fake_engine, watchers=["node-exporter"])
    there = make_there("missing", config)
    done = there.run("up", "--offline").demand(9)
    assert f"- the image of engine ({fake_engine}): its digest is not known yet" in done.err
    assert "- the image of node-exporter (docker.io/prom/node-exporter:" in done.err and ", sha256:" in done.err
    assert "- the model smollm2-135m-instruct at sha256:" in done.err and "    model.safetensors (" in done.err
    assert "stack bundle load FILE" in done.err and "services.node-exporter.enabled = false" in done.err
    doctor = there.run("doctor", "--offline", "--json").demand(3).json()
    findings = {finding["check"]: finding for finding in doctor["findings"]}
    assert "- the image of engine" in findings["decisions"]["message"]
    assert (findings["network"]["status"], findings["network"]["message"]) == ("skip", "offline: as asked")

    daemon.load_image(fake_engine)
    there.write_config(render_config(fake_engine))
    missing = there.run("up", "--offline").demand(7)
    assert "the image of" not in missing.err and "    tokenizer.json (" in missing.err
    assert "- the model smollm2" in there.run("warm", "--offline").demand(7).err
    assert there.containers() == {} and way_out.read() == NOTHING


def test_a_stack_whose_parts_are_here_runs_without_a_network(
    make_stack: Make, make_there: Make, daemon: PrivateDaemon, way_out: WayOut, fake_engine: str
) -> None:
    origin = make_stack("fetched", '[model]\nid = "demo"\n')
    origin.run("warm").demand()
    daemon.load_image(fake_engine)
    there = make_there("fake", f"offline = true\n{render_config(fake_engine)}")
    copy_models(origin, there)
    assert "offline: as asked" in there.run("doctor", "--offline").demand().out
    up = there.run("up", "--no-smoke").demand()
    assert "images.source = registry: offline: as asked" in up.err
    assert there.run("chat", "What is the capital of Japan?").demand().out.strip().endswith("Tokyo.")
    assert "nothing to do" in there.run("up", "--no-smoke").demand().err
    assert way_out.read() == NOTHING
    check_counters(there, daemon, way_out)


def check_counters(there: Stack, daemon: PrivateDaemon, way_out: WayOut) -> None:
    """Leave on purpose: a counter that cannot count proves nothing."""
    before = way_out.read()
    with daemon.network():
        subprocess.run(["python3", "-c", SEND], check=True)
    sent = way_out.read()
    assert (sent.processes, sent.packets) == (before.processes + 1, before.packets + 1)
    engine = there.containers()["engine"]["Id"]
    run_docker("exec", engine, "python3", "-c", SEND)
    assert way_out.read().containers == sent.containers + 1
    run_docker("exec", engine, "sh", "-c", ASK)
    assert way_out.read().containers > sent.containers + 1

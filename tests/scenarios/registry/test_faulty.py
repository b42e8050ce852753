"""A registry that fails while `stack up` pulls must cost nothing but time; pins of such: `cli/test_pin_refused.py`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from tests.fixtures.faulty_front import Fault, serve_front
from tests.fixtures.image_registry import Registry
from tests.scenarios.harness import Stack
from tests.scenarios.projects import render_config


@pytest.mark.fault(
    "A pull breaks off, and the registry fails for a moment",
    "`up` goes on with the pull: the daemon keeps whole layers, and the image has the locked digest",
)
def test_up_pulls_through_cut_layers_and_failing_answers(
    pushed: Registry, make_stack: Callable[..., Stack], fake_engine: str
) -> None:
    digest = pushed.push(fake_engine, "team/engine:1")
    with serve_front(pushed.host) as front:
        name = f"{front.host}/team/engine"
        stack = make_stack("faulty-up", render_config(f"{name}:1"))
        front.faults += [
            Fault("/blobs/", cut=0.5, times=2),
            Fault("/manifests/", status=503),
            Fault("/blobs/", status=503),
        ]
        stack.run("up", "--no-smoke").demand()
        assert all(fault.times == 0 for fault in front.faults), front.faults
        assert stack.containers()["engine"]["Config"]["Image"] == f"{name}@{digest}"
        stack.run("down").demand()
        subprocess.run(["docker", "rmi", "--force", f"{name}@{digest}"], capture_output=True)

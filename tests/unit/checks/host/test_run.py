"""The runner: whatever a check does, the run ends in time with a finding for each."""

from __future__ import annotations

import sys
import threading

import pytest

from stack.checks.host.check import HostCheck, HostContext, Outcome
from stack.checks.host.registry import load_checks
from stack.checks.host.run import run_host_checks
from stack.checks.host.target import HostTarget
from stack.checks.host.world import DockerReport, HostWorld, run_tool


def run(*checks: HostCheck, **options):
    return run_host_checks(HostContext(HostTarget("mine")), checks=checks, **options).findings


def passing(context):
    return Outcome("pass", "fine", data={"figure": 1}, why="because")


def throwing(context):
    raise RuntimeError("a strange machine")


def test_findings_come_in_the_order_of_the_checks_with_everything_that_they_said():
    first, second = run(HostCheck("b", passing, 1), HostCheck("a", passing, 2))
    assert (first.check, second.check) == ("b", "a")
    assert (first.status, first.message, first.why, first.data) == ("pass", "fine", "because", {"figure": 1})


@pytest.mark.parametrize(("is_decisive", "status"), [(False, "warn"), (True, "fail")])
def test_a_check_that_throws_is_a_finding_and_hides_no_other(is_decisive, status):
    broken, whole = run(HostCheck("a", throwing, 1, is_decisive=is_decisive), HostCheck("b", passing, 2))
    assert (broken.status, broken.message) == (status, "the check itself failed: RuntimeError: a strange machine")
    assert whole.status == "pass"


def test_a_tool_that_does_not_answer_in_time_refuses_nothing():
    def ask(context):
        run_tool((sys.executable, "-c", "import time; time.sleep(60)"), timeout_seconds=0.05)

    silent, whole = run(HostCheck("a", ask, 1, is_decisive=True), HostCheck("b", passing, 2))
    assert (silent.status, whole.status) == ("warn", "pass")
    assert "gave no answer within" in silent.message


def test_a_check_that_hangs_is_left_behind_and_the_others_are_not_kept_waiting():
    free = threading.Event()
    hung = HostCheck("a", lambda context: (free.wait(), Outcome("pass", "late"))[1], 1, limit_seconds=0.05)
    try:
        silent, whole = run(hung, HostCheck("b", passing, 2))
    finally:
        free.set()
    assert (silent.status, silent.message) == ("warn", "no answer within 0.05 s")
    assert whole.status == "pass"


def test_patience_gives_every_check_more_time():
    free = threading.Event()
    slow = HostCheck("a", lambda context: (free.wait(20), Outcome("pass", "late"))[1], 1, limit_seconds=0.01)
    threading.Timer(0.1, free.set).start()
    assert run(slow, patience=2000.0)[0].status == "pass"


def test_checks_run_side_by_side():
    barrier = threading.Barrier(2, timeout=20)
    together = [HostCheck(name, lambda context: (barrier.wait(), Outcome("pass", ""))[1], 1, limit_seconds=30)
                for name in ("a", "b")]  # fmt: skip
    assert [finding.status for finding in run(*together)] == ["pass", "pass"]


def test_the_preflight_runs_the_quick_ones_only():
    found = run(HostCheck("slow", throwing, 1), HostCheck("quick", passing, 2, is_quick=True), is_quick_only=True)
    assert [finding.check for finding in found] == ["quick"]


def test_without_a_daemon_what_needs_one_is_skipped_and_the_daemon_is_asked_once():
    asked = []
    world = HostWorld(ask_docker=lambda: (asked.append(1), DockerReport(problem="gone"))[1])
    checks = [HostCheck(name, throwing, 1, needs_docker=True) for name in ("a", "b", "c")]
    found = run_host_checks(HostContext(HostTarget("mine"), world), checks=checks).findings
    assert {(finding.status, finding.message) for finding in found} == {
        ("skip", "not asked: the Docker daemon does not answer")
    }
    assert asked == [1]


def test_every_check_of_the_registry_has_a_name_and_a_place_of_its_own():
    checks = load_checks()
    assert [check.order for check in checks] == sorted({check.order for check in checks})
    assert {"docker", "disk-space", "ports"} <= {check.name for check in checks if check.is_quick}
    assert not {"compose", "network", "model-access"} & {check.name for check in checks if check.is_quick}


def test_no_check_of_the_registry_stumbles_over_an_empty_machine(tmp_path):
    """Nothing of /proc, no tool, no daemon, no environment: a finding each, and none is `pass` by accident."""
    world = HostWorld(environ={}, proc=tmp_path, sys=tmp_path, root=tmp_path, home=tmp_path, uid=1000)
    report = run_host_checks(HostContext(HostTarget("mine"), world))
    assert {finding.check for finding in report.findings} == {check.name for check in load_checks()}
    assert all(finding.message for finding in report.findings)
    assert all(finding.why for finding in report.findings if finding.status in ("fail", "warn"))

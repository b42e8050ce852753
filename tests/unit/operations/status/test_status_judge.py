"""The overall state, judged from what Docker and the services said."""

from __future__ import annotations

import datetime

import pytest

from stack.containers.ownership import Foreign
from stack.history.records import SmokeRecord
from stack.operations.status.judge import Seen, describe_reasons, judge
from stack.telemetry.firing import FiringAlert
from stack.traffic.health import Probe

NOW = datetime.datetime(2026, 11, 22, 1, 0, tzinfo=datetime.UTC)
LATELY = NOW - datetime.timedelta(seconds=42)
LONG_AGO = NOW - datetime.timedelta(hours=5)
STRANGER = Foreign("other-engine-1", "nginx:1", "running", "this tool did not make it")
EXPLAIN = "stack logs engine | stack explain -"


@pytest.fixture
def look(make_state):
    """A function: changes to the engine's container, and what else was seen, give state and reasons."""

    def call(engine=None, *, prometheus=None, seen=None):
        states = {
            "engine": make_state(started_at=LONG_AGO, health="healthy", **(engine or {})),
            "prometheus": make_state("prometheus", started_at=LONG_AGO, **(prometheus or {})),
        }
        values = {"project": "mine", "services": states, "expected": ("engine", "prometheus"), "now": NOW}
        state, reasons = judge(Seen(**(values | (seen or {}))))
        return state, [(reason.service, reason.message, reason.hint) for reason in reasons]

    return call


def build(make_state, name="engine", **changes):
    return make_state(name, **({"started_at": LONG_AGO} | changes))


def test_what_runs_and_answers_is_up(look):
    probes = {"engine": Probe(True, "/health: 200"), "prometheus": Probe(True, "/-/ready: 200")}
    assert look(seen={"probes": probes}) == ("up", [])


ENGINES = [
    ({"state": "exited", "exit_code": 1}, "ended with exit status 1", EXPLAIN),
    ({"state": "exited", "exit_code": 143}, "ended with exit status 143 (SIGTERM)", "stack up"),
    ({"state": "exited", "exit_code": 0}, "crashed several times in a row and is not started any more", EXPLAIN),
    (
        {"state": "exited", "exit_code": 137, "was_oom_killed": True},
        "ended with exit status 137 (SIGKILL), killed for its memory", EXPLAIN,
    ),
    ({"state": "paused"}, "is paused", "docker unpause engine-01234"),
    ({"state": "created", "error": "no such file"}, "was never started: no such file", "stack up"),
    (
        {"state": "restarting", "exit_code": 1, "restart_count": 3},
        "ended with exit status 1; Docker starts it again (3 times so far)", EXPLAIN,
    ),
    ({"health": "unhealthy"}, "runs and Docker's health check fails", "stack logs engine"),
    (
        {"restart_count": 2, "started_at": LATELY}, "was restarted 2 times, the last time 42 s ago", EXPLAIN,
    ),
    (
        {"restart_count": 1, "started_at": LATELY, "was_oom_killed": True},
        "was restarted once, the last time 42 s ago; the kernel killed it for its memory", EXPLAIN,
    ),
    ({"was_oom_killed": True}, "runs, and the kernel killed a process of it for memory", EXPLAIN),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message", "hint"), ENGINES)
def test_each_trouble_of_an_engine_beside_a_prometheus_that_runs(make_state, changes, message, hint):
    services = {
        "engine": build(make_state, **({"health": "healthy"} | changes)),
        "prometheus": build(make_state, "prometheus"),
    }
    state, reasons = judge(Seen("mine", services, ("engine", "prometheus"), now=NOW))
    assert state == "degraded"
    assert [(item.service, item.message, item.hint) for item in reasons] == [("engine", message, hint)]


def test_a_restart_that_is_long_over_is_no_trouble(look):
    assert look({"restart_count": 7}) == ("up", [])


def test_a_clock_that_was_set_back_makes_no_negative_age(make_state):
    engine = build(make_state, restart_count=1, started_at=NOW + datetime.timedelta(hours=1))
    _, reasons = judge(Seen("mine", {"engine": engine}, ("engine",), now=NOW))
    assert reasons[0].message == "was restarted once, the last time 0 s ago"


def test_an_engine_that_boots_tells_its_phase(look):
    seen = {"probes": {"engine": Probe(False, "/health: connection refused")}, "phase": "phase `load` 20 %"}
    state, reasons = look(seen=seen)
    assert state == "degraded"
    assert reasons == [("engine", "is booting: phase `load` 20 %", "stack logs engine --follow")]


def test_an_engine_that_runs_and_does_not_answer_tells_what_docker_thought_of_it(look):
    _, reasons = look(seen={"probes": {"engine": Probe(False, "/health answers with HTTP 503")}})
    said = "runs and does not answer: /health answers with HTTP 503 (Docker's last check: healthy)"
    assert reasons == [("engine", said, "stack logs engine")]


def test_a_side_service_is_judged_by_its_answer_too(look):
    state, reasons = look(seen={"probes": {"prometheus": Probe(False, "/-/ready: connection refused")}})
    said = "runs and does not answer: /-/ready: connection refused"
    assert (state, reasons) == ("degraded", [("prometheus", said, "stack logs prometheus")])


def test_a_service_without_a_page_waits_for_dockers_own_check(look):
    assert look(prometheus={"health": "starting"})[1][0][1].startswith("is starting: ")


def test_what_should_run_and_has_no_container_is_missing(look):
    _, reasons = look(seen={"expected": ("engine", "prometheus", "node-exporter")})
    assert reasons == [("node-exporter", "its container is gone", "stack up")]


def test_a_failed_smoke_degrades_and_names_its_checks(look):
    checks = [{"check": "canaries", "status": "fail"}, {"check": "greedy", "status": "pass"}]
    smoke = SmokeRecord(1, 1, NOW, False, {"checks": checks})
    said = "the last smoke test failed at 2026-11-22 01:00:00 UTC (canaries)"
    assert look(seen={"smoke": smoke}) == ("degraded", [("engine", said, "stack smoke")])
    assert look(seen={"smoke": SmokeRecord(1, 1, NOW, True, {})}) == ("up", [])


def test_nothing_that_runs_is_down_and_says_why_where_it_crashed(make_state):
    assert judge(Seen("mine", {}, ("engine",), now=NOW)) == ("down", ())
    stopped = build(make_state, state="exited", exit_code=143)
    assert judge(Seen("mine", {"engine": stopped}, ("engine", "prometheus"), now=NOW)) == ("down", ())
    crashed = build(make_state, state="exited", exit_code=1)
    state, reasons = judge(Seen("mine", {"engine": crashed}, ("engine",), now=NOW))
    assert (state, [item.message for item in reasons]) == ("down", ["ended with exit status 1"])


def test_strangers_alone_are_foreign_and_beside_ours_a_reason(look):
    state, reasons = judge(Seen("mine", {}, ("engine",), foreign=(STRANGER,), now=NOW))
    said = "container `other-engine-1` bears this project's name, but this tool did not make it"
    assert (state, reasons[0].message, reasons[0].hint) == ("foreign", said, "docker rm -f other-engine-1")
    state, reasons = look(seen={"foreign": (STRANGER,)})
    assert (state, reasons[0][:2]) == ("degraded", (None, said))


def build_alert(name="GpuLost", severity="critical", **changes):
    values = {"since": "2026-11-22T00:58:00+00:00", "summary": "A GPU is gone", "labels": {}}
    return FiringAlert(name, severity, **(values | changes))


def test_a_critical_alert_that_fires_degrades_what_runs(look):
    state, reasons = look(seen={"alerts": (build_alert(),), "runbook": "/r.md"})
    said = "alert GpuLost fires since 2026-11-22 00:58:00 UTC: A GPU is gone"
    assert (state, reasons) == ("degraded", [(None, said, "less -p '## GpuLost' /r.md")])


def test_one_alert_about_two_gpus_is_one_reason_since_the_first(look):
    two = [build_alert(labels={"gpu": "0"}), build_alert(labels={"gpu": "1"}, since="2026-11-22T00:59:00+00:00")]
    (reason,) = look(seen={"alerts": (*two, build_alert("HostDiskFull"))})[1][:-1]
    assert "since 2026-11-22 00:58:00" in reason[1]


@pytest.mark.parametrize("severity", ["warning", "info", ""])
def test_an_alert_that_can_wait_degrades_nothing(look, severity):
    assert look(seen={"alerts": (build_alert(severity=severity),)}) == ("up", [])


@pytest.mark.parametrize("name", ["VllmEngineDown", "StackSmokeFailing", "VllmNumericDrift"])
def test_what_is_asked_here_is_not_taken_from_an_alert_that_may_be_older(look, name):
    assert look(seen={"alerts": (build_alert(name),)}) == ("up", [])


def test_reasons_make_one_sentence(make_state):
    crashed = build(make_state, state="exited", exit_code=1)
    _, reasons = judge(Seen("mine", {"engine": crashed}, (), foreign=(STRANGER,), now=NOW))
    assert describe_reasons(reasons) == (
        "container `other-engine-1` bears this project's name, but this tool did not make it; "
        "engine ended with exit status 1"
    )

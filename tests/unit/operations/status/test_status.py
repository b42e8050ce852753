"""What runs, as a document and as text; a daemon that answers from a table stands for the real one."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace

import pytest

from stack.checks.finding import Finding, Report
from stack.config.lock import Lock
from stack.history.records import BootRecord, BootStart, PhaseDelta, SmokeRecord
from stack.history.store import open_history
from stack.operations.chat.run import connect_chat
from stack.operations.engine_defaults import EngineDefault
from stack.operations.project import ProjectFacts, container_stamp, ensure_secret, write_facts
from stack.operations.smoke.run import needs_smoke
from stack.operations.status import read as module
from stack.operations.status.document import build_document
from stack.operations.status.drift import Drift
from stack.operations.status.engine import EngineStatus, read_served_name
from stack.operations.status.judge import Reason
from stack.operations.status.read import ServiceStatus, Status, find_digest, read_secrets, read_status
from stack.operations.status.summary import render_curl, render_summary
from stack.operations.status.verdict import RUNBOOK, Verdict
from stack.operations.up.outcome import BootResult, UpResult
from stack.operations.up.plan import Plan, Step
from stack.telemetry.firing import FiringAlert

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISION = "89abcdef0123456789abcdef0123456789abcdef"
DIGEST = "sha256:" + "d" * 64
STARTED = datetime.datetime(2026, 11, 21, 22, 0, tzinfo=datetime.UTC)
ARGV = ["/models/acme--tiny@89abcdef0123", "--served-model-name", "tiny", "--enforce-eager"]
START = BootStart(
    kind="k", started_at=STARTED, commit=COMMIT, commit_level="verified", version="0.31.0",
    image_digest=DIGEST, image_id="sha256:" + "e" * 64, model="acme/tiny", revision=REVISION, device="cpu",
    args={"argv": ARGV}, log_path="/state/boots/1.log",
)  # fmt: skip
BOOT = BootRecord(1, START, "none", 26.3, "ready", {"start": 20.0, "load": 1.25, "first-token": 0.1})
SMOKE = SmokeRecord(1, 1, STARTED + datetime.timedelta(minutes=1), True, {})


CLIENT = object()
ENGINE = EngineStatus(
    commit=COMMIT, commit_level="verified", version="0.31.0", model="acme/tiny", revision=REVISION,
    served_name="tiny", device="cpu", image_id="sha256:" + "e" * 64, image_digest=DIGEST,
)  # fmt: skip
UP = Verdict("up", (), (), {})
DOWN = Verdict("down", (), (), {})


@pytest.fixture
def run_on(monkeypatch, make_inspected):
    """A function: containers with these states are what runs; changes go to every document."""

    def call(*states, **changes):
        def read(client, project):
            return [make_inspected(state, project, **changes) for state in states]

        monkeypatch.setattr(module, "read_attributes", read)
        monkeypatch.setattr(module, "read_image", lambda client, name: {"Id": name, "RepoDigests": []})

    return call


@pytest.fixture
def record_boot():
    """A function: a session's history knows this boot, and maybe its smoke."""

    def call(session, *, smoke=None):
        session.paths.state.mkdir(parents=True, exist_ok=True)
        history = open_history(session.paths.history)
        boot_id = history.record_boot(START)
        for phase, seconds in BOOT.phases.items():
            history.record_phase(boot_id, phase, seconds)
        history.finish_boot(boot_id, "ready", total_seconds=26.3)
        if smoke is not None:
            history.record_smoke(boot_id, started_at=SMOKE.started_at, passed=smoke, report={})
        return boot_id

    return call


@pytest.fixture
def make_status(make_state):
    """A function: a status of an engine and Prometheus that run."""

    def call(**changes):
        engine = make_state(host_port=8001, health="healthy")
        prometheus = make_state("prometheus", host_port=9091)
        states = {"engine": engine, "prometheus": prometheus}
        services = (
            ServiceStatus("engine", "running", "healthy", "http://127.0.0.1:8001", engine.image, DIGEST),
            ServiceStatus("prometheus", "running", None, "http://127.0.0.1:9091", prometheus.image, DIGEST),
        )
        values = {
            "project": "mine",
            "services": services,
            "engine": ENGINE,
            "boot": BOOT,
            "smoke": SMOKE,
            "states": states,
            "facts": ProjectFacts(ports={"engine": 8001}, ready_container=container_stamp(engine)),
            "lock": Lock(),
        }
        return Status(**(values | changes))

    return call


def test_nothing_runs_where_nothing_was_started(make_session, run_on):
    run_on()
    status = read_status(make_session(), CLIENT)
    assert (status.services, status.boot, status.smoke, status.is_serving) == ((), None, None, False)


def test_services_come_in_their_order_with_urls_and_digests(make_session, make_state, run_on):
    run_on(make_state("prometheus", host_port=9091), make_state("engine", host_port=8001), make_state("node-exporter"))
    shown = [(item.name, item.url, item.digest) for item in read_status(make_session(), CLIENT).services]
    assert shown == [
        ("engine", "http://127.0.0.1:8001", DIGEST),
        ("prometheus", "http://127.0.0.1:9091", DIGEST),
        ("node-exporter", None, DIGEST),
    ]


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("192.0.2.7", "http://192.0.2.7:8080"),
        ("2001:db8::7", "http://[2001:db8::7]:8080"),
    ],
)
def test_the_gateway_is_shown_where_it_listens(make_session, make_state, run_on, address, url):
    run_on(make_state("gateway", host_port=8080))
    session = make_session(f'[services.gateway]\nexpose = true\naddress = "{address}"\n')
    assert read_status(session, CLIENT).services[0].url == url


def test_a_lost_state_does_not_lose_the_addresses(make_session, make_state, run_on):
    run_on(make_state(host_port=8017))
    session = make_session()
    session.paths.state.mkdir(parents=True)
    session.paths.facts.write_text("{damaged")
    status = read_status(session, CLIENT)
    assert (status.services[0].url, status.ports) == ("http://127.0.0.1:8017", {"engine": 8017})
    assert connect_chat(replace(session, connect=lambda: CLIENT)) is not None


def test_a_stopped_service_is_shown_where_it_was(make_session, make_state, run_on):
    run_on(make_state(state="exited"))
    session = make_session()
    write_facts(session.paths.facts, ProjectFacts(ports={"engine": 8001}))
    service = read_status(session, CLIENT).services[0]
    assert (service.state, service.url) == ("exited", "http://127.0.0.1:8001")


@pytest.mark.parametrize(
    ("image", "repo_digests", "digest"),
    [
        (f"docker.io/a/b@{DIGEST}", ["docker.io/other/c@sha256:" + "0" * 64], DIGEST),
        ("a/b:tag", [f"a/b@{DIGEST}"], DIGEST),
        ("localhost/stack/engine:x", [], None),
    ],
)
def test_the_digest_is_the_one_that_the_image_was_started_with(image, repo_digests, digest):
    assert find_digest(image, repo_digests) == digest


def test_the_last_boot_and_its_smoke_are_read_from_the_history(make_session, make_state, run_on, record_boot):
    run_on(make_state(host_port=8001), Config={"Cmd": ARGV})
    session = make_session()
    boot_id = record_boot(session, smoke=True)
    write_facts(session.paths.facts, ProjectFacts(last_boot=boot_id))
    status = read_status(session, CLIENT)
    assert status.boot.start.commit == COMMIT
    assert (status.smoke.passed, status.served_name, status.is_serving) == (True, "tiny", True)


@pytest.mark.parametrize(
    ("argv", "name"), [(ARGV, "tiny"), (["/models/x"], None), ([], None), (["/models/x", "--served-model-name"], None)]
)
def test_the_served_name_is_what_the_engine_was_started_with(argv, name):
    assert read_served_name(argv) == name


def test_the_document_of_a_running_stack(make_status):
    document = build_document(make_status(), UP)
    assert json.loads(json.dumps(document)) == document
    assert document["schema_version"] == 1
    assert list(document) == [
        "schema_version", "project", "state", "reasons", "drift", "foreign", "alerts", "left_out", "services", "engine",
        "boot", "smoke",
    ]  # fmt: skip
    assert {"name", "state", "health", "url", "image", "digest"} < set(document["services"][0])
    engine = {name: document["engine"][name] for name in ("commit", "commit_level", "version", "model", "revision")}
    assert engine == {
        "commit": COMMIT, "commit_level": "verified", "version": "0.31.0", "model": "acme/tiny", "revision": REVISION,
    }  # fmt: skip
    assert document["boot"]["phases"] == {"start": 20.0, "load": 1.25, "first-token": 0.1}
    assert document["smoke"] == {"passed": True, "started_at": "2026-11-21T22:01:00+00:00"}
    assert "secrets" not in document


def test_the_document_of_nothing_is_whole(make_status):
    document = build_document(make_status(services=(), engine=None, boot=None, smoke=None, states={}), DOWN)
    assert (document["services"], document["engine"], document["boot"], document["smoke"]) == ([], None, None, None)


def test_secrets_are_told_only_when_they_were_asked_for(make_session, make_status):
    session = make_session()
    ensure_secret(session.paths, "api_key")
    secrets = read_secrets(session)
    assert set(secrets) == {"api_key"}
    assert secrets["api_key"] not in json.dumps(build_document(make_status(), UP))
    assert build_document(make_status(), UP, secrets)["secrets"] == secrets


SUMMARY = f"""\
project `mine`: up

SERVICE     STATE             URL
engine      running, healthy  http://127.0.0.1:8001
prometheus  running           http://127.0.0.1:9091

model     acme/tiny @ {REVISION}, served as `tiny`
vLLM      commit {COMMIT} (verified), version 0.31.0
image     docker.io/acme/engine@{DIGEST}
          {DIGEST}
boot      26 s (eager, nothing to compile): start 20.0 s, load 1.2 s, first-token 0.1 s
          log /state/boots/1.log

smoke     passed at 2026-11-21 22:01:00 UTC
config    CONFIG
state     STATE

curl -s http://127.0.0.1:8001/v1/chat/completions -H 'Content-Type: application/json' -d '{{"model": "tiny", \
"messages": [{{"role": "user", "content": "What is the capital of Germany?"}}], "max_tokens": 64, "temperature": 0}}'"""


def test_the_whole_text_of_status(make_session, make_status):
    session = make_session()
    text = render_summary(session, make_status(), UP)
    shown = text.replace(str(session.loaded.path), "CONFIG").replace(str(session.paths.state), "STATE")
    assert shown == SUMMARY


def test_the_text_of_a_stack_that_does_not_run(make_session, make_status):
    session = make_session(None)
    text = render_summary(session, make_status(services=(), engine=None, boot=None, smoke=None, states={}), DOWN)
    assert text == (
        f"project `mine`: nothing runs\n\nconfig    defaults, no stack.toml\nstate     {session.paths.state}"
    )


def test_what_is_left_out_is_shown_with_its_reason(make_session, make_status):
    verdict = replace(UP, left_out={"grafana": "no registry answers"})
    text = render_summary(make_session(), make_status(), verdict)
    assert "grafana     left out          no registry answers\n" in text


REPORT = Report(
    findings=(
        Finding("services", "pass", "all run"),
        Finding("canaries", "fail", "Paris lost"),
        Finding("grafana", "skip", "no image"),
        Finding("greedy", "warn", "a near tie"),
    ),
    seconds=6.2,
)


def test_the_summary_of_up_tells_what_was_chosen_what_was_slow_and_what_failed(make_session, make_status):
    delta = PhaseDelta("load", 9.0, 3.0)
    from_nothing = PhaseDelta("compile", 7.0, 0.0)
    quick = PhaseDelta("server", 0.3, 0.1)
    boot = BootResult(1, (), 26.3, "none", [delta, from_nothing, quick, PhaseDelta("graphs", None, 1.0)], 30.2, "/log")
    up = UpResult(None, Plan(()), boot=boot, defaults=[EngineDefault("max-model-len", "auto", "fits")])
    text = render_summary(make_session(), make_status(), UP, up, REPORT)
    assert "          load took 9.0 s, in the last boot of this kind 3.0 s\n" in text
    assert "          compile took 7.0 s, in the last boot of this kind 0.0 s\n" in text
    assert "server took" not in text and "graphs took" not in text
    assert "          then 30 s for the first request of each kind, so that smoke waits for none\n" in text
    assert "chosen engine args\n  max-model-len = auto: fits\n" in text
    assert (
        "smoke     FAILED: 1 passed, 1 failed, 1 warned, 1 skipped in 6.2 s\n"
        "          fail canaries: Paris lost\n"
        "          skip grafana: no image\n"
    ) in text


def test_an_engine_that_was_restarted_since_says_so(make_session, make_status):
    text = render_summary(make_session(), make_status(facts=ProjectFacts(ports={"engine": 8001})), UP)
    assert "the engine was started again since; these are the phases of the boot before" in text


def test_a_boot_that_has_not_ended_says_so(make_session, make_status):
    boot = BootRecord(1, START, "unknown", None, None, {})
    assert "boot      not finished" in render_summary(make_session(), make_status(boot=boot), UP)


def test_a_smoke_that_never_ran_is_offered(make_session, make_status):
    assert "smoke     not run; `stack smoke` runs it" in render_summary(make_session(), make_status(smoke=None), UP)


def test_an_image_made_here_is_shown_by_its_id(make_session, make_status):
    engine = replace(ENGINE, image_digest=None, revision="sha256:" + "9" * 64)
    text = render_summary(make_session(), make_status(engine=engine), UP)
    assert f"{START.image_id} (image ID; it was made here, so it has no digest)" in text
    assert "model     acme/tiny @ 999999999999, served as" in text


def test_the_pasted_line_shows_a_key_by_its_file_and_never_by_its_value(make_session, make_status):
    session = make_session("[engine]\napi-key = true\n")
    key = ensure_secret(session.paths, "api_key")
    line = render_curl(session, make_status())
    assert f"-H \"Authorization: Bearer $(cat '{key}')\"" in line
    assert key.read_text() not in line


def test_a_name_with_a_quote_does_not_end_the_pasted_line(make_session, make_status):
    line = render_curl(make_session(), make_status(engine=replace(ENGINE, served_name="o'brien")))
    assert line.count("'") == 4
    assert json.loads(line.rpartition(" -d ")[2].strip("'"))["model"] == "o'brien"


@pytest.mark.parametrize(("steps", "smoke", "needed"), [
    ((Step("services", "start", "x"),), True, True),
    ((), None, True),
    ((), False, True),
    ((), True, False),
])  # fmt: skip
def test_up_tests_after_a_change_and_until_the_boot_has_passed(
    make_session, make_state, run_on, record_boot, monkeypatch, steps, smoke, needed
):
    run_on(make_state(host_port=8001))
    session = make_session(connect=lambda: CLIENT)
    boot_id = record_boot(session, smoke=smoke)
    write_facts(session.paths.facts, ProjectFacts(last_boot=boot_id))
    assert needs_smoke(session, UpResult(None, Plan(steps))) is needed


def test_what_is_wrong_and_what_differs_comes_first_each_with_its_command(make_session, make_status):
    verdict = Verdict(
        "degraded",
        (
            Reason("prometheus", "ended with exit status 0", "stack up"),
            Reason(None, "container `x` is foreign", "docker rm -f x"),
        ),
        (Drift("engine", "arg max-model-len", "1024", "auto"), Drift("grafana", "service", "enabled", None)),
        {},
    )
    text = render_summary(make_session(), make_status(), verdict)
    assert text.startswith(
        "project `mine`: degraded\n"
        "  prometheus: ended with exit status 0; `stack up`\n"
        "  container `x` is foreign; `docker rm -f x`\n"
        "what runs is not what stack.toml and stack.lock say; `stack up` mends it\n"
        "  engine: arg max-model-len: `1024` wanted, `auto` found\n"
        "  grafana: service: `enabled` wanted, missing\n"
    )
    document = build_document(make_status(), verdict)
    assert document["reasons"][0] == {
        "service": "prometheus", "message": "ended with exit status 0", "hint": "stack up",
    }  # fmt: skip
    assert document["drift"][0] == {
        "service": "engine", "what": "arg max-model-len", "wanted": "1024", "found": "auto", "hint": "stack up",
    }  # fmt: skip


ALERTS = (
    FiringAlert("GpuLost", "critical", "2026-11-22T00:58:00+00:00", "A GPU is gone", {"gpu": "0"}),
    FiringAlert("GpuLost", "critical", "2026-11-22T00:59:00+00:00", "A GPU is gone", {"gpu": "1"}),
    FiringAlert("VllmQueueNotDraining", "", "2026-11-22T01:02:03+00:00", "Requests queue", {"model_name": "m"}),
)


def test_alerts_that_fire_are_told_once_for_each_name_with_where_to_read_on(make_session, make_status):
    verdict = Verdict("degraded", (), (), {}, ALERTS)
    text = render_summary(make_session(), make_status(), verdict)
    assert (
        f"alerts    2 firing; each has a heading in {RUNBOOK}\n"
        "          GpuLost (critical) 2 times since 2026-11-22 00:58:00 UTC: A GPU is gone\n"
        "          VllmQueueNotDraining (no severity) since 2026-11-22 01:02:03 UTC: Requests queue\n"
    ) in text
    assert build_document(make_status(), verdict)["alerts"][2] == {
        "name": "VllmQueueNotDraining", "severity": "", "since": "2026-11-22T01:02:03+00:00",
        "summary": "Requests queue", "labels": {"model_name": "m"},
    }  # fmt: skip


@pytest.mark.parametrize("alerts", [(), None])
def test_where_no_alert_fires_none_is_told(make_session, make_status, alerts):
    verdict = Verdict("up", (), (), {}, alerts)
    assert "alerts" not in render_summary(make_session(), make_status(), verdict)
    assert build_document(make_status(), verdict)["alerts"] == (None if alerts is None else [])


def test_an_engine_of_another_image_than_the_history_knows_is_read_from_its_labels(
    make_session, make_state, run_on, record_boot, monkeypatch
):
    run_on(make_state(host_port=8001, image_id="sha256:" + "7" * 64), Config={"Cmd": ["/models/other@1", "--x"]})
    labels = {"org.opencontainers.image.revision": "f" * 40, "org.opencontainers.image.version": "0.30.0"}
    monkeypatch.setattr(module, "read_image", lambda client, name: {"Id": name, "Config": {"Labels": labels}})
    session = make_session()
    write_facts(session.paths.facts, ProjectFacts(last_boot=record_boot(session)))
    engine = read_status(session, CLIENT).engine
    assert (engine.commit, engine.commit_level, engine.version) == ("f" * 40, "claimed", "0.30.0")
    assert (engine.model, engine.revision, engine.image_id) == ("other", None, "sha256:" + "7" * 64)


def test_without_an_engine_nothing_is_told_of_one_that_once_ran(make_session, make_state, run_on, record_boot):
    run_on(make_state("prometheus"))
    session = make_session()
    write_facts(session.paths.facts, ProjectFacts(last_boot=record_boot(session)))
    status = read_status(session, CLIENT)
    assert (status.engine, status.served_name) == (None, None)
    assert status.boot is not None


def test_a_history_that_cannot_be_read_takes_nothing_else_away(make_session, make_state, run_on, said):
    run_on(make_state(host_port=8001))
    session = make_session()
    write_facts(session.paths.facts, ProjectFacts(last_boot=1))
    session.paths.history.write_text("not a database, but long enough to be one" * 20)
    status = read_status(session, CLIENT)
    assert (status.boot, status.is_serving) == (None, True)
    assert said[0].startswith("the last boot and smoke are not known: the history at ")

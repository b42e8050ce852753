"""What runs, as a document and as text; a daemon that answers from a table stands for the real one."""

from __future__ import annotations

import datetime
import json

import pytest

from stack.checks.finding import Finding, Report
from stack.config.lock import Lock
from stack.history.records import BootRecord, BootStart, PhaseDelta, SmokeRecord
from stack.history.store import open_history
from stack.operations import status as module
from stack.operations.chat import connect_chat
from stack.operations.engine_defaults import EngineDefault
from stack.operations.outcome import BootResult, UpResult
from stack.operations.plan import Plan, Step
from stack.operations.plan_up import container_stamp
from stack.operations.project import ProjectFacts, ensure_secret, write_facts
from stack.operations.smoke import needs_smoke
from stack.operations.status import (
    ServiceStatus,
    Status,
    build_document,
    find_digest,
    read_secrets,
    read_served_name,
    read_status,
)
from stack.operations.summary import render_curl, render_summary

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


class FakeDaemon:
    """`read_services` and `read_image` of the daemon room."""

    def __init__(self, states=(), repo_digests=()):
        self.states = {state.name: state for state in states}
        self.repo_digests = list(repo_digests)

    def read_services(self, client, project):
        return self.states

    def read_image(self, client, name):
        return {"Id": name, "RepoDigests": self.repo_digests}


@pytest.fixture
def run_on(monkeypatch):
    """A function: these containers are what runs."""

    def call(*states, repo_digests=()):
        daemon = FakeDaemon(states, repo_digests)
        monkeypatch.setattr(module, "check_tools", lambda session: None)
        monkeypatch.setattr(module, "read_services", daemon.read_services)
        monkeypatch.setattr(module, "read_image", daemon.read_image)

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
            "boot": BOOT,
            "smoke": SMOKE,
            "served_name": "tiny",
            "states": states,
            "facts": ProjectFacts(ports={"engine": 8001}, ready_container=container_stamp(engine)),
            "lock": Lock(),
        }
        return Status(**(values | changes))

    return call


def test_nothing_runs_where_nothing_was_started(make_session, run_on):
    run_on()
    status = read_status(make_session())
    assert (status.services, status.boot, status.smoke, status.is_serving) == ((), None, None, False)


def test_services_come_in_their_order_with_urls_and_digests(make_session, make_state, run_on):
    run_on(make_state("prometheus", host_port=9091), make_state("engine", host_port=8001), make_state("node-exporter"))
    shown = [(item.name, item.url, item.digest) for item in read_status(make_session()).services]
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
    assert read_status(session).services[0].url == url


def test_a_lost_state_does_not_lose_the_addresses(make_session, make_state, run_on):
    run_on(make_state(host_port=8017))
    session = make_session()
    session.paths.state.mkdir(parents=True)
    session.paths.facts.write_text("{damaged")
    status = read_status(session)
    assert (status.services[0].url, status.ports) == ("http://127.0.0.1:8017", {"engine": 8017})
    assert connect_chat(session) is not None


def test_a_stopped_service_is_shown_where_it_was(make_session, make_state, run_on):
    run_on(make_state(state="exited"))
    session = make_session()
    write_facts(session.paths.facts, ProjectFacts(ports={"engine": 8001}))
    service = read_status(session).services[0]
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
    run_on(make_state(host_port=8001))
    session = make_session()
    boot_id = record_boot(session, smoke=True)
    write_facts(session.paths.facts, ProjectFacts(last_boot=boot_id))
    status = read_status(session)
    assert status.boot.start.commit == COMMIT
    assert (status.smoke.passed, status.served_name, status.is_serving) == (True, "tiny", True)


@pytest.mark.parametrize(("argv", "name"), [(ARGV, "tiny"), (["/models/x"], None), (None, None)])
def test_the_served_name_is_what_the_engine_was_started_with(argv, name):
    start = BootStart(**(vars(START) | {"args": {} if argv is None else {"argv": argv}}))
    assert read_served_name(BootRecord(1, start, "unknown", None, None, {})) == name


def test_the_document_of_a_running_stack(make_status):
    document = build_document(make_status())
    assert json.loads(json.dumps(document)) == document
    assert document["schema_version"] == 1
    assert set(document["services"][0]) == {"name", "state", "health", "url", "image", "digest"}
    engine = {name: document["engine"][name] for name in ("commit", "commit_level", "version", "model", "revision")}
    assert engine == {
        "commit": COMMIT, "commit_level": "verified", "version": "0.31.0", "model": "acme/tiny", "revision": REVISION,
    }  # fmt: skip
    assert document["boot"]["phases"] == {"start": 20.0, "load": 1.25, "first-token": 0.1}
    assert document["smoke"] == {"passed": True, "started_at": "2026-11-21T22:01:00+00:00"}
    assert "secrets" not in document


def test_the_document_of_nothing_is_whole(make_status):
    document = build_document(make_status(services=(), boot=None, smoke=None, states={}))
    assert (document["services"], document["engine"], document["boot"], document["smoke"]) == ([], None, None, None)


def test_secrets_are_told_only_when_they_were_asked_for(make_session, make_status):
    session = make_session()
    ensure_secret(session.paths, "api_key")
    secrets = read_secrets(session)
    assert set(secrets) == {"api_key"}
    assert secrets["api_key"] not in json.dumps(build_document(make_status()))
    assert build_document(make_status(), secrets)["secrets"] == secrets


SUMMARY = f"""\
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
    text = render_summary(session, make_status())
    shown = text.replace(str(session.loaded.path), "CONFIG").replace(str(session.paths.state), "STATE")
    assert shown == SUMMARY


def test_the_text_of_a_stack_that_does_not_run(make_session, make_status):
    session = make_session(None)
    text = render_summary(session, make_status(services=(), boot=None, smoke=None, states={}))
    assert text == (
        f"project `mine`: nothing runs\n\nconfig    defaults, no stack.toml\nstate     {session.paths.state}"
    )


def test_what_is_left_out_is_shown_with_its_reason(make_session, make_status):
    facts = ProjectFacts(ports={"engine": 8001}, left_out={"grafana": "no registry answers"})
    text = render_summary(make_session(), make_status(facts=facts))
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
    delta = PhaseDelta("load", 9.0, 3.0, 3.0)
    quick = PhaseDelta("server", 0.3, 0.1, 3.0)
    boot = BootResult(1, (), 26.3, "none", [delta, quick, PhaseDelta("graphs", None, 1.0, None)], 0.5, "/log")
    up = UpResult(None, Plan(()), boot=boot, defaults=[EngineDefault("max-model-len", "auto", "fits")])
    text = render_summary(make_session(), make_status(), up, REPORT)
    assert "          load took 9.0 s, in the last boot of this kind 3.0 s\n" in text
    assert "server took" not in text and "graphs took" not in text
    assert "chosen engine args\n  max-model-len = auto: fits\n" in text
    assert (
        "smoke     FAILED: 1 passed, 1 failed, 1 warned, 1 skipped in 6.2 s\n"
        "          fail canaries: Paris lost\n"
        "          skip grafana: no image\n"
    ) in text


def test_an_engine_that_was_restarted_since_says_so(make_session, make_status):
    text = render_summary(make_session(), make_status(facts=ProjectFacts(ports={"engine": 8001})))
    assert "the engine was started again since; these are the phases of the boot before" in text


def test_a_boot_that_has_not_ended_says_so(make_session, make_status):
    boot = BootRecord(1, START, "unknown", None, None, {})
    assert "boot      not finished" in render_summary(make_session(), make_status(boot=boot))


def test_a_smoke_that_never_ran_is_offered(make_session, make_status):
    assert "smoke     not run; `stack smoke` runs it" in render_summary(make_session(), make_status(smoke=None))


def test_an_image_made_here_is_shown_by_its_id(make_session, make_status):
    start = BootStart(**(vars(START) | {"image_digest": None, "revision": "sha256:" + "9" * 64}))
    text = render_summary(make_session(), make_status(boot=BootRecord(1, start, "none", 26.3, "ready", {})))
    assert f"{START.image_id} (image ID; it was made here, so it has no digest)" in text
    assert "model     acme/tiny @ 999999999999, served as" in text


def test_the_pasted_line_shows_a_key_by_its_file_and_never_by_its_value(make_session, make_status):
    session = make_session("[engine]\napi-key = true\n")
    key = ensure_secret(session.paths, "api_key")
    line = render_curl(session, make_status())
    assert f"-H \"Authorization: Bearer $(cat '{key}')\"" in line
    assert key.read_text() not in line


def test_a_name_with_a_quote_does_not_end_the_pasted_line(make_session, make_status):
    line = render_curl(make_session(), make_status(served_name="o'brien"))
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
    session = make_session()
    boot_id = record_boot(session, smoke=smoke)
    write_facts(session.paths.facts, ProjectFacts(last_boot=boot_id))
    assert needs_smoke(session, UpResult(None, Plan(steps))) is needed

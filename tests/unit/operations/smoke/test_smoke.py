"""What `stack smoke` hands to the checks, and what it keeps of their findings."""

from __future__ import annotations

import datetime
from types import SimpleNamespace

import httpx2
import pytest

from stack.checks.finding import Baseline, Finding, Report
from stack.config.lock import Lock, LockedEngine, LockedImage
from stack.errors import NotRunningError, StackError
from stack.history.records import BootRecord, BootStart
from stack.history.store import open_history
from stack.operations.project import ProjectFacts, container_stamp, ensure_secret
from stack.operations.smoke import run as smoke
from stack.operations.smoke.run import build_target, run
from stack.operations.smoke.watchers import GrafanaFacts, PrometheusFacts
from stack.operations.status.engine import EngineStatus
from stack.operations.status.read import ServiceStatus, Status

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "89abcdef0123456789abcdef0123456789abcdef"
DIGEST = "sha256:" + "d" * 64
STARTED = datetime.datetime(2026, 11, 21, 22, 0, tzinfo=datetime.UTC)
ARGV = ["/models/m", "--served-model-name", "tiny", "--enforce-eager", "--max-num-seqs", "4"]
BASELINE = Baseline("abc", {"english": 1.9}, {"english": 0.02})


def build_start(**changes):
    values = {
        "kind": "k", "started_at": STARTED, "commit": COMMIT, "commit_level": "claimed", "version": "0.31.0",
        "image_digest": None, "image_id": "sha256:" + "e" * 64, "model": "acme/tiny", "revision": "abc",
        "device": "cpu", "args": {"argv": ARGV},
    }  # fmt: skip
    return BootStart(**(values | changes))


@pytest.fixture
def http():
    with httpx2.Client(transport=httpx2.MockTransport(lambda request: httpx2.Response(500))) as client:
        yield client


@pytest.fixture
def history(make_session):
    session = make_session()
    session.paths.state.mkdir(parents=True)
    return open_history(session.paths.history)


@pytest.fixture
def make_status(make_state):
    def call(*names, **changes):
        ports = {"engine": 8001, "prometheus": 9091, "grafana": 3001}
        states = {name: make_state(name, host_port=ports.get(name)) for name in ("engine", *names)}
        values = {
            "project": "mine",
            "services": (ServiceStatus("engine", "running", "healthy", "http://x", "x", DIGEST),),
            "boot": BootRecord(1, build_start(), "none", 26.0, "ready", {}),
            "smoke": None,
            "engine": EngineStatus(
                COMMIT, "claimed", "0.31.0", "acme/tiny", "abc", "tiny", "cpu", "sha256:" + "e" * 64, None
            ),
            "states": states,
            "facts": ProjectFacts(image_ids={states["engine"].image: "sha256:" + "e" * 64}),
            "lock": Lock(
                engine=LockedEngine(commit=COMMIT, version="0.31.0"),
                images={"engine/cpu": LockedImage(reference="a/b", digest=DIGEST, source="registry")},
            ),
        }
        return Status(**(values | changes))

    return call


@pytest.fixture
def target(make_session, make_status, history, http):
    """A function: stack.toml and services give what the checks get."""

    def call(toml="", *names, **changes):
        return build_target(make_session(toml), make_status(*names, **changes), history, http)

    return call


def test_the_engine_is_asked_as_it_was_started(target):
    found = target()
    assert (found.served_name, found.max_num_seqs, found.api_key) == ("tiny", 4, None)
    assert (found.model.id, found.model.revision) == ("acme/tiny", "abc")


def test_a_restart_is_news_until_up_followed_it_or_it_lasted(target, make_state):
    now = datetime.datetime.now(datetime.UTC)
    engine = make_state(started_at=now, restart_count=1, host_port=8001)

    def count(facts, *states):
        found = target(states={state.name: state for state in states}, facts=facts).services
        return {service.name: service.restart_count for service in found}

    long_ago = make_state("prometheus", started_at=now - datetime.timedelta(hours=1), restart_count=2)
    just_now = make_state("grafana", started_at=now, restart_count=3)
    assert count(ProjectFacts(), engine, long_ago, just_now) == {"engine": 1, "prometheus": 0, "grafana": 3}
    assert count(ProjectFacts(ready_container=container_stamp(engine)), engine) == {"engine": 0}
    earlier = make_state(started_at=now - datetime.timedelta(seconds=5))
    assert count(ProjectFacts(ready_container=container_stamp(earlier)), engine) == {"engine": 1}


def test_a_key_that_is_demanded_is_shown(target, make_session):
    key = ensure_secret(make_session().paths, "api_key").read_text()
    assert target("[engine]\napi-key = true\n").api_key == key
    assert target().api_key is None


def test_the_identity_is_held_against_the_lock(target):
    identity = target().identity
    assert (identity.expected_commit, identity.found_commit, identity.found_level) == (COMMIT, COMMIT, "claimed")
    assert (identity.expected_digest, identity.found_digest) == (DIGEST, DIGEST)
    assert identity.expected_image_id == identity.found_image_id
    assert identity.accepted_level == "claimed"


def test_a_pinned_commit_must_be_verified_unless_a_claim_is_accepted(target):
    pinned = f'[engine]\ncommit = "{OTHER}"\n'
    assert target(pinned).identity.expected_commit == OTHER
    assert target(pinned).identity.accepted_level == "verified"
    assert target(pinned + 'accept = "claimed"\n').identity.accepted_level == "claimed"


def test_only_what_can_be_missing_is_optional(target):
    required = {item.name: item.is_required for item in target("", "prometheus", "grafana", "node-exporter").services}
    assert required == {"engine": True, "prometheus": True, "grafana": False, "node-exporter": False}


def test_prometheus_is_asked_where_it_runs(target):
    assert target().prometheus is None
    assert isinstance(target("", "prometheus").prometheus, PrometheusFacts)


def test_grafana_is_skipped_with_the_reason(target, make_session):
    assert target("[services.grafana]\nenabled = false\n").grafana_skip == (
        "Grafana is switched off in the configuration"
    )
    assert "not part of this stack" in target().grafana_skip
    assert "Grafana's password is gone" in target("", "grafana").grafana_skip
    ensure_secret(make_session().paths, "grafana_password")
    found = target("", "grafana")
    assert isinstance(found.grafana, GrafanaFacts)
    assert found.grafana_skip == ""


def test_the_users_canaries_and_texts_reach_the_checks(target):
    toml = (
        "[smoke]\nconcurrency = 3\ntimeout-seconds = 7\ntexts = ['The sun rises in the east and sets.']\n"
        "[[smoke.canaries]]\nprompt = 'Two plus two is'\nright = ' four'\nwrong = [' five']\n"
    )
    config = target(toml).config
    assert (config.concurrency, config.timeout_seconds, len(config.texts)) == (3, 7.0, 1)
    assert (config.canaries[0].kind, config.canaries[0].wrong) == ("completion", (" five",))


def test_every_shipped_dashboard_must_be_there(target):
    assert "overview" in target().dashboard_uids


def test_a_baseline_is_the_one_of_this_model_in_this_mode(target, history):
    history.save_baseline('["acme/tiny","abc","auto eager","cpu"]', BASELINE.to_document())
    assert target().baseline == BASELINE
    compiled = BootRecord(1, build_start(args={"argv": ["/m"]}), "warm", 26.0, "ready", {})
    assert target(boot=compiled).baseline is None


def test_a_baseline_of_another_form_counts_as_none(target, history):
    history.save_baseline('["acme/tiny","abc","auto eager","cpu"]', {"something": "else"})
    assert target().baseline is None


@pytest.fixture
def running(make_status, monkeypatch):
    """A function: this report is what the checks find on a running stack; it gives what they were asked on."""
    targets = []

    def call(report, **changes):
        status = make_status(**changes)
        monkeypatch.setattr(smoke, "read_status", lambda session: status)
        monkeypatch.setattr(smoke, "run_smoke", lambda target, on_finding: targets.append(target) or report)
        return targets

    return call


def record_boot(session):
    session.paths.metrics.mkdir(parents=True)
    history = open_history(session.paths.history)
    history.record_boot(build_start())
    return history


@pytest.mark.parametrize("status", ["pass", "fail"])
def test_a_result_is_kept_and_told_to_prometheus(make_session, running, status):
    session = make_session()
    history = record_boot(session)
    running(Report(findings=(Finding("canaries", status, "Paris"),), seconds=2.0, baseline=BASELINE))
    report = run(session)
    kept = history.last_smoke()
    assert (kept.boot_id, kept.passed) == (1, report.is_passed)
    assert 'check="canaries"' in "".join(path.read_text() for path in session.paths.metrics.iterdir())


def test_the_first_good_run_becomes_the_baseline_and_later_ones_do_not_move_it(make_session, running):
    session = make_session()
    history = record_boot(session)
    key = '["acme/tiny","abc","auto eager","cpu"]'
    running(Report(findings=(), baseline=BASELINE))
    run(session)
    assert Baseline.from_document(history.load_baseline(key).scores) == BASELINE
    running(Report(findings=(), baseline=Baseline("abc", {"english": 5.0}, {"english": 1.0})))
    run(session)
    assert Baseline.from_document(history.load_baseline(key).scores) == BASELINE


def test_a_new_baseline_takes_the_place_of_the_old_one_when_it_is_asked_for(make_session, running):
    session = make_session()
    history = record_boot(session)
    key, new = '["acme/tiny","abc","auto eager","cpu"]', Baseline("abc", {"english": 5.0}, {"english": 1.0})
    history.save_baseline(key, BASELINE.to_document())
    running(Report(findings=(), baseline=new))
    run(session, begins_baseline=True)
    assert Baseline.from_document(history.load_baseline(key).scores) == new


def test_nothing_is_tested_where_nothing_runs(make_session, running):
    running(None, services=())
    with pytest.raises(NotRunningError):
        run(make_session())


def test_an_engine_of_which_nothing_is_known_is_not_called_stopped(make_session, running):
    running(None, boot=None)
    with pytest.raises(StackError) as caught:
        run(make_session())
    assert "the engine runs, but" in caught.value.message
    assert caught.value.hint == "`stack up` looks at it anew"


def test_nobody_waits_for_rules_that_are_judged_once_a_minute():
    rules = [
        SimpleNamespace(group="g", name=f"{health} {seconds}", health=health, last_error="", interval_seconds=seconds)
        for health in ("ok", "err", "unknown")
        for seconds in (5.0, 60.0)
    ]
    found = PrometheusFacts(SimpleNamespace(fetch_rules=lambda: rules)).rules()
    assert [item.name for item in found] == ["ok 5.0", "ok 60.0", "err 5.0", "err 60.0", "unknown 5.0"]


def test_answers_of_prometheus_and_grafana_are_handed_on_as_they_came():
    api = SimpleNamespace(
        fetch_targets=lambda: [SimpleNamespace(job="vllm", url="http://x", health="up", last_error="")],
        fetch_rules=lambda: [SimpleNamespace(group="g", name="n", health="ok", last_error="", interval_seconds=5.0)],
        query=lambda expression: [SimpleNamespace(labels={"job": "vllm"}, value=1.0)],
    )
    prometheus = PrometheusFacts(api)
    assert [item.job for item in prometheus.targets()] == ["vllm"]
    assert [item.name for item in prometheus.rules()] == ["n"]
    assert prometheus.query("up") == [({"job": "vllm"}, 1.0)]
    grafana = GrafanaFacts(
        SimpleNamespace(
            fetch_health=lambda: SimpleNamespace(database="ok"),
            fetch_datasource_health=lambda uid: SimpleNamespace(status="OK", message=uid),
            fetch_dashboards=lambda: [SimpleNamespace(uid="overview")],
        )
    )
    assert (grafana.health(), grafana.datasource_health(), grafana.dashboards()) == (
        "ok", ("OK", "prometheus"), ["overview"],
    )  # fmt: skip

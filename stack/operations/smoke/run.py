"""`stack smoke`: hand the facts of the running stack to the checks, and keep what they found."""

from __future__ import annotations

import datetime
from dataclasses import replace

import httpx2

from stack.assets import asset_path
from stack.checks.finding import Baseline, Finding, Report
from stack.checks.report import build_document
from stack.checks.smoke.known_baselines import find_known_baseline
from stack.checks.smoke.run import run_smoke
from stack.checks.smoke.target import (
    Canary,
    IdentityFacts,
    ModelFacts,
    ServiceFacts,
    SmokeConfig,
    SmokeTarget,
)
from stack.containers.daemon import ServiceState
from stack.errors import NotRunningError, StackError
from stack.history.records import baseline_key
from stack.history.store import History
from stack.models.facts import ModelFacts as FileFacts
from stack.models.facts import build_model_facts
from stack.models.warm import list_snapshots
from stack.operations.access import GRAFANA_PASSWORD, read_api_key, read_secret
from stack.operations.annotations.kinds import annotate_smoke
from stack.operations.engine_client import build_engine
from stack.operations.history.open import open_project_history
from stack.operations.project import container_stamp
from stack.operations.run_metrics import write_metrics
from stack.operations.session import Session, wait_for_others
from stack.operations.smoke.contract import ContractFacts
from stack.operations.smoke.watchers import GrafanaFacts, PrometheusFacts
from stack.operations.status.judge import SETTLED_SECONDS
from stack.operations.status.read import Status, read_status
from stack.operations.up.outcome import UpResult
from stack.progress import ProgressEvent
from stack.telemetry.grafana_api import GrafanaApi
from stack.telemetry.prometheus_api import PrometheusApi

_OPTIONAL = ("alertmanager", "grafana", "node-exporter", "dcgm-exporter")


def run(session: Session, *, begins_baseline: bool = False) -> Report:
    """Test the running stack, and record the result.

    Args:
        session: The run of the tool.
        begins_baseline: Whether its likelihoods are to be the measure of later runs, whatever earlier ones were.

    Raises:
        NotRunningError: Nothing runs that could be tested.
    """
    # What an `up` is still bringing cannot be judged, nor what a `down` is taking away.
    wait_for_others(session, "smoke")
    status = read_status(session)
    if not status.is_serving:
        raise NotRunningError("engine", session.project)
    if status.boot is None:
        raise StackError(
            "the engine runs, but what it was started with is not known here any more",
            hint="`stack up` looks at it anew",
        )
    history = open_project_history(session)
    with httpx2.Client(trust_env=False) as http:
        target = build_target(session, status, history, http)
        if begins_baseline:
            target = replace(target, baseline=None)
        started = datetime.datetime.now(datetime.UTC)
        session.report(ProgressEvent("smoke", "running the checks"))
        report = run_smoke(target, on_finding=lambda finding: session.report(to_event(finding)))
        verdict = "passed" if report.is_passed else "failed"
        session.report(ProgressEvent("smoke", verdict, state="done" if report.is_passed else "failed"))
    history.record_smoke(status.boot.id, started_at=started, passed=report.is_passed, report=build_document(report))
    if report.baseline is not None and target.baseline is None:
        history.save_baseline(_baseline_key(status), report.baseline.to_document())
    write_metrics(session, history)
    annotate_smoke(session, report, started)
    return report


def build_target(session: Session, status: Status, history: History, http: httpx2.Client) -> SmokeTarget:
    """Put together everything that the checks may ask."""
    assert status.boot is not None
    config = session.config
    file_facts = _read_file_facts(session, status)
    engine = build_engine(session, status.ports["engine"], status.served_name)
    argv = list(status.boot.start.args.get("argv", []))
    prometheus = _build_prometheus(status, http)
    grafana, grafana_skip = _build_grafana(session, status, http)
    return SmokeTarget(
        engine=engine,
        served_name=status.served_name or "",
        model=ModelFacts(
            id=status.boot.start.model,
            revision=status.boot.start.revision or "",
            is_pooling=bool(file_facts and file_facts.is_pooling),
            is_reasoning=bool(file_facts and file_facts.is_reasoning),
            has_chat_template=bool(file_facts and file_facts.has_chat_template) or "--chat-template" in argv,
            vocab_size=file_facts.vocab_size if file_facts else None,
        ),
        services=tuple(_build_service(state, status.facts.ready_container) for state in status.states.values()),
        identity=_build_identity(session, status),
        max_num_seqs=int(argv[argv.index("--max-num-seqs") + 1]) if "--max-num-seqs" in argv else None,
        api_key=read_api_key(config, session.paths),
        prometheus=prometheus,
        grafana=grafana,
        grafana_skip=grafana_skip,
        contract=ContractFacts(
            session.paths.rendered,
            engine.fetch_metrics,
            version=status.engine.version if status.engine is not None else None,
            api=prometheus.api if prometheus is not None else None,
            scrape_interval_seconds=config.services.prometheus.scrape_interval_seconds,
        ),
        dashboard_uids=tuple(path.stem for path in sorted(asset_path("grafana", "dashboards").glob("*.json"))),
        baseline=_read_baseline(history, status),
        config=SmokeConfig(
            canaries=tuple(Canary(c.kind, c.prompt, c.right, tuple(c.wrong)) for c in config.smoke.canaries),
            texts=tuple(config.smoke.texts),
            concurrency=config.smoke.concurrency,
            timeout_seconds=float(config.smoke.timeout_seconds),
        ),
    )


def _read_file_facts(session: Session, status: Status) -> FileFacts | None:
    assert status.boot is not None
    start = status.boot.start
    for snapshot in list_snapshots(session.config.model.volume):
        if snapshot.id == start.model and snapshot.revision == start.revision:
            return build_model_facts(snapshot.path)
    return None


def _build_service(state: ServiceState, followed: str | None) -> ServiceFacts:
    age = datetime.datetime.now(datetime.UTC) - state.started_at if state.started_at else datetime.timedelta()
    # A start that `up` followed to a first token, or that has lasted since, is no news any more.
    is_past = container_stamp(state) == followed or age.total_seconds() >= SETTLED_SECONDS
    return ServiceFacts(
        name=state.name,
        state=state.state,
        health=state.health,
        restart_count=0 if is_past else state.restart_count,
        started_at=state.started_at.isoformat() if state.started_at else None,
        is_required=state.name not in _OPTIONAL,
    )


def _build_identity(session: Session, status: Status) -> IdentityFacts:
    assert status.engine is not None
    running, locked = status.engine, status.lock.engine
    engine = status.states["engine"]
    key = f"engine/{running.device}"
    image = status.lock.images.get(key)
    digest = next((service.digest for service in status.services if service.name == "engine"), None)
    return IdentityFacts(
        expected_commit=session.config.engine.commit or (locked.commit if locked else None),
        found_commit=running.commit,
        found_level=running.commit_level,
        accepted_level="claimed" if session.config.engine.commit is None else session.config.engine.accept,
        expected_digest=image.digest if image else None,
        found_digest=digest or running.image_digest,
        expected_image_id=status.facts.image_ids.get(engine.image),
        found_image_id=engine.image_id,
        expected_version=locked.version if locked else None,
    )


def _build_prometheus(status: Status, http: httpx2.Client) -> PrometheusFacts | None:
    if "prometheus" not in status.states or "prometheus" not in status.ports:
        return None
    return PrometheusFacts(PrometheusApi(http, f"http://127.0.0.1:{status.ports['prometheus']}"))


def _build_grafana(session: Session, status: Status, http: httpx2.Client) -> tuple[GrafanaFacts | None, str]:
    if not session.config.services.grafana.enabled:
        return None, "Grafana is switched off in the configuration"
    if "grafana" not in status.states or "grafana" not in status.ports:
        return None, "Grafana is not part of this stack: its image comes from a container registry only"
    path = session.paths.secrets / GRAFANA_PASSWORD
    if not path.is_file():
        return None, f"Grafana's password is gone ({path}); `stack down` and `stack up` set a new one"
    password = read_secret(path)
    url = f"http://127.0.0.1:{status.ports['grafana']}"
    return GrafanaFacts(GrafanaApi(http, url, user="admin", password=password)), ""


def _read_baseline(history: History, status: Status) -> Baseline | None:
    saved = history.load_baseline(_baseline_key(status))
    try:
        return Baseline.from_document(saved.scores) if saved is not None else _find_known(status)
    except ValueError:
        # Written by another version: this run makes a new one.
        return None


def _find_known(status: Status) -> Baseline | None:
    """Give the shipped baseline of a model that we know, unless the engine was told to compute otherwise."""
    assert status.boot is not None
    argv = " ".join(status.boot.start.args.get("argv", []))
    if any(flag in argv for flag in ("--dtype", "--quantization", "--hf-overrides", "--rope", "--kv-cache-dtype")):
        return None
    return find_known_baseline(status.boot.start.revision or "")


def _baseline_key(status: Status) -> str:
    assert status.boot is not None
    start = status.boot.start
    argv = list(start.args.get("argv", []))
    dtype = str(argv[argv.index("--dtype") + 1]) if "--dtype" in argv else "auto"
    mode = f"{dtype} {'eager' if '--enforce-eager' in argv else 'compiled'}"
    return baseline_key(model=start.model, revision=start.revision, dtype=mode, device=start.device)


def to_event(finding: Finding) -> ProgressEvent:
    """Give a finding as progress; the report itself is printed when all are there."""
    return ProgressEvent("smoke", f"{finding.check}: {finding.status}")


def needs_smoke(session: Session, up: UpResult) -> bool:
    """Tell whether `up` should test: after any change, and where this boot has not passed yet."""
    if up.plan.steps:
        return True
    status = read_status(session)
    return status.smoke is None or not status.smoke.passed

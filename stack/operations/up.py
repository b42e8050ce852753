"""`stack up`: from a configuration to a served, watched and tested model, doing only what is missing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import docker
import httpx2

from stack.config.engine_limits import check_engine_limits
from stack.config.host_paths import check_host_paths
from stack.containers.daemon import ServiceState, read_services
from stack.containers.layout import Layout
from stack.containers.render import render_json, render_override
from stack.errors import CommandError, ConfigError, ImageError
from stack.models.ensure import ensure_snapshot
from stack.models.facts import build_model_facts
from stack.models.hub_access import load_token
from stack.models.snapshot import Snapshot
from stack.models.warm import read_into_page_cache
from stack.operations.access import GRAFANA_PASSWORD, read_secret, restore_grafana_login
from stack.operations.assemble import (
    EngineChoice,
    build_layout,
    engine_uid,
    render_files,
    write_files,
    write_secrets,
)
from stack.operations.choices import narrow_to_one_gpu
from stack.operations.engine_defaults import EngineDefault, choose_engine_defaults
from stack.operations.fetch_images import ImageFetcher
from stack.operations.identify import identify_engine
from stack.operations.outcome import UpResult
from stack.operations.plan import Plan, Step, run_plan
from stack.operations.project import ProjectFacts, make_folders, write_facts
from stack.operations.record import write_lock_entries
from stack.operations.resolve import Resolved, resolve
from stack.operations.run_engine import follow_boot
from stack.operations.session import Session, build_project, check_tools, hold_project
from stack.telemetry.grafana_api import GrafanaApi

REQUIRED = ("engine", "prometheus")


def run_up(session: Session, *, dry_run: bool = False) -> UpResult:
    """Bring the stack up to what the configuration says; the smoke test is the caller's next step.

    Raises:
        StackError: What failed, after everything that did not depend on it was finished.
    """
    problems = check_host_paths(session.config)
    if problems:
        raise ConfigError(problems)
    client = check_tools(session)
    if dry_run:
        resolved = resolve(session, client)
        check_engine(session, resolved)
        return UpResult(resolved, build_plan(session, resolved))
    with hold_project(session, "up"):
        resolved = resolve(session, client)
        check_engine(session, resolved)
        for choice in resolved.choices:
            session.say(str(choice))
        make_folders(session.paths, engine_uid())
        return _Up(session, client, resolved, build_plan(session, resolved)).run()


def check_engine(session: Session, resolved: Resolved) -> None:
    """Hold the engine args against the device that `auto` came to.

    Raises:
        ConfigError: They do not fit.
    """
    config = session.config.engine
    devices = (
        list(resolved.device.devices)
        if isinstance(resolved.device.devices, tuple)
        else resolved.device.devices
    )
    problems = check_engine_limits(config.args, device=resolved.device.device, devices=devices)
    if problems:
        raise ConfigError(problems)


def build_plan(session: Session, resolved: Resolved) -> Plan:
    """Give the steps that are missing, each with its cause."""
    steps = [*_plan_images(resolved), *_plan_model(session, resolved)]
    fetched = tuple(step.name for step in steps)
    causes = (
        find_service_causes(session, resolved) if not fetched else _guess_service_causes(session, resolved)
    )
    if causes:
        steps.append(Step("services", _describe_services(causes), _describe_causes(causes), fetched))
    if "engine" in causes or not _is_ready_container(resolved):
        cause = causes.get("engine", "the engine has not given a token yet")
        steps.append(Step("boot", "wait for the first token and warm the engine", cause, ("services",)))
    return Plan(tuple(steps))


def find_service_causes(session: Session, resolved: Resolved) -> dict[str, str]:
    """Compare what runs with what should, by Compose's own hashes; give the reason for each difference."""
    assert resolved.snapshot is not None
    layout, _ = assemble(session, resolved, resolved.snapshot, _needed_names(resolved))
    with tempfile.TemporaryDirectory(prefix="stack-plan-") as folder:
        override = Path(folder, "override.json")
        override.write_text(render_json(render_override(layout)))
        hashes = build_project(session, layout, override).read_hashes()
    causes = {}
    for name in layout.services:
        state = resolved.running.get(name)
        if state is None or state.state != "running":
            causes[name] = "it is not running" if state is None else f"it is {state.state}"
        elif state.config_hash != hashes[name]:
            causes[name] = "its definition changed"
    for name, state in resolved.running.items():
        if name not in layout.services and state.state == "running":
            causes[name] = "it is not part of the stack any more"
    return causes


def assemble(
    session: Session, resolved: Resolved, snapshot: Snapshot, images: Mapping[str, str]
) -> tuple[Layout, list[EngineDefault]]:
    """Give the layout of what should run, and the engine args that the tool chose for it."""
    config = session.config
    facts = build_model_facts(snapshot.path)
    device = narrow_to_one_gpu(resolved.device, facts.attention_heads, dict(config.engine.args))
    defaults = choose_engine_defaults(
        device.device,
        config.engine.args,
        gpus=device.gpus,
        heads=facts.attention_heads,
        memory_bytes=read_total_memory_bytes(),
    )
    choice = EngineChoice(
        device=device.device,
        devices=device.devices,
        args={default.name: default.value for default in defaults} | dict(config.engine.args),
        served_name=config.model.served_name or snapshot.served_name,
    )
    files = render_files(config, list(images))
    layout = build_layout(
        config,
        choice,
        images,
        resolved.left_out,
        snapshot,
        resolved.ports,
        session.paths,
        files,
        read_total_memory_bytes(),
    )
    return layout, defaults


def read_total_memory_bytes() -> int:
    """Give this machine's memory."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


class _Up:
    """One execution of a plan: what one step finds, the next one takes."""

    def __init__(self, session: Session, client: docker.DockerClient, resolved: Resolved, plan: Plan) -> None:
        self.session = session
        self.client = client
        self.resolved = resolved
        self.plan = plan
        self.images = dict(_needed_names(resolved))
        self.snapshot = resolved.snapshot
        self.fetcher = ImageFetcher(session, client, resolved)
        self.result = UpResult(resolved, plan, warnings=list(resolved.device.warnings))

    def run(self) -> UpResult:
        fetches = [step for step in self.plan.steps if step.name not in ("services", "boot")]
        actions = {step.name: self._build_action(step.name) for step in fetches}
        run_plan(fetches, actions)
        self._finish_fetching()
        result = self.result
        result.snapshot = self._require_snapshot()
        result.layout, result.defaults = assemble(
            self.session, self.resolved, self._require_snapshot(), self.images
        )
        result.identity = identify_engine(
            self.session, self.client, self.resolved, self.fetcher, self.images["engine"]
        )
        write_lock_entries(
            self.session, self.resolved, self.fetcher, result.identity, self._require_snapshot()
        )
        before = self.resolved.running.get("engine")
        if self.plan.has("services"):
            self._start_services(result.layout)
        after = read_services(self.client, self.session.project)
        if self.plan.has("boot") or _is_other(before, after.get("engine")):
            result.boot = follow_boot(self.session, result, after.get("engine"))
        self._restore_grafana(after)
        result.states = read_services(self.client, self.session.project)
        self._remember(result)
        return result

    def _build_action(self, name: str) -> Callable[[], None]:
        if name == "model":
            return self._fetch_model
        if name == "page cache":
            return lambda: self._warm_page_cache()
        if name == "image base":
            return self.fetcher.build_base
        service = name.removeprefix("image ")
        return lambda: self._fetch_image(service)

    def _fetch_image(self, service: str) -> None:
        try:
            self.images[service] = self.fetcher.fetch(self.resolved.needs[service])
        except ImageError as err:
            if service in REQUIRED:
                raise
            self.images.pop(service, None)
            self.result.warnings.append(f"`{service}` is left out: {err.message}")

    def _fetch_model(self) -> None:
        config, resolved = self.session.config, self.resolved
        self.snapshot = ensure_snapshot(
            resolved.reference,
            revision=config.model.revision,
            volume=config.model.volume,
            endpoint=config.model.endpoint,
            token=load_token(config.model.token_file, self.session.environ),
            environ=self.session.environ,
            report=self.session.report,
            locked_revision=resolved.locked_revision,
        )

    def _warm_page_cache(self) -> None:
        read_into_page_cache(self._require_snapshot(), self.session.report)

    def _finish_fetching(self) -> None:
        if self.snapshot is not None and not self.plan.has("model"):
            # Nothing had to be fetched; a file that was changed or cut since must still be found before the start.
            self._fetch_model()

    def _start_services(self, layout: Layout) -> None:
        session = self.session
        write_files(session.paths, render_files(session.config, list(layout.services)))
        write_secrets(session.config, layout, session.paths)
        session.paths.override.write_text(render_json(render_override(layout)))
        project = build_project(session, layout)
        gone = [name for name in self.resolved.running if name not in layout.services]
        if gone:
            project.stop(gone)
        facts = ProjectFacts(
            ports=dict(self.resolved.ports), image_ids=self.fetcher.image_ids(), last_boot=None
        )
        write_facts(session.paths.facts, facts)
        project.up(list(layout.services))

    def _restore_grafana(self, states: Mapping[str, ServiceState]) -> None:
        grafana = states.get("grafana")
        if grafana is None or not self.plan.has("services"):
            return
        password = read_secret(self.session.paths.secrets / GRAFANA_PASSWORD)
        with httpx2.Client(trust_env=False) as http:
            url = f"http://127.0.0.1:{self.resolved.ports['grafana']}"
            api = GrafanaApi(http, url, user="admin", password=password)
            try:
                said = restore_grafana_login(api, grafana.container_id, password)
            except CommandError as err:
                said = f"{err.message}: {err.stderr.strip()[-200:]}"
        if said not in ("accepted", "reset"):
            self.result.warnings.append(f"Grafana: {said}")

    def _remember(self, result: UpResult) -> None:
        engine = result.states.get("engine")
        facts = ProjectFacts(
            ports=dict(self.resolved.ports),
            image_ids=self.fetcher.image_ids(),
            last_boot=result.boot.boot_id if result.boot else self.resolved.facts.last_boot,
            ready_container=container_stamp(engine) if engine else None,
        )
        write_facts(self.session.paths.facts, facts)

    def _require_snapshot(self) -> Snapshot:
        assert self.snapshot is not None, "the model step gives a snapshot or raises"
        return self.snapshot


def container_stamp(state: ServiceState) -> str:
    """Give what names one start of one container."""
    started = state.started_at.isoformat() if state.started_at else ""
    return f"{state.container_id}@{started}"


def _is_ready_container(resolved: Resolved) -> bool:
    engine = resolved.running.get("engine")
    return engine is not None and resolved.facts.ready_container == container_stamp(engine)


def _is_other(before: ServiceState | None, after: ServiceState | None) -> bool:
    return after is not None and (before is None or container_stamp(before) != container_stamp(after))


def _needed_names(resolved: Resolved) -> dict[str, str]:
    return {service: need.name for service, need in resolved.needs.items()}


def _plan_images(resolved: Resolved) -> list[Step]:
    steps = []
    builds = [need for need in resolved.needs.values() if need.action == "build"]
    if builds:
        recipe = builds[0].recipe
        assert recipe is not None
        steps.append(Step("image base", f"make {recipe.base.tag}", "images are built from packages"))
    for service, need in resolved.needs.items():
        if need.action != "none":
            after = ("image base",) if need.action == "build" else ()
            steps.append(Step(f"image {service}", f"{need.action} {need.name}", need.cause, after))
    return steps


def _plan_model(session: Session, resolved: Resolved) -> list[Step]:
    engine = resolved.running.get("engine")
    if resolved.snapshot is None:
        cause = "its files are not on the shared volume"
        return [
            Step("model", f"fetch {resolved.reference.id}", cause),
            Step(
                "page cache", "read the weights into memory", "the engine is about to load them", ("model",)
            ),
        ]
    if engine is None or engine.state != "running":
        cause = "the engine is about to load them"
        return [Step("page cache", f"read the weights of {resolved.snapshot.id} into memory", cause)]
    return []


def _guess_service_causes(session: Session, resolved: Resolved) -> dict[str, str]:
    if resolved.snapshot is not None and not any(need.action == "pull" for need in resolved.needs.values()):
        return find_service_causes(session, resolved)
    causes = {}
    for service, need in resolved.needs.items():
        state = resolved.running.get(service)
        if state is None or state.state != "running":
            causes[service] = "it is not running"
        elif need.action != "none":
            causes[service] = "its image changes"
        elif service == "engine" and resolved.snapshot is None:
            causes[service] = "its model changes"
    return causes


def _describe_services(causes: Mapping[str, str]) -> str:
    return "start, change or stop " + ", ".join(causes)


def _describe_causes(causes: Mapping[str, str]) -> str:
    return "; ".join(f"{service}: {cause}" for service, cause in causes.items())

"""One run of `stack up`: what its plan says is done, and what one step finds, the next one takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import docker

from stack.containers.daemon import ServiceState, read_services
from stack.containers.layout import Layout
from stack.containers.render import render_json, render_override
from stack.errors import CommandError, StackError
from stack.failures.catalogue import is_told
from stack.models.ensure import ensure_snapshot
from stack.models.hub_access import load_token
from stack.models.snapshot import Snapshot
from stack.operations.access import open_grafana
from stack.operations.annotations.kinds import annotate_boot
from stack.operations.boot import page_cache
from stack.operations.boot.follow import follow_boot
from stack.operations.boot.page_cache import BackgroundReader
from stack.operations.doctor import gpu_test
from stack.operations.images.fetch import ImageFetcher
from stack.operations.images.identify import identify_engine
from stack.operations.layout.decide import check_readable, decide_layout
from stack.operations.layout.files import render_files, write_files, write_secrets
from stack.operations.lock_entries import check_locked_files, write_lock_entries
from stack.operations.logs.keep import keep_engine_log
from stack.operations.offline import REASON
from stack.operations.ports import check_asked_ports, choose_ports, describe_moves, find_owner_by
from stack.operations.project import ProjectFacts, container_stamp, write_facts
from stack.operations.session import Session, build_project
from stack.operations.up.outcome import UpResult
from stack.operations.up.plan import run_plan
from stack.operations.write import write_whole
from stack.progress import ProgressEvent

_PORT_ATTEMPTS = 3
# Without these there is nothing to serve or nothing to see; any other service can be missing.
REQUIRED = ("engine", "prometheus")


class UpRun:
    """One execution of a plan.

    Args:
        session: The run of the tool.
        client: A connection to the daemon.
        result: What was decided, and the plan; it is filled on the way.
    """

    def __init__(self, session: Session, client: docker.DockerClient, result: UpResult) -> None:
        resolved = result.resolved
        self.session = session
        self.client = client
        self.resolved = resolved
        self.plan = result.plan
        self.images = {service: need.name for service, need in resolved.needs.items()}
        self.missing: dict[str, str] = {}
        self.snapshot = resolved.snapshot
        self.fetcher = ImageFetcher(session, client, resolved)
        self.result = result
        self.reader = BackgroundReader(session.report, result.timeline)

    def run(self) -> UpResult:
        """Do it, and give the result.

        Raises:
            StackError: What failed, after everything that did not depend on it was finished.
        """
        try:
            return self._run()
        finally:
            self.reader.close()

    def _run(self) -> UpResult:
        result, timeline = self.result, self.result.timeline
        self._fetch()
        result.snapshot = self._require_snapshot()
        check_readable(result.snapshot)
        # Before the layout: what reads a key is started anew when the key is another one.
        write_secrets(self.session.config, list(self.images), self.session.paths)
        self._decide()
        engine, known = self.images["engine"], self.fetcher.image_ids()
        result.identity = identify_engine(self.session, self.client, self.resolved, engine, known)
        result.lock_text = write_lock_entries(
            self.session, self.resolved, self.fetcher, result.identity, result.snapshot
        )
        before = self.resolved.running.get("engine")
        if before is not None and self.plan.has("boot"):
            # Its container may be made anew, and its log goes with it.
            keep_engine_log(self.session, self.client, before)
        if self.plan.has("services"):
            with timeline.measure("services"):
                self._start_services()
        elif self.plan.steps:
            # The state may be lost while its containers run on; at a reboot they look for these files.
            self._write_rendered(self._require_layout())
        after = read_services(self.client, self.session.project)
        if self.plan.has("boot") or _is_other(before, after.get("engine")):
            with timeline.measure("boot"):
                result.boot = follow_boot(self.session, result, after.get("engine"))
        self._restore_grafana(after)
        if result.boot is not None:
            annotate_boot(self.session, result.boot.boot_id)
        result.states = read_services(self.client, self.session.project)
        self._remember(result)
        return result

    def _fetch(self) -> None:
        fetches = [step for step in self.plan.steps if step.name not in ("services", "boot")]
        actions = {step.name: self._build_action(step.name) for step in fetches}
        try:
            run_plan(fetches, actions)
        except KeyboardInterrupt:
            # The threads that wait for builds do not hear of it.
            self.fetcher.stop()
            raise

    def _build_action(self, name: str) -> Callable[[], None]:
        if name == page_cache.STEP:
            return lambda: self.reader.start(self._require_snapshot())
        actions = {
            "model": self._fetch_model,
            "image base": self.fetcher.build_base,
            gpu_test.STEP: self._test_gpu,
        }
        action = actions.get(name) or (lambda: self._fetch_image(name.removeprefix("image ")))
        return self.result.timeline.measure(name)(action)

    def _fetch_image(self, service: str) -> None:
        try:
            self.images[service] = self.fetcher.fetch(self.resolved.needs[service])
        except StackError as err:
            if service in REQUIRED:
                raise
            self.images.pop(service, None)
            self.missing[service] = err.message
            self._warn(f"`{service}` is left out: {err.message}")

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
            offline_reason=REASON if config.offline else None,
        )
        check_locked_files(resolved.lock, self.snapshot)

    def _test_gpu(self) -> None:
        self.result.gpu_test = gpu_test.demand_gpu_test(
            self.client, self.images["engine"], self.resolved.device, self.session.config.engine.env
        )

    def _decide(self) -> None:
        """Settle the layout; ports anew, because fetching may have taken minutes in which somebody took one."""
        config, resolved = self.session.config, self.resolved
        ports = choose_ports(config, list(self.images), resolved.facts.ports, resolved.running)
        find_owner = find_owner_by(self.client)
        check_asked_ports(config, ports, resolved.running, find_owner)
        for move in describe_moves(config, ports, resolved.ports, {}, find_owner):
            self.session.say(move)
        left_out = dict(resolved.left_out) | self.missing
        self.resolved = self.result.resolved = replace(resolved, ports=ports, left_out=left_out)
        self.result.layout, self.result.defaults = decide_layout(
            self.session, self.resolved, self._require_snapshot(), self.images
        )

    def _start_services(self) -> None:
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            try:
                self._apply(self._require_layout())
                self.session.report(ProgressEvent("services", "started", state="done"))
                return
            except CommandError as err:
                if attempt == _PORT_ATTEMPTS or not is_told("port-taken", err.stderr):
                    raise
                taken = self.resolved.ports
                self._decide()
                if self.resolved.ports == taken:
                    raise

    def _apply(self, layout: Layout) -> None:
        session = self.session
        self._write_rendered(layout)
        session.report(ProgressEvent("services", f"starting {', '.join(layout.services)}"))
        project = build_project(session, layout)
        gone = [name for name in self.resolved.running if name not in layout.services]
        if gone:
            project.stop(gone)
        # Ports and images are known from here on, also to the run that finishes what this one may not.
        write_facts(session.paths.facts, self._build_facts(self.resolved.facts.last_boot, None))
        project.up(list(layout.services))

    def _write_rendered(self, layout: Layout) -> None:
        paths = self.session.paths
        write_files(paths, render_files(self.session.config, list(layout.services)))
        write_whole(paths.override, render_json(render_override(layout)))

    def _restore_grafana(self, states: Mapping[str, ServiceState]) -> None:
        grafana = states.get("grafana")
        if grafana is None or not self.plan.steps:
            return
        warning = open_grafana(self.session, grafana, self.resolved.ports["grafana"])
        if warning:
            self._warn(f"Grafana: {warning}")

    def _warn(self, text: str) -> None:
        self.result.warnings.append(text)
        self.session.warn(text)

    def _remember(self, result: UpResult) -> None:
        engine = result.states.get("engine")
        boot = result.boot.boot_id if result.boot else self.resolved.facts.last_boot
        facts = self._build_facts(boot, container_stamp(engine) if engine else None)
        write_facts(self.session.paths.facts, facts)

    def _build_facts(self, last_boot: int | None, ready_container: str | None) -> ProjectFacts:
        assert self.result.layout is not None
        return ProjectFacts(
            ports=dict(self.resolved.ports),
            image_ids=self.fetcher.image_ids(),
            left_out=dict(self.result.layout.left_out),
            last_boot=last_boot,
            ready_container=ready_container,
            gpu_test=self.result.gpu_test or self.resolved.facts.gpu_test,
            directory=str(self.session.loaded.path.parent) if self.session.loaded.path else None,
        )

    def _require_layout(self) -> Layout:
        assert self.result.layout is not None, "it is decided before anything is started"
        return self.result.layout

    def _require_snapshot(self) -> Snapshot:
        assert self.snapshot is not None, "the model step gives a snapshot or raises"
        return self.snapshot


def _is_other(before: ServiceState | None, after: ServiceState | None) -> bool:
    return after is not None and (before is None or container_stamp(before) != container_stamp(after))

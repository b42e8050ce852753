"""`stack dashboards check`: hold dashboards, rules and alerts against what an engine exports, and run them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2

from stack.assets import asset_path
from stack.errors import ConfigError, HostError, NotRunningError, Problem, ServiceApiError
from stack.operations.session import Session, load_project_lock
from stack.operations.status.read import Status, read_status
from stack.progress import ProgressEvent
from stack.telemetry.contract.check import Answer, check_files, run_queries
from stack.telemetry.contract.inventory import (
    Inventory,
    build_inventory,
    build_name_inventory,
    load_inventory,
    mark_later,
    merge_inventories,
)
from stack.telemetry.contract.kept import find_kept_inventory, load_kept_inventories
from stack.telemetry.contract.load import load_query_file
from stack.telemetry.contract.query import Fault, Query, QueryFile
from stack.telemetry.exposition import fetch_exposition
from stack.telemetry.prometheus_api import PrometheusApi
from stack.telemetry.service_http import check_status, fetch_response, parse_json, read_answer

_SUFFIXES = {".json", ".yaml", ".yml"}
# What our own dashboards name: the data source that is provisioned beside them.
OWN_DATASOURCE = "prometheus"


@dataclass(frozen=True)
class Checked:
    """What was found.

    Attributes:
        source: What the names were held against.
        files: The files.
        faults: Every fault.
        answers: What became of each query; empty where no Prometheus was asked.
        is_strict: Whether a query fails, too, that gives nothing for no reason that is known.
    """

    source: str
    files: tuple[QueryFile, ...]
    faults: tuple[Fault, ...]
    answers: tuple[Answer, ...] = ()
    is_strict: bool = False

    @property
    def queries(self) -> tuple[Query, ...]:
        """Every query of every file."""
        return tuple(query for file in self.files for query in file.queries)

    @property
    def failing_outcomes(self) -> tuple[str, ...]:
        """What may become of no query."""
        return ("dead", "error", "empty") if self.is_strict else ("dead", "error")

    @property
    def is_passed(self) -> bool:
        """Whether there is no error, and no query came to what it may not."""
        failed = any(answer.outcome in self.failing_outcomes for answer in self.answers)
        return not failed and not any(fault.severity == "error" for fault in self.faults)


def check_dashboards(
    session: Session,
    paths: Sequence[Path],
    *,
    engine: str | None,
    prometheus: str | None,
    inventory: Path | None,
    is_strict: bool = False,
) -> Checked:
    """Check files, this stack's own where none are named.

    Args:
        session: The run of the tool.
        paths: Files, or directories whose JSON and YAML files are meant.
        engine: Where /metrics is served, or None for this project's engine while it runs.
        prometheus: Where a Prometheus answers, or None for this project's while it runs.
        inventory: A kept inventory to use instead of an engine.
        is_strict: Whether every query must give a number, or have a reason why it gives none.

    Raises:
        ConfigError: A path does not exist, or holds nothing to check.
        NotRunningError: There is no Prometheus to be strict with.
        ServiceApiError: The engine or Prometheus does not answer.
    """
    known = () if paths else (OWN_DATASOURCE,)
    files = tuple(load_query_file(path, known) for path in find_files(paths))
    is_elsewhere = engine is not None or prometheus is not None or inventory is not None
    status = None if is_elsewhere else _look(session)
    with httpx2.Client(trust_env=False) as http:
        engine = engine or _find_url(status, "engine")
        prometheus = prometheus or _find_url(status, "prometheus")
        if is_strict and not prometheus:
            raise NotRunningError("prometheus", session.project, hint="stack up, or `--prometheus URL`")
        api = PrometheusApi(http, prometheus) if prometheus else None
        found = _read_inventory(session, http, engine, api, inventory)
        # Prometheus knows recorded names by itself; for files alone our rules tell what exists.
        records = read_own_records() if api is None else frozenset()
        interval = session.config.services.prometheus.scrape_interval_seconds
        faults = check_files(files, found, scrape_interval_seconds=interval, records=records)
        answers: tuple[Answer, ...] = ()
        if api is not None:
            queries = [query for file in files for query in file.queries]
            session.report(ProgressEvent("dashboards", f"asking Prometheus {len(queries)} queries"))
            answers = tuple(run_queries(queries, faults, api.query))
            session.report(ProgressEvent("dashboards", f"{len(queries)} queries answered", state="done"))
    return Checked(found.source, files, faults, answers, is_strict)


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Give the files to check: those of directories by name, this stack's own where no path is given.

    Raises:
        ConfigError: A path does not exist, or holds nothing to check.
    """
    given = list(paths) or [asset_path("grafana", "dashboards"), asset_path("prometheus", "rules")]
    found: list[Path] = []
    problems: list[Problem] = []
    for path in given:
        inside = sorted(one for one in path.rglob("*") if one.suffix in _SUFFIXES) if path.is_dir() else [path]
        if not path.exists():
            problems.append(Problem(str(path), "does not exist"))
        elif not inside:
            problems.append(Problem(str(path), "holds no .json, .yaml or .yml file"))
        found += inside
    if problems:
        raise ConfigError(problems)
    return found


def fetch_engine_inventory(session: Session, engine: str | None) -> tuple[Inventory, str]:
    """Give the inventory of an engine that runs, this project's where none is named, and the version it says it is.

    Raises:
        NotRunningError: None is named, and the project's does not run.
        ServiceApiError: It does not answer.
    """
    url = engine or _find_url(read_status(session), "engine")
    if url is None:
        raise NotRunningError("engine", session.project)
    with httpx2.Client(trust_env=False) as http:
        return _fetch_inventory(http, url), _fetch_version(http, url)


def _read_inventory(
    session: Session, http: httpx2.Client, engine: str | None, api: PrometheusApi | None, path: Path | None
) -> Inventory:
    own: Inventory | None = None
    if path is not None:
        own = load_inventory(path)
    elif engine is not None:
        own = replace(_fetch_inventory(http, engine), version=_ask_version(http, engine))
    elif api is None:
        own = _load_kept(session)
    found = complete_inventory(own, api)
    assert found is not None
    return found


def complete_inventory(own: Inventory | None, api: PrometheusApi | None) -> Inventory | None:
    """Give an engine's inventory with what came after its version, and with the names that Prometheus has.

    Raises:
        ServiceApiError: Prometheus does not answer.
    """
    if own is not None and own.version is not None:
        own = mark_later(own, own.version, load_kept_inventories())
    if api is None:
        return own
    names = build_name_inventory(api.fetch_names(), "Prometheus")
    return merge_inventories(own, names) if own is not None else names


def _load_kept(session: Session) -> Inventory:
    """Load the shipped inventory of the version that is locked or configured; the newest where neither says one."""
    locked = load_project_lock(session).engine
    version = session.config.engine.version or (locked.version if locked is not None else None)
    kept = find_kept_inventory(version)
    if not kept.is_exact:
        session.say(f"no inventory of vLLM {version} is kept: names are held against the nearest, {kept.version}")
    return load_inventory(kept.path)


def _ask_version(http: httpx2.Client, engine: str) -> str | None:
    """Give the version that an engine says it is, or None where it says none: the names can be held against it yet."""
    try:
        return _fetch_version(http, engine)
    except ServiceApiError:
        return None


def _fetch_version(http: httpx2.Client, engine: str) -> str:
    url = f"{_strip(engine)}/version"
    answer = fetch_response(http, "engine", url)
    check_status(answer, "engine", url)
    return read_answer(parse_json(answer, "engine", url), lambda found: str(found["version"]), "engine", url)


def _fetch_inventory(http: httpx2.Client, engine: str) -> Inventory:
    url = f"{_strip(engine)}/metrics"
    return build_inventory(fetch_exposition(http, url), url)


def _strip(engine: str) -> str:
    return engine.rstrip("/").removesuffix("/metrics")


def _look(session: Session) -> Status | None:
    """Give what runs here, or None where Docker cannot be asked: files can be checked without it."""
    try:
        return read_status(session)
    except HostError as err:
        session.say(f"{err.message}: the files are held against the shipped inventory")
        return None


def _find_url(status: Status | None, service: str) -> str | None:
    found = (one.url for one in status.services if one.name == service and one.state == "running") if status else ()
    return next(iter(found), None)


def read_own_records() -> frozenset[str]:
    """Give the names that the shipped recording rules make."""
    files = (load_query_file(path) for path in sorted(asset_path("prometheus", "rules").glob("*.yaml")))
    return frozenset(name for file in files for name in file.records)

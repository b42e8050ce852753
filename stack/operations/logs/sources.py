"""Where a service's log is: its container, and for the engine what is kept of its boots."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stack.containers.daemon import ServiceState, parse_time, read_services
from stack.containers.log_records import RawLine
from stack.errors import ConfigError, NotRunningError, Problem, StackError
from stack.history.records import BootRecord
from stack.history.store import KEPT_LOGS, History
from stack.operations.session import Session, check_tools

_BOOT_LOG = re.compile(r"(?P<started>\d{8}T\d{6}Z)-(?P<container>.+)\.log")
_WHOLE_LOG = re.compile(r"engine-(?P<container>.+)\.log")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) ")
# The process may write before the daemon notes that it started.
_SLACK = datetime.timedelta(seconds=2)


@dataclass(frozen=True)
class Source:
    """One log: of a container that is here, or a kept file.

    Attributes:
        service: The Compose service.
        began_at: When it began, where that is known.
        container_id: The container, or None for a kept file.
        path: The kept file, or None.
        boots: The boots that it may tell of, the oldest first.
    """

    service: str
    began_at: datetime.datetime | None
    container_id: str | None = None
    path: Path | None = None
    boots: tuple[BootRecord, ...] = ()

    def find_boot(self, at: datetime.datetime | None) -> BootRecord | None:
        """Give the boot that a line of this time belongs to."""
        begun = [boot for boot in self.boots if at is not None and boot.start.started_at <= at + _SLACK]
        return begun[-1] if begun else next(iter(self.boots), None)


def find_sources(session: Session, services: Sequence[str], boot: str | int | None) -> list[Source]:
    """Give the logs of services, the oldest first.

    Args:
        session: The run.
        services: Compose services.
        boot: A boot's number, `last`, `all`; or None for what the containers hold, and where the engine is gone, its
            last log.

    Raises:
        NotRunningError: There is no log of any of them.
        ConfigError: Nothing is kept of the boot.
    """
    states = read_services(check_tools(session), session.project)
    found = [_build_live(states[name]) for name in services if name in states and name != "engine"]
    if "engine" in services:
        found += choose_logs(_find_engine_logs(session, states.get("engine")), boot)
    if not found:
        raise NotRunningError(services[0], session.project, hint="`stack status` shows what runs")
    return found


def _build_live(state: ServiceState) -> Source:
    return Source(state.name, state.started_at, container_id=state.container_id)


def choose_logs(logs: Sequence[Source], boot: str | int | None) -> list[Source]:
    """Choose among the engine's logs, the oldest first.

    Raises:
        ConfigError: None of them tells of the boot.
    """
    if boot is None:
        return list(logs[-1:])
    if boot == "all" or not logs:
        return list(logs)
    told = {item.id for log in logs for item in log.boots}
    wanted = max(told, default=None) if boot == "last" else boot
    if wanted is None:
        return list(logs[-1:])
    if wanted not in told:
        kept = ", ".join(str(number) for number in sorted(told)) or "none"
        problem = Problem("--boot", f"the log of boot {wanted} is not kept; kept are those of {kept}")
        raise ConfigError([problem], hint="`stack history` shows every boot")
    return [log for log in logs if any(item.id == wanted for item in log.boots)]


def _find_engine_logs(session: Session, state: ServiceState | None) -> list[Source]:
    paths = session.paths
    boots = _read_boots(session)
    live = _build_live(state) if state is not None else None
    return arrange_logs(sorted(paths.boots.glob("*.log")), boots, live)


def _read_boots(session: Session) -> list[BootRecord]:
    """Give the boots that have logs, the oldest first; without them a log is still a log."""
    if not session.paths.history.is_file():
        return []
    try:
        # Not `open_history`: that checks and mends the file, and this only looks.
        return History(session.paths.history).recent_boots(KEPT_LOGS)[::-1]
    except StackError as err:
        session.say(f"which boots the logs are of is not known: {err.message}")
        return []


def arrange_logs(files: Sequence[Path], boots: Sequence[BootRecord], live: Source | None) -> list[Source]:
    """Give the engine's logs, the oldest first, none of them twice.

    What a container holds says all that is kept of it, and what `down` kept of a container says all that its boots did.

    Args:
        files: The kept files.
        boots: The boots that the history knows, the oldest first.
        live: The log of the container that is here.
    """
    owners: dict[str, list[BootRecord]] = {}
    for boot in boots:
        match = _BOOT_LOG.fullmatch(_name_log(boot))
        if match:
            owners.setdefault(match["container"], []).append(boot)
    here = (live.container_id or "")[:12] if live else ""
    told = {here} | {match["container"] for path in files if (match := _WHOLE_LOG.fullmatch(path.name))}
    found = [_build_kept(path, owners, here, told) for path in files]
    logs = [log for log in found if log is not None]
    logs.sort(key=_sort_key)
    if live is not None:
        mine = tuple(owners.get(here, ()))
        logs.append(replace(live, boots=mine, began_at=mine[0].start.started_at if mine else live.began_at))
    return logs


def _build_kept(path: Path, owners: Mapping[str, Sequence[BootRecord]], here: str, told: set[str]) -> Source | None:
    """Give a kept file as a log, or None where the container or another file tells all that it says."""
    if match := _WHOLE_LOG.fullmatch(path.name):
        mine = tuple(owners.get(match["container"], ()))
        began_at = mine[0].start.started_at if mine else None
        return Source("engine", began_at, path=path, boots=mine) if match["container"] != here else None
    match = _BOOT_LOG.fullmatch(path.name)
    if match is None or match["container"] in told:
        return None
    started = datetime.datetime.strptime(match["started"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    mine = tuple(boot for boot in owners.get(match["container"], ()) if _name_log(boot) == path.name)
    return Source("engine", started, path=path, boots=mine)


def _name_log(boot: BootRecord) -> str:
    return Path(boot.start.log_path or "").name


def _sort_key(log: Source) -> float:
    if log.began_at is not None:
        return log.began_at.timestamp()
    return log.path.stat().st_mtime if log.path else 0.0


def read_kept(path: Path) -> Iterator[RawLine]:
    """Give the lines of a kept log, with their times where it has them.

    Raises:
        StackError: It cannot be read.
    """
    try:
        # A carriage return is no end of a line: it tells that a message goes on.
        with path.open(errors="replace", newline="\n") as file:
            for line in file:
                text = line.removesuffix("\n")
                found = _STAMP.match(text)
                yield RawLine(text[found.end() :], parse_time(found[1])) if found else RawLine(text)
    except OSError as err:
        raise StackError(f"the kept log {path} cannot be read: {err.strerror}") from err

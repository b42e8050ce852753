"""What happened to the stack as annotations in its Grafana: boots, smokes, upgrades, replays and other runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape

from stack.containers.daemon import ServiceState, read_services
from stack.errors import StackError
from stack.history.file import render_time
from stack.history.query import Entry, Wanted, find_entries
from stack.history.store import History
from stack.operations.access import GRAFANA_PASSWORD, read_secret
from stack.operations.annotations.report import publish_report
from stack.operations.session import Session

_TAG = "stack"
# Two of them at most: to connect, and until it answers.
_PATIENCE_SECONDS = 1.4
_LOOKED_AT = 20
_TEXT_CHARS = 1000
# Grafana refuses an annotation whose tags take more than 500 characters as JSON (its `tags_length` setting).
_TAG_CHARS, _TAGS_CHARS = 60, 500


def annotate_run(
    session: Session,
    *,
    kind: str,
    title: str,
    text: str,
    tags: Sequence[str],
    started: datetime,
    ended: datetime | None = None,
) -> None:
    """Tell this project's Grafana of a run, with a link to its report; never fails.

    Call it after the run was noted in the history: the run is found there by `kind` and `started`, and gives
    the report, and the commit and model as tags. Where no Grafana runs only the report is written; one that does
    not answer at once, or refuses, is a warning.

    Args:
        session: The run of the tool.
        kind: `boot`, `smoke`, `replay`, …: what the history calls it.
        title: What ended and how, plain text: `replay passed`.
        text: More about it, plain text; no prompt, no answer and no secret.
        tags: Tags beside `stack`, the kind, the commit and the model.
        started: When it began, with its time zone: as it was noted in the history.
        ended: When it ended; None for a moment.
    """
    try:
        services = find_services(session)
        entry = find_noted(session, kind, started)
        link = publish_report(session, entry, services.get("prometheus")) if entry is not None else None
        _send(
            session,
            services,
            render_text(title, text, entry.name if entry is not None else None, link),
            build_tags(kind, tags, entry),
            (started, ended),
        )
    except StackError as err:
        session.warn(f"Grafana does not show this {kind}: {err.message}")


def find_services(session: Session) -> Mapping[str, ServiceState]:
    """Give the project's containers, by the daemon's word: a port that is remembered may be somebody else's by now.

    Raises:
        HostError: The daemon does not answer.
    """
    return read_services(session.connect(), session.project)


def find_noted(session: Session, kind: str, started: datetime) -> Entry | None:
    """Give the run of this kind that the history says began then; None where it has none.

    Raises:
        StackError: The history cannot be read.
    """
    if not session.paths.history.is_file():
        return None
    entries = find_entries(History(session.paths.history), Wanted(kind=kind, limit=_LOOKED_AT))
    wanted = render_time(started)
    return next((entry for entry in entries if render_time(entry.started_at) == wanted), None)


def build_tags(kind: str, tags: Iterable[str], entry: Entry | None) -> list[str]:
    """Give the tags of an annotation: `stack` and the kind, then the engine's commit and model where they are known."""
    known: list[str] = []
    if entry is not None and entry.boot is not None:
        start = entry.boot.start
        known = [(start.commit or "")[:12], start.model]
    cut = [" ".join(tag.split())[:_TAG_CHARS] for tag in (_TAG, kind, *known, *tags)]
    kept = list(dict.fromkeys(tag for tag in cut if tag))
    while len(json.dumps(kept)) > _TAGS_CHARS:
        kept.pop()
    return kept


def render_text(title: str, text: str, name: str | None, link: str | None) -> str:
    """Give an annotation's text; Grafana shows it as HTML, so that everything in it is escaped.

    The link names host and port: Grafana's pages take a link without them for one of their own
    (public/app/core/navigation/patch/interceptLinkClicks.ts), and drop a `target` (DOMPurify).
    """
    parts = [f"<b>{escape(title)}</b>", escape(text[:_TEXT_CHARS])]
    if name is not None:
        command = f"<code>stack report {escape(name)}</code>"
        parts.append(f'<a href="{escape(link)}">{escape(name)}</a> ({command})' if link else command)
    return "<br>".join(part for part in parts if part)


def _send(
    session: Session,
    services: Mapping[str, ServiceState],
    text: str,
    tags: list[str],
    moments: tuple[datetime, datetime | None],
) -> None:
    grafana, secret = services.get("grafana"), session.paths.secrets / GRAFANA_PASSWORD
    if grafana is None or grafana.state != "running" or grafana.host_port is None or not secret.is_file():
        return
    import httpx2

    from stack.telemetry.grafana_api import GrafanaApi

    started, ended = moments
    with httpx2.Client(trust_env=False) as http:
        url, password = f"http://127.0.0.1:{grafana.host_port}", read_secret(secret)
        api = GrafanaApi(http, url, user="admin", password=password, timeout_seconds=_PATIENCE_SECONDS)
        api.create_annotation(
            text,
            tags=tags,
            start_seconds=started.timestamp(),
            end_seconds=ended.timestamp() if ended is not None else None,
        )

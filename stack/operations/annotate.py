"""What happened to the stack as annotations in its Grafana: boots, smokes, upgrades, replays and other runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

import httpx2

from stack.errors import StackError
from stack.history.file import render_time
from stack.history.query import Entry, Wanted, find_entries
from stack.history.store import History
from stack.operations.access import GRAFANA_PASSWORD, read_secret
from stack.operations.project import load_facts
from stack.operations.session import Session
from stack.telemetry.grafana_api import GrafanaApi

SERVICE = "grafana"
_TAG = "stack"
_PATIENCE_SECONDS = 1.0
_LOOKED_AT = 20
_TEXT_CHARS = 1000
# Grafana refuses an annotation whose tags take more than 500 characters together (its `tags_length` setting).
_TAG_CHARS, _MOST_TAGS = 60, 7


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
    the link, and the commit and model as tags. Where Grafana is no part of the stack nothing happens; one that does
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
    path = session.paths.secrets / GRAFANA_PASSWORD
    facts = load_facts(session.paths.facts)
    port = facts.ports.get(SERVICE)
    if port is None or SERVICE in facts.left_out or not path.is_file():
        return
    try:
        entry = find_noted(session, kind, started)
        with httpx2.Client(trust_env=False) as http:
            api = GrafanaApi(
                http,
                f"http://127.0.0.1:{port}",
                user="admin",
                password=read_secret(path),
                timeout_seconds=_PATIENCE_SECONDS,
            )
            api.create_annotation(
                render_text(title, text, entry.name if entry else None),
                tags=build_tags(kind, tags, entry),
                start_seconds=started.timestamp(),
                end_seconds=ended.timestamp() if ended is not None else None,
            )
    except StackError as err:
        session.warn(f"Grafana does not show this {kind}: {err.message}")


def find_noted(session: Session, kind: str, started: datetime) -> Entry | None:
    """Give the run of this kind that the history says began then; None where it has none."""
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
    return list(dict.fromkeys(tag for tag in cut if tag))[:_MOST_TAGS]


def render_text(title: str, text: str, name: str | None) -> str:
    """Give an annotation's text; Grafana shows it as HTML, so that everything in it is escaped."""
    parts = [f"<b>{escape(title)}</b>", escape(text[:_TEXT_CHARS])]
    if name is not None:
        parts.append(f"<code>stack report {escape(name)}</code>")
    return "<br>".join(part for part in parts if part)

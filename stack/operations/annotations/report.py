"""The page of each run where an annotation can link to it: a folder that Prometheus serves below `/user/`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from stack.containers.daemon import ServiceState
from stack.history.query import BOOT, SMOKE, Entry
from stack.operations.history.report import render_html
from stack.operations.history.runs import find_run
from stack.operations.session import Session
from stack.operations.write import build_folder_error, write_whole

KEPT_PAGES = 200


def publish_report(session: Session, entry: Entry, prometheus: ServiceState | None) -> str | None:
    """Write the page of a run, and give its address; None where no Prometheus runs that would serve it.

    The page holds no text of a request or an answer and no secret, and who can reach Prometheus can read it. A smoke
    run also changes the page of its boot. Of the pages the newest `KEPT_PAGES` stay.

    Raises:
        StackError: The history cannot be read, or the page cannot be written.
    """
    names = [entry.name]
    if entry.kind == SMOKE and entry.boot is not None:
        names.append(f"{BOOT}-{entry.boot.id}")
    for name in names:
        page = render_html(find_run(session, name), now=datetime.now(UTC))
        write_whole(session.paths.reports / f"{name}.html", page)
    prune_pages(session.paths.reports)
    if prometheus is None or prometheus.state != "running" or prometheus.host_port is None:
        return None
    return f"http://127.0.0.1:{prometheus.host_port}/user/{entry.name}.html"


def prune_pages(folder: Path, kept: int = KEPT_PAGES) -> None:
    """Remove all but the newest pages.

    Raises:
        StackError: The folder cannot be written.
    """
    try:
        pages = sorted(folder.glob("*.html"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for page in pages[kept:]:
            page.unlink(missing_ok=True)
    except OSError as err:
        raise build_folder_error(folder, err) from err

"""`stack logs`: a container's output, or what is kept of an engine that is gone."""

from __future__ import annotations

from collections.abc import Iterator

from stack.containers.daemon import follow_log, read_log, read_services
from stack.errors import NotRunningError
from stack.operations.session import Session, check_tools


def read_lines(session: Session, service: str, *, follow: bool, lines: int | None) -> Iterator[str]:
    """Give a service's output line by line.

    Raises:
        NotRunningError: The service has no container and nothing is kept of it.
    """
    client = check_tools(session)
    state = read_services(client, session.project).get(service)
    if state is not None:
        if follow:
            yield from follow_log(client, state.container_id, lines=lines or "all")
        else:
            yield from read_log(client, state.container_id, lines=lines or "all").splitlines()
        return
    kept = (
        sorted(session.paths.boots.glob("*.log"), key=lambda path: path.stat().st_mtime) if service == "engine" else []
    )
    if not kept:
        raise NotRunningError(service, session.project, hint="`stack status` shows what runs")
    text = kept[-1].read_text(errors="replace").splitlines()
    yield from text[-lines:] if lines else text

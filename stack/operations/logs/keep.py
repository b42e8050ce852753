"""What an engine wrote, kept beside its boots before its container is removed."""

from __future__ import annotations

import docker

from stack.containers.daemon import ServiceState
from stack.containers.log_records import RawLine
from stack.containers.log_stream import stream_lines
from stack.errors import StackError
from stack.operations.session import Session
from stack.operations.write import write_lines

KEPT_LOGS = 20
LOG_PREFIX = "engine-"


def keep_engine_log(session: Session, client: docker.DockerClient, engine: ServiceState) -> None:
    """Keep what goes with the container: the follower of `up` kept the boot's part only."""
    path = session.paths.boots / f"{LOG_PREFIX}{engine.container_id[:12]}.log"
    try:
        lines = stream_lines(client, engine.container_id, follow=False)
        write_lines(path, (f"{render_kept(line)}\n" for line in lines), mode=0o600)
    except StackError as err:
        # What frees memory and ports must not wait for a disk that is full.
        session.say(f"the engine's log is not kept: {err.message}")
        return
    # The clock may have been set back since older ones were written: the newest is the one from just now.
    older = [other for other in session.paths.boots.glob(f"{LOG_PREFIX}*.log") if other != path]
    older.sort(key=lambda other: other.stat().st_mtime)
    for other in older[: -(KEPT_LOGS - 1)]:
        other.unlink(missing_ok=True)


def render_kept(line: RawLine) -> str:
    """Give a line as it is kept: its time, as `docker logs --timestamps` writes it, and what the container wrote."""
    return f"{line.at:%Y-%m-%dT%H:%M:%S.%fZ} {line.text}" if line.at is not None else line.text

"""Who listens on a port of this machine, as far as this user may see it."""

from __future__ import annotations

from pathlib import Path

_LISTEN = "0A"


def find_port_owner(port: int, proc: Path = Path("/proc")) -> str | None:
    """Give the program that listens on a TCP port, or at least its user; None where nobody listens.

    Source:
        proc_net(5): `local_address` is `HEX:PORT`, state `0A` is LISTEN, the eighth field is the user, the tenth the
        socket's inode.
    """
    rows = [row for table in ("tcp", "tcp6") for row in _read_listeners(proc / "net" / table, port)]
    wanted = {f"socket:[{row[9]}]" for row in rows}
    for process in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)) if wanted else ():
        if _has_open(process, wanted):
            return f"`{_read_name(process)}` (process {process.name})"
    # Whose process it is, everybody may read; which, only that user and root.
    return f"a program of {_name_user(rows[0][7])}, which this user may not look at" if rows else None


def _name_user(uid: str) -> str:
    return "root" if uid == "0" else f"another user (uid {uid})"


def _read_listeners(table: Path, port: int) -> list[list[str]]:
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    return [row for row in rows if len(row) > 9 and row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port]


def _has_open(process: Path, wanted: set[str]) -> bool:
    try:
        return any(str(path.readlink()) in wanted for path in (process / "fd").iterdir())
    except OSError:
        # Another user's process, or one that has just ended.
        return False


def _read_name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "a program"

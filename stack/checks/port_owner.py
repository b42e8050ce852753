"""Who listens on a port of this machine, as far as this user may see it."""

from __future__ import annotations

from pathlib import Path

_LISTEN = "0A"


def find_port_owner(port: int, proc: Path = Path("/proc")) -> str | None:
    """Give the program that listens on a TCP port, or None where none does or it belongs to another user.

    Source:
        proc_net(5): `local_address` is `HEX:PORT`, state `0A` is LISTEN, the tenth field is the socket's inode.
    """
    inodes = {inode for table in ("tcp", "tcp6") for inode in _read_listeners(proc / "net" / table, port)}
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)) if wanted else ():
        if _has_open(process, wanted):
            return f"`{_read_name(process)}` (process {process.name})"
    return None


def _read_listeners(table: Path, port: int) -> list[str]:
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if len(row) > 9 and row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port]


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

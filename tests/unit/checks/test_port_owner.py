"""Who listens on a port."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from stack.checks.port_owner import find_port_owner


def test_the_program_that_listens_is_named():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        name = Path("/proc/self/comm").read_text().strip()
        assert find_port_owner(listener.getsockname()[1]) == f"`{name}` (process {os.getpid()})"


def test_a_port_that_is_bound_and_not_listened_on_has_no_owner():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert find_port_owner(bound.getsockname()[1]) is None


def write_proc(proc: Path, row: str) -> None:
    (proc / "net").mkdir(parents=True)
    (proc / "net" / "tcp").write_text(f"  sl  local_address ...\n{row}\n")


def test_of_a_listener_of_another_user_only_the_user_can_be_named(tmp_path):
    write_proc(tmp_path, "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000  0 4242 1")
    (tmp_path / "17").mkdir()
    assert find_port_owner(8000, tmp_path) == "a program of another user (uid 1000), which this user may not look at"
    (tmp_path / "17" / "fd").mkdir()
    (tmp_path / "17" / "fd" / "3").symlink_to("socket:[4242]")
    assert find_port_owner(8000, tmp_path) == "`a program` (process 17)"
    assert find_port_owner(8001, tmp_path) is None


def test_a_listener_of_root_is_said_to_be_one(tmp_path):
    write_proc(tmp_path, "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0  0 4242 1")
    assert find_port_owner(8000, tmp_path) == "a program of root, which this user may not look at"


def test_a_machine_without_those_tables_has_nothing_to_tell(tmp_path):
    assert find_port_owner(8000, tmp_path) is None

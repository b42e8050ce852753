import os
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import UTC, datetime

import pytest

from stack.errors import StackError
from stack.history.schema import MIGRATIONS, connect, prepare_history, transaction

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def version_of(path) -> int:
    with closing(connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def test_a_new_history_has_the_current_version_and_is_private(tmp_path):
    path = tmp_path / "state" / "history.sqlite"
    prepare_history(path, NOW)
    assert version_of(path) == len(MIGRATIONS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_writers_do_not_block_readers(tmp_path):
    path = tmp_path / "history.sqlite"
    prepare_history(path, NOW)
    with closing(connect(path)) as writer, closing(connect(path)) as reader, transaction(writer):
        writer.execute("INSERT INTO baselines VALUES ('k', '{}', 'now')")
        assert reader.execute("SELECT count(*) FROM baselines").fetchone()[0] == 0


def test_preparing_twice_changes_nothing(tmp_path):
    path = tmp_path / "history.sqlite"
    prepare_history(path, NOW)
    with closing(connect(path)) as connection:
        connection.execute("INSERT INTO baselines VALUES ('k', '{}', 'now')")
    prepare_history(path, NOW)
    with closing(connect(path)) as connection:
        assert connection.execute("SELECT key FROM baselines").fetchall() == [("k",)]


@pytest.mark.parametrize("damage", [b"no database at all " * 100, None], ids=["other file", "torn pages"])
def test_a_damaged_history_is_moved_aside_and_the_next_try_starts_anew(tmp_path, damage):
    path = tmp_path / "history.sqlite"
    prepare_history(path, NOW)
    content = damage if damage is not None else path.read_bytes()[:4096] + b"\xff" * 20_000
    path.write_bytes(content)
    with pytest.raises(StackError, match="damaged") as caught:
        prepare_history(path, NOW)
    aside = tmp_path / "history.sqlite.damaged-20260304T050607"
    assert str(aside) in caught.value.message
    assert aside.read_bytes() == content
    assert caught.value.hint
    prepare_history(path, NOW)
    assert version_of(path) == len(MIGRATIONS)


def test_a_second_damaged_history_of_the_same_second_does_not_replace_the_first(tmp_path):
    path = tmp_path / "history.sqlite"
    for content in (b"first " * 200, b"second " * 200):
        path.write_bytes(content)
        with pytest.raises(StackError):
            prepare_history(path, NOW)
    asides = sorted(tmp_path.glob("*.damaged-*"))
    assert [aside.read_bytes()[:3] for aside in asides] == [b"fir", b"sec"]


def test_a_history_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "history.sqlite"
    prepare_history(path, NOW)
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StackError, match="newer") as caught:
        prepare_history(path, NOW)
    assert "upgrade" in caught.value.hint
    assert version_of(path) == 99


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "history.sqlite"
    prepare_history(path, NOW)
    bad = (*MIGRATIONS, ("CREATE TABLE later (id)", "CREATE TABLE boots (id)"))
    monkeypatch.setattr("stack.history.schema.MIGRATIONS", bad)
    with pytest.raises(StackError, match="already exists"):
        prepare_history(path, NOW)
    assert version_of(path) == len(MIGRATIONS)
    with closing(connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'later'").fetchall() == []


@pytest.mark.fault(
    "The history is of an older version",
    "It is brought up to this one and keeps every row; a step that fails leaves it as it was",
)
def test_an_older_history_is_brought_up_and_keeps_its_rows(tmp_path, monkeypatch):
    path = tmp_path / "history.sqlite"
    prepare_history(path, NOW)
    with closing(connect(path)) as connection:
        connection.execute("INSERT INTO baselines VALUES ('k', '{}', 'now')")
    newer = (*MIGRATIONS, ("ALTER TABLE baselines ADD COLUMN note TEXT",))
    monkeypatch.setattr("stack.history.schema.MIGRATIONS", newer)
    prepare_history(path, NOW)
    with closing(connect(path)) as connection:
        assert connection.execute("SELECT key, note FROM baselines").fetchall() == [("k", None)]


def test_a_place_that_cannot_be_written_is_told_with_the_path(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="cannot be written") as caught:
        prepare_history(tmp_path / "file" / "history.sqlite", NOW)
    assert str(tmp_path / "file") in caught.value.message


def test_a_directory_in_the_place_of_the_file_is_told(tmp_path):
    (tmp_path / "history.sqlite").mkdir()
    with pytest.raises(StackError, match="cannot be written"):
        prepare_history(tmp_path / "history.sqlite", NOW)


def test_a_history_that_was_deleted_is_not_made_by_connecting(tmp_path):
    with pytest.raises(sqlite3.OperationalError):
        connect(tmp_path / "history.sqlite")
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_many_threads_can_prepare_the_same_new_history(tmp_path):
    path = tmp_path / "history.sqlite"
    failures = []

    def prepare() -> None:
        try:
            prepare_history(path, NOW)
        except StackError as err:
            failures.append(err)

    threads = [threading.Thread(target=prepare) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert version_of(path) == len(MIGRATIONS)

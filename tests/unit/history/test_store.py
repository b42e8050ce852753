import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from stack.errors import HostError, StackError
from stack.history import file, store
from stack.history.schema import MIGRATIONS, connect, prepare_history
from stack.history.store import History
from tests.unit.history.conftest import NOON, START, record_boot


def test_a_boot_is_read_back_as_it_was_recorded(history):
    number = history.record_boot(START)
    history.record_phase(number, "load", 3.5)
    history.record_phase(number, "compile", 80.0)
    history.finish_boot(number, "ready", total_seconds=90.25, cache_state="cold")
    record = history.load_boot(number)
    assert record.start == START
    assert (record.outcome, record.total_seconds, record.cache_state) == ("ready", 90.25, "cold")
    assert list(record.phases.items()) == [("load", 3.5), ("compile", 80.0)]


def test_a_boot_that_was_killed_has_no_outcome(history):
    record = history.load_boot(history.record_boot(START))
    assert (record.outcome, record.total_seconds, record.cache_state) == (None, None, "unknown")


def test_times_of_other_zones_are_the_same_moment_when_read_back(history):
    number = record_boot(history, started_at=NOON.astimezone(timezone(timedelta(hours=9))))
    assert history.load_boot(number).start.started_at == NOON


def test_a_phase_told_twice_keeps_its_place_and_takes_the_later_value(history):
    number = history.record_boot(START)
    for phase, seconds in (("load", 1.0), ("compile", 2.0), ("load", 3.0)):
        history.record_phase(number, phase, seconds)
    assert list(history.load_boot(number).phases.items()) == [("load", 3.0), ("compile", 2.0)]


def test_the_log_told_at_the_end_replaces_the_one_told_at_the_start(history):
    number = history.record_boot(START)
    history.finish_boot(number, "failed", total_seconds=1.0, log_path="/logs/end.log")
    assert history.load_boot(number).start.log_path == "/logs/end.log"


def test_boots_of_a_kind_are_those_that_became_ready_the_newest_first(history):
    ready = [record_boot(history) for _ in range(3)]
    record_boot(history, "failed")
    record_boot(history, None)
    record_boot(history, kind="k2")
    assert [record.id for record in history.boots_of_kind("k1", 2)] == [ready[2], ready[1]]


def test_a_boot_is_not_compared_with_itself(history):
    first, second = record_boot(history), record_boot(history)
    assert [record.id for record in history.boots_of_kind("k1", 9, before=second)] == [first]
    assert history.boots_of_kind("k1", 9, before=first) == []


def test_recent_boots_come_newest_first(history):
    numbers = [record_boot(history) for _ in range(4)]
    assert [record.id for record in history.recent_boots(3)] == numbers[:0:-1]


def test_the_newest_boots_keep_their_logs_and_it_is_told_whose_are_free(history):
    numbers = [record_boot(history, log_path=f"/logs/{name}") for name in ("a", "b", "shared", "shared", "c")]
    assert history.prune_logs(keep=2) == [Path("/logs/a"), Path("/logs/b")]
    assert [history.load_boot(number).start.log_path for number in numbers] == [
        None, None, None, "/logs/shared", "/logs/c",
    ]  # fmt: skip
    assert history.prune_logs(keep=2) == []
    assert history.prune_logs(keep=0) == [Path("/logs/c"), Path("/logs/shared")]


def test_a_boot_that_is_forgotten_takes_its_phases_and_smokes_along(history, monkeypatch):
    monkeypatch.setattr(store, "KEPT_BOOTS", 1)
    first = record_boot(history)
    history.record_phase(first, "load", 1.0)
    history.record_smoke(first, started_at=NOON, passed=True, report={})
    second = record_boot(history)
    assert [record.id for record in history.recent_boots(9)] == [second]
    assert history.last_smoke() is None
    with history.reading() as connection:
        assert connection.execute("SELECT count(*) FROM phases").fetchone()[0] == 0


def test_numbers_of_forgotten_boots_are_not_used_again(history, monkeypatch):
    number = record_boot(history)
    monkeypatch.setattr(store, "KEPT_BOOTS", 0)
    history.record_boot(START)
    assert history.recent_boots(9) == []
    monkeypatch.setattr(store, "KEPT_BOOTS", 1)
    assert record_boot(history) == number + 2


def test_history_stays_bounded(history, monkeypatch):
    monkeypatch.setattr(store, "KEPT_BOOTS", 3)
    monkeypatch.setattr(store, "KEPT_SMOKES", 2)
    monkeypatch.setattr(store, "KEPT_BASELINES", 2)
    for number in range(6):
        record_boot(history)
        history.record_smoke(None, started_at=NOON, passed=True, report={"n": number})
        history.save_baseline(f"b{number}", {})
    assert len(history.recent_boots(9)) == 3
    assert [history.load_baseline(f"b{number}") is None for number in range(6)] == [True] * 4 + [False] * 2
    assert history.last_smoke().report == {"n": 5}
    with history.reading() as connection:
        assert connection.execute("SELECT count(*) FROM smokes").fetchone()[0] == 2


def test_a_file_that_only_an_older_tool_has_written_to_can_be_looked_at(tmp_path, monkeypatch):
    path = tmp_path / "history.sqlite"
    with monkeypatch.context() as older:
        older.setattr("stack.history.schema.MIGRATIONS", MIGRATIONS[:1])
        prepare_history(path, NOON)
    with closing(connect(path)) as connection:
        connection.execute(
            'INSERT INTO boots (kind, started_at, "commit", commit_level, image_id, model, device, args) '
            "VALUES ('k', '2026-03-04T12:00:00.000+00:00', NULL, 'unknown', 'sha256:1', 'm', 'cpu', '{}')"
        )
    start = History(path).load_boot(1).start
    assert (start.model, start.lock_sha256, start.host) == ("m", None, {})


def test_the_last_smoke_is_read_back_of_all_or_of_one_boot(history):
    first, second = record_boot(history), record_boot(history)
    assert history.last_smoke() is None
    history.record_smoke(first, started_at=NOON, passed=True, report={"checks": [1]})
    history.record_smoke(second, started_at=NOON, passed=False, report={"checks": []})
    history.record_smoke(None, started_at=NOON, passed=True, report={"checks": None})
    assert history.last_smoke().boot_id is None
    record = history.last_smoke(first)
    assert (record.boot_id, record.passed, record.report, record.started_at) == (
        first,
        True,
        {"checks": [1]},
        NOON,
    )
    assert history.last_smoke(second).passed is False


def test_a_baseline_replaces_the_earlier_one_of_its_key(history):
    assert history.load_baseline("k") is None
    history.save_baseline("k", {"nll": 1.9})
    history.save_baseline("k", {"nll": 2.0})
    baseline = history.load_baseline("k")
    assert (baseline.scores, baseline.created_at) == ({"nll": 2.0}, NOON)


def test_what_comes_after_a_clock_was_set_back_is_the_newest_all_the_same(history, monkeypatch):
    monkeypatch.setattr(store, "KEPT_BASELINES", 2)
    for key in ("a", "b"):
        history.save_baseline(key, {})
    early = History(history.path, now=lambda: NOON - timedelta(days=400))
    early.save_baseline("c", {"nll": 2.0})
    assert early.load_baseline("c").scores == {"nll": 2.0}
    assert early.load_baseline("a") is None
    old, new = record_boot(history), record_boot(history, started_at=NOON - timedelta(days=400))
    assert [record.id for record in history.recent_boots(2)] == [new, old]


@pytest.mark.parametrize(
    "call",
    [
        lambda history: history.record_phase(7, "load", 1.0),
        lambda history: history.finish_boot(7, "ready", total_seconds=1.0),
        lambda history: history.record_smoke(7, started_at=NOON, passed=True, report={}),
    ],
)
def test_a_boot_that_history_does_not_know_is_an_error(history, call):
    with pytest.raises(StackError, match="no boot 7"):
        call(history)


def test_a_history_deleted_under_a_running_tool_is_an_error_with_a_hint(history):
    history.path.unlink()
    with pytest.raises(StackError, match="cannot be used") as caught:
        history.recent_boots(1)
    assert caught.value.hint


def test_a_full_disk_is_a_fault_of_the_machine_and_told_with_the_file(history, monkeypatch):
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    monkeypatch.setattr(file, "connect", lambda path: (_ for _ in ()).throw(full))
    with pytest.raises(HostError, match="disk is full") as caught:
        history.record_boot(START)
    assert str(history.path) in caught.value.message
    assert "df -h" in caught.value.hint


def test_a_history_damaged_under_a_running_tool_is_an_error_with_a_hint(history):
    history.path.write_bytes(b"damage " * 2000)
    with pytest.raises(StackError, match="damaged") as caught:
        history.recent_boots(1)
    assert "again" in caught.value.hint


def test_threads_and_processes_can_write_at_once(history):
    code = (
        "import sys; from pathlib import Path; from stack.history.store import open_history\n"
        "history = open_history(Path(sys.argv[1]))\n"
        "for n in range(20): history.record_phase(int(sys.argv[2]), f'process-{n}', float(n))"
    )
    number = record_boot(history)
    process = subprocess.Popen([sys.executable, "-c", code, str(history.path), str(number)])
    failures = []

    def write(name: str) -> None:
        try:
            for phase in range(20):
                history.record_phase(number, f"{name}-{phase}", float(phase))
                history.recent_boots(2)
        except StackError as err:
            failures.append(err)

    threads = [threading.Thread(target=write, args=(f"t{name}",)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert process.wait(60) == 0
    assert failures == []
    assert len(history.load_boot(number).phases) == 80


def test_a_process_that_is_killed_amid_a_transaction_leaves_nothing_of_it(history):
    number = record_boot(history)
    code = (
        "import sys, time; from datetime import datetime, UTC; from pathlib import Path\n"
        "from stack.history.store import open_history\n"
        "with open_history(Path(sys.argv[1])).writing() as connection:\n"
        "    connection.execute('DELETE FROM boots')\n"
        "    connection.execute(\"INSERT INTO locks VALUES ('x', 'y', 'z')\")\n"
        "    print('in it', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(history.path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "in it\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert [record.id for record in history.recent_boots(9)] == [number]
    assert record_boot(history) == number + 1
    with history.reading() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert connection.execute("SELECT count(*) FROM locks").fetchone()[0] == 0


def test_two_processes_that_boot_smoke_and_prune_at_once_lose_nothing(history):
    code = (
        "import sys; from datetime import datetime, UTC; from pathlib import Path\n"
        "from stack.history.records import BootStart\n"
        "from stack.history.store import open_history\n"
        "history, now = open_history(Path(sys.argv[1])), datetime.now(UTC)\n"
        "for n in range(25):\n"
        "    lock = history.note_lock(f'{sys.argv[2]} {n}', now)\n"
        "    start = BootStart('k', now, None, 'unknown', None, None, 'i', 'm', None, 'cpu',\n"
        "                      log_path=f'/logs/{sys.argv[2]}-{n}', lock_sha256=lock)\n"
        "    boot = history.record_boot(start)\n"
        "    history.prune_logs(keep=5)\n"
        "    history.finish_boot(boot, 'ready', total_seconds=1.0)\n"
        "    history.record_smoke(boot, started_at=now, passed=True, report={})\n"
        "    history.note_run('replay', now, boot, True, {})\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(history.path), name]) for name in "ab"]
    assert [process.wait(60) for process in processes] == [0, 0]
    boots = history.recent_boots(99)
    assert [record.outcome for record in boots] == ["ready"] * 50
    assert [record.start.log_path is not None for record in boots] == [True] * 5 + [False] * 45
    assert len(history.find_passed_locks(99)) == 50
    assert len(history.list_runs(limit=99)) == 50

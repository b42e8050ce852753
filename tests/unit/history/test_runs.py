"""Locks that passed, and runs that are neither boots nor smokes."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from stack.errors import StackError
from stack.history import runs, store

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def smoke(history, boot_id, *, passed=True, minutes=0):
    return history.record_smoke(boot_id, started_at=NOON + timedelta(minutes=minutes), passed=passed, report={})


def test_a_lock_is_named_by_the_hash_of_its_text_and_kept_once(history):
    names = [history.note_lock(text, NOON) for text in ("one\n", "two\n", "one\n")]
    assert names[0] == names[2] == hashlib.sha256(b"one\n").hexdigest()
    assert history.load_lock(names[0]) == "one\n"
    assert history.load_lock("0" * 64) is None
    with history.reading() as connection:
        assert connection.execute("SELECT count(*) FROM locks").fetchone()[0] == 2


def test_a_boot_is_read_back_with_its_lock_and_its_host(history, boot):
    lock = history.note_lock("one\n", NOON)
    start = history.load_boot(boot(lock_sha256=lock, host={"cpu": "a CPU"})).start
    assert (start.lock_sha256, start.host) == (lock, {"cpu": "a CPU"})


def test_only_locks_whose_boot_passed_smoke_are_passed_locks(history, boot):
    passed, failed, untested = (history.note_lock(text, NOON) for text in ("a", "b", "c"))
    smoke(history, boot(lock_sha256=passed))
    smoke(history, boot(lock_sha256=failed), passed=False)
    boot(lock_sha256=untested)
    smoke(history, boot())
    smoke(history, None)
    assert [lock.sha256 for lock in history.find_passed_locks(9)] == [passed]


def test_each_passed_lock_comes_once_and_the_one_that_passed_last_is_first(history, boot):
    first, second = history.note_lock("a", NOON), history.note_lock("b", NOON)
    smoke(history, boot(lock_sha256=first), minutes=1)
    smoke(history, boot(lock_sha256=second), minutes=2)
    again = boot(lock_sha256=first, commit="b" * 40, version="0.33.0", model="org/other", revision="r2")
    smoke(history, again, minutes=3)
    smoke(history, again, passed=False, minutes=4)
    locks = history.find_passed_locks(9)
    assert [lock.text for lock in locks] == ["a", "b"]
    newest = locks[0]
    assert newest.passed_at == NOON + timedelta(minutes=3)
    assert (newest.commit, newest.version, newest.model, newest.revision) == ("b" * 40, "0.33.0", "org/other", "r2")
    assert [lock.text for lock in history.find_passed_locks(1)] == ["a"]


def test_locks_that_boots_name_outlive_any_number_of_others(history, boot, monkeypatch):
    monkeypatch.setattr(runs, "KEPT_LOCKS", 2)
    named = history.note_lock("named", NOON)
    boot(lock_sha256=named)
    others = [history.note_lock(f"other {number}", NOON) for number in range(4)]
    kept = [name for name in (named, *others) if history.load_lock(name) is not None]
    assert kept == [named, *others[-2:]]


def test_a_run_is_read_back_as_it_was_noted(history, boot):
    number = boot()
    first = history.note_run("replay", NOON, number, True, {"figures": {"equal": 3}})
    second = history.note_run("upgrade", NOON, None, False, {})
    assert [(run.id, run.kind) for run in history.list_runs()] == [(second, "upgrade"), (first, "replay")]
    (replay,) = history.list_runs("replay")
    assert (replay.boot_id, replay.started_at, replay.passed) == (number, NOON, True)
    assert replay.report == {"figures": {"equal": 3}}
    assert history.load_run(second).passed is False
    assert history.load_run(99) is None


def test_a_run_outlives_the_boot_that_it_judged(history, boot, monkeypatch):
    monkeypatch.setattr(store, "KEPT_BOOTS", 1)
    run = history.note_run("replay", NOON, boot(), True, {})
    boot()
    assert history.load_run(run).boot_id is None


def test_a_run_of_a_boot_that_history_does_not_know_is_an_error(history):
    with pytest.raises(StackError, match="no boot 7"):
        history.note_run("replay", NOON, 7, True, {})


def test_runs_stay_bounded_and_the_limit_holds(history, monkeypatch):
    monkeypatch.setattr(runs, "KEPT_RUNS", 3)
    numbers = [history.note_run("replay", NOON, None, True, {}) for _ in range(6)]
    assert [run.id for run in history.list_runs(limit=9)] == numbers[:2:-1]
    assert [run.id for run in history.list_runs(limit=1)] == numbers[-1:]


def test_a_lock_that_a_boot_got_later_counts_as_one_that_passed(history, boot):
    number = boot()
    history.record_smoke(number, started_at=NOON, passed=True, report={})
    assert history.find_passed_locks(9) == []
    history.name_lock(number, history.note_lock("later", NOON))
    assert [lock.text for lock in history.find_passed_locks(9)] == ["later"]
    with pytest.raises(StackError, match="no boot 99"):
        history.name_lock(99, "x")


def test_a_run_of_which_more_became_known_is_written_anew_and_no_other(history):
    other, number = (history.note_run("bench", NOON, None, True, {"said": "as measured"}) for _ in range(2))
    history.revise_run(number, False, {"said": "slower"})
    found = history.load_run(number)
    assert (found.started_at, found.passed, found.report) == (NOON, False, {"said": "slower"})
    assert history.load_run(other).report == {"said": "as measured"}

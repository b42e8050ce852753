"""What an upgrade keeps beside stack.lock, and what is said of one that was killed."""

from dataclasses import replace

import pytest

from stack.config.lock import Lock, LockedEngine, load_lock, write_lock
from stack.errors import ConfigError
from stack.operations.session import hold_project
from stack.operations.upgrade.leftover import clear_trial, describe_trial, end_trial, start_trial, start_trial_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LOCK = Lock(engine=LockedEngine(commit="a" * 40, pinned="0.31.0"))


@pytest.fixture
def session(make_session):
    session = make_session()
    write_lock(session.lock_path, LOCK)
    return session


def test_a_trial_works_on_copies_and_leaves_the_lock_alone(session):
    # A comment of the user's makes it another text than the tool's own.
    session.lock_path.write_text(session.lock_path.read_text() + "# mine\n")
    before = session.lock_path.read_bytes()
    tried, back = start_trial(session)
    assert (tried.read_bytes(), back.read_bytes()) == (before, before)
    write_lock(tried, Lock(engine=LockedEngine(commit=COMMIT, pinned=COMMIT)))
    assert session.lock_path.read_bytes() == before and back.read_bytes() == before
    end_trial(session)
    assert not tried.parent.exists()
    end_trial(session)


def test_a_damaged_lock_is_told_before_anything_is_copied(session):
    session.lock_path.write_text("<<<<<<< mine")
    with pytest.raises(ConfigError):
        start_trial(session)
    assert not (session.paths.state / "upgrade").exists()


def test_a_trial_that_nobody_ends_is_told_and_forgotten_by_who_holds_the_project(session, said):
    assert describe_trial(session) is None
    start_trial_of(session, Lock(engine=LockedEngine(commit=COMMIT, pinned="nightly")))
    told = "`stack upgrade nightly` was interrupted; stack.lock is as it was before, and `stack up` goes by that"
    assert describe_trial(session) == told
    with hold_project(session, "up"):
        clear_trial(session)
    assert said == [told] and describe_trial(session) is None
    clear_trial(session)
    assert said == [told] and load_lock(session.lock_path) == LOCK


def test_a_trial_under_way_is_told_as_that_and_its_own_parts_pass_it_over(session, said):
    tried, _ = start_trial(session)
    write_lock(tried, Lock(engine=LockedEngine(commit=COMMIT, pinned="0.32.0")))
    with hold_project(session, "upgrade 0.32.0"):
        assert describe_trial(session) == (
            "`stack upgrade 0.32.0` is under way: it ends by itself, with the new engine or the old one"
        )
        clear_trial(replace(session, is_held=True, lock_file=tried))
    assert said == [] and tried.is_file()


def test_a_copy_that_cannot_be_read_is_a_trial_all_the_same(session):
    tried, _ = start_trial(session)
    tried.write_text("\x00")
    assert "`stack upgrade …` was interrupted" in describe_trial(session)


def test_a_trial_that_was_kept_and_killed_before_its_end_leaves_nothing_to_tell(session, said):
    tried, _ = start_trial(session)
    write_lock(tried, Lock(engine=LockedEngine(commit=COMMIT, pinned="nightly")))
    session.lock_path.write_bytes(tried.read_bytes())
    assert describe_trial(session) is None
    clear_trial(session)
    assert said == [] and not tried.parent.exists()

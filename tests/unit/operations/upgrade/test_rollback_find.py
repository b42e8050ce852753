"""Where one can go back to: what passed, what would run otherwise, what is at hand, and what keeps it from a prune."""

from datetime import UTC, datetime

import pytest

from stack.config.lock import Lock, LockedEngine, LockedImage, LockedModel, render_lock
from stack.errors import ConfigError
from stack.history.records import PassedLock
from stack.operations.upgrade.rollback_find import (
    KEPT_LOCKS,
    Change,
    choose_candidate,
    find_candidates,
    find_changes,
    find_place,
    read_kept_digests,
)

A, B, C = ("sha256:" + digit * 64 for digit in "abc")


def build(commit="a", digest=A, **engine):
    entry = LockedImage(reference="docker.io/v/v:n", tag="n", digest=digest, device="cpu", source="registry")
    engine = {"commit": commit * 40, "version": "0.31.0"} | engine
    return Lock(
        engine=LockedEngine(**engine), images={"engine/cpu": entry}, model=LockedModel(id="demo", revision="r1")
    )


def passed(lock, day=1, text=None):
    commit = lock.engine.commit if lock.engine else None
    return PassedLock(
        "0" * 64, text or render_lock(lock), datetime(2026, 11, day, tzinfo=UTC), commit, "0.31.0", "demo", "r1"
    )


PRESENT = build()
OTHER, THIRD = build("b", B), build("c", C)


def test_the_present_lock_is_none_and_the_others_are_numbered_by_when_they_passed():
    found = find_candidates([passed(PRESENT), passed(OTHER), passed(THIRD)], PRESENT)
    assert [(item.number, item.lock) for item in found] == [(1, OTHER), (2, THIRD)]
    assert found[0].changes == (Change("commit", "a" * 40, "b" * 40), Change("image engine/cpu", A, B))


def test_a_lock_that_runs_the_same_is_no_other_whoever_pinned_it():
    again = build(pinned="nightly", rests_on="the label", accepted="claimed")
    assert find_candidates([passed(again)], PRESENT) == []
    assert len(find_candidates([passed(OTHER), passed(build("b", B, pinned="nightly"))], PRESENT)) == 1


def test_a_present_lock_that_cannot_be_read_differs_from_all():
    assert len(find_candidates([passed(PRESENT)], None)) == 1


def test_a_lock_of_a_newer_version_is_no_way_back():
    newer = render_lock(OTHER).replace("schema_version = 1", "schema_version = 99")
    assert [item.lock for item in find_candidates([passed(OTHER, text=newer), passed(THIRD)], PRESENT)] == [THIRD]


def test_another_model_revision_or_a_service_that_goes_are_changes():
    with_prometheus = PRESENT.model_copy(
        update={"images": {**PRESENT.images, "prometheus": LockedImage(reference="p:1", source="packages")}}
    )
    assert find_changes(with_prometheus, PRESENT) == [Change("image prometheus", "p:1", None)]
    other_model = PRESENT.model_copy(update={"model": LockedModel(id="demo", revision="r2")})
    assert find_changes(PRESENT, other_model) == [Change("revision", "r1", "r2")]


CANDIDATES = find_candidates([passed(OTHER), passed(THIRD)], PRESENT)


@pytest.mark.parametrize(
    ("asked", "lock"),
    [(None, OTHER), ("1", OTHER), ("2", THIRD), ("c" * 40, THIRD), ("BBBB", OTHER), (" cccc ", THIRD)],
)
def test_one_is_chosen_by_its_number_or_its_commit(asked, lock):
    assert choose_candidate(CANDIDATES, asked).lock == lock


@pytest.mark.parametrize("asked", ["3", "0", "ccc", "dddd", "", "a" * 40, "latest"])
def test_what_is_not_in_the_list_is_refused(asked):
    with pytest.raises(ConfigError, match="no lock that passed smoke is"):
        choose_candidate(CANDIDATES, asked)


def test_a_commit_with_several_locks_gives_the_one_that_passed_last_and_a_beginning_of_two_is_refused():
    again = find_candidates([passed(build("b", C)), passed(OTHER)], PRESENT)
    assert choose_candidate(again, "bbbb") is again[0]
    near = Lock(engine=LockedEngine(commit="b" * 8 + "c" * 32), images=THIRD.images)
    with pytest.raises(ConfigError, match="begins several commits"):
        choose_candidate(find_candidates([passed(OTHER), passed(near)], PRESENT), "bbbb")


def test_where_there_is_nothing_to_go_back_to_that_is_said():
    with pytest.raises(ConfigError, match="no other lock than the present one has passed smoke"):
        choose_candidate([], None)


@pytest.mark.parametrize(
    ("here", "ids", "archived", "place"),
    [
        ({f"docker.io/v/v@{A}"}, {}, {}, "here"),
        ({"sha256:id"}, {f"docker.io/v/v@{A}": "sha256:id"}, {}, "here"),
        ({f"mirror.example/v/v@{A}"}, {}, {}, "here"),
        (set(), {}, {A: object()}, "in the archive"),
        ({"docker.io/v/v:n", f"docker.io/v/v@{B}"}, {}, {B: object()}, "gone: a registry may have it"),
    ],
)
def test_the_engine_is_here_by_its_digest_in_the_archive_or_gone(here, ids, archived, place):
    find = {name: {"Id": "sha256:x", "RepoDigests": ["x"]} for name in here}.get
    mirror = {"docker.io": "mirror.example"}
    assert find_place(PRESENT, "cpu", find, ids, mirror, archived) == place
    assert find_place(PRESENT, "cuda", find, ids, mirror, archived) == "it has none for cuda"


def test_a_built_engine_is_here_by_its_tag():
    entry = LockedImage(reference="localhost/stack/engine:1", device="cpu", source="packages")
    lock = Lock(images={"engine/cpu": entry})
    assert find_place(lock, "cpu", {"localhost/stack/engine:1": {}}.get, {}, {}, {}) == "here"
    assert find_place(lock, "cpu", {}.get, {}, {}, {}) == "gone: it is built anew by `stack up`"


@pytest.fixture
def keep(tmp_path):
    """A function: a project and the locks with which it passed, the oldest first."""
    from stack.history.records import BootStart
    from stack.history.store import open_history

    def keep(project, *locks):
        history = open_history(tmp_path / project / "history.sqlite")
        now = datetime(2026, 11, 1, tzinfo=UTC)
        for lock in locks:
            start = BootStart(
                kind="k", started_at=now, commit=None, commit_level="unknown", version=None, image_digest=None,
                image_id="x", model="demo", revision=None, device="cpu",
                lock_sha256=history.note_lock(render_lock(lock), now),
            )  # fmt: skip
            history.record_smoke(history.record_boot(start), started_at=now, passed=True, report={})

    return keep


def test_what_projects_can_go_back_to_is_kept_and_what_is_older_is_not(keep, tmp_path):
    old = [build("a", f"sha256:{number:064x}") for number in range(KEPT_LOCKS + 3)]
    keep("one", *old)
    keep("two", OTHER)
    (tmp_path / "three").mkdir()
    (tmp_path / "three/history.sqlite").write_text("no database")
    found = read_kept_digests(tmp_path)
    assert found["`stack rollback` of project `two`"] == {B}
    kept = found["`stack rollback` of project `one`"]
    # The present one, and as many as can be gone back to.
    assert kept == {f"sha256:{number:064x}" for number in range(2, KEPT_LOCKS + 3)}
    assert set(found) == {"`stack rollback` of project `one`", "`stack rollback` of project `two`"}

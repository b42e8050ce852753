"""A save is of one state of the project, and its place is looked at before anything else."""

import pytest

from stack.bundles.manifest import BundleImage
from stack.bundles.problem import BundleError
from stack.config.lock import Lock, LockedEngine
from stack.operations.bundle import save as bundle_save
from stack.operations.bundle.save import run_save
from stack.operations.session import is_held_by_others

COMMIT = "a" * 40


def test_the_project_is_held_while_it_is_saved(make_session, tmp_path, monkeypatch):
    session, seen = make_session(), []
    monkeypatch.setattr(bundle_save, "_save", lambda own, *rest: seen.append((own.is_held, is_held_by_others(session))))
    run_save(session, tmp_path / "dir")
    assert seen == [(True, True)] and not is_held_by_others(session)


def test_a_name_that_no_bundle_has_is_refused_before_the_engine_is_asked(make_session, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_save, "_save", lambda *rest: pytest.fail("it was saved"))
    with pytest.raises(BundleError, match="archive of another kind"):
        run_save(make_session(), tmp_path / "bundle.tar.gz")


def test_the_commit_of_the_image_is_that_of_the_lock_that_was_resolved():
    image = BundleImage(service="engine", name="a/b:1", image_id=f"sha256:{'1' * 64}", manifest=f"sha256:{'2' * 64}")
    lock = Lock(engine=LockedEngine(commit=COMMIT, commit_level="claimed"))
    said = bundle_save._add_commit(lock, image)
    assert (said.commit, said.level) == (COMMIT, "claimed")
    other = image.model_copy(update={"service": "prometheus"})
    assert bundle_save._add_commit(lock, other) == other

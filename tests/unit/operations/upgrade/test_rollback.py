"""How a rollback goes on from what its parts say: back, back and failing, not possible, or not coming up."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from stack.config.lock import load_lock, render_lock, write_lock
from stack.errors import ConfigError, ModelError, ServiceExitedError
from stack.history.records import BootStart
from stack.history.store import open_history
from stack.operations.project import ProjectFacts, write_facts
from stack.operations.upgrade import rollback as module
from stack.operations.upgrade.page import tell_rollback
from stack.operations.upgrade.rollback import NoWayBackError, RollbackFailedError, run_rollback
from tests.unit.operations.upgrade.test_rollback_find import OTHER, PRESENT, B, C
from tests.unit.operations.upgrade.test_upgrade_compare import smoke

NOW = datetime(2026, 11, 1, tzinfo=UTC)


class World:
    """What the parts of a rollback say; notes with which lock an engine was looked at and brought up."""

    def __init__(self, session):
        self.session = session
        self.looks, self.boots = [], []
        self.look_fails, self.boot_fails, self.digest = None, None, B
        self.report = smoke()

    def up(self, session, *, dry_run=False):
        assert session.is_held
        (self.looks if dry_run else self.boots).append(load_lock(session.lock_path))
        fails = self.look_fails if dry_run else self.boot_fails
        if fails is not None:
            raise fails
        reference = SimpleNamespace(digest=self.digest)
        need = SimpleNamespace(source="registry", wanted=SimpleNamespace(reference=reference), name="v/v:n")
        resolved = SimpleNamespace(device=SimpleNamespace(device="cpu"), needs={"engine": need})
        return SimpleNamespace(resolved=resolved, warnings=[], boot=SimpleNamespace(total_seconds=30.0))


@pytest.fixture
def world(make_session, monkeypatch):
    session = make_session()
    write_lock(session.lock_path, PRESENT)
    history = open_history(session.paths.history)
    start = BootStart(
        kind="k", started_at=NOW, commit="b" * 40, commit_level="unknown", version="0.31.0", image_digest=None,
        image_id="x", model="demo", revision="r1", device="cpu",
        lock_sha256=history.note_lock(render_lock(OTHER), NOW),
    )  # fmt: skip
    boot = history.record_boot(start)
    history.record_smoke(boot, started_at=NOW, passed=True, report={})
    write_facts(session.paths.facts, ProjectFacts(last_boot=boot))
    found = World(session)
    monkeypatch.setattr(module, "run_up", found.up)
    monkeypatch.setattr(module, "run_smoke", lambda session: found.report)
    monkeypatch.setattr(module, "keep_engine", lambda session, device, now: None)
    return found


def last_run(world):
    return open_history(world.session.paths.history).list_runs("rollback")[0]


def test_it_is_looked_at_beside_the_lock_and_then_becomes_it(world):
    result = run_rollback(world.session)
    assert (world.looks, world.boots) == ([OTHER], [OTHER])
    assert world.session.lock_path.read_text() == render_lock(OTHER)
    assert (result.boot_seconds, result.failed) == (30.0, []) and last_run(world).passed


def test_smoke_that_fails_is_told_and_the_lock_stays(world):
    world.report = smoke("canaries")
    assert run_rollback(world.session).failed == ["canaries"]
    assert load_lock(world.session.lock_path) == OTHER and not last_run(world).passed


def test_what_is_not_here_stops_nothing(world):
    world.look_fails = ModelError("the model is not on the volume")
    with pytest.raises(NoWayBackError) as caught:
        run_rollback(world.session)
    assert caught.value.exit_code == 7 and "nothing was stopped" in caught.value.message
    assert (load_lock(world.session.lock_path), world.boots) == (PRESENT, [])
    assert not (world.session.paths.state / "upgrade").exists()


def test_a_lock_that_the_configuration_would_pass_over_stops_nothing(world):
    world.digest = C
    with pytest.raises(ConfigError, match="the configuration comes to v/v:n, and that lock has sha256:bbb"):
        run_rollback(world.session)
    assert (load_lock(world.session.lock_path), world.boots) == (PRESENT, [])


def test_an_engine_that_does_not_come_up_leaves_its_lock_for_the_next_up(world):
    world.boot_fails = ServiceExitedError("engine", 3.0, "no kernel", "ended", hint="see the log")
    with pytest.raises(RollbackFailedError) as caught:
        run_rollback(world.session)
    assert caught.value.exit_code == 5 and "`stack rollback --to N` takes an older one" in caught.value.hint
    assert load_lock(world.session.lock_path) == OTHER
    assert (last_run(world).passed, last_run(world).report["passed"]) == (False, False)
    assert tell_rollback(last_run(world).report).summary.startswith("back to vLLM ")


def test_a_present_lock_that_is_damaged_is_replaced(world, said):
    world.session.lock_path.write_text("<<<<<<< mine")
    run_rollback(world.session, "1")
    assert load_lock(world.session.lock_path) == OTHER
    assert any("a rollback replaces it" in line for line in said)

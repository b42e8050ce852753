"""How an upgrade goes on from what its parts say: kept, back, nothing to try, declined, or neither engine left."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from stack.config.lock import Lock, LockedEngine, LockedImage, load_lock, write_lock
from stack.errors import ConfigError, ImageError, NotRunningError, ServiceExitedError
from stack.history.store import open_history
from stack.operations.pin.run import PinResult
from stack.operations.pin.target import PinTarget
from stack.operations.project import ProjectFacts, write_facts
from stack.operations.up.plan import Plan, Step
from stack.operations.upgrade import run as module
from stack.operations.upgrade.page import tell_upgrade
from stack.operations.upgrade.result import UpgradeStrandedError, build_document, build_rows, describe_outcome
from stack.operations.upgrade.run import UpgradeOptions, run_upgrade
from tests.unit.operations.upgrade.test_upgrade_compare import OLD, PARIS, RECORDS, ROME, THE, smoke

COMMIT = "b" * 40
ENTRY = LockedImage(reference="docker.io/v/v:n", tag="n", digest="sha256:" + "b" * 64, device="cpu", source="registry")
OLD_LOCK = Lock(engine=LockedEngine(commit="a" * 40, version="0.31.0"))
NEW_LOCK = Lock(engine=LockedEngine(commit=COMMIT, version="0.32.0", pinned="nightly"), images={"engine/cpu": ENTRY})
CHANGE = Plan((Step("services", "change engine", "it has another image"), Step("boot", "wait", "it is started")))
NOTHING = Plan(())


class World:
    """What the parts of an upgrade say; notes which engines were brought up."""

    def __init__(self, session, history):
        self.session, self.history = session, history
        self.boots: list[str] = []
        self.plans = {"old": NOTHING, "new": CHANGE}
        self.fails: dict[str, Exception] = {}
        self.reports = {"old": smoke(), "new": smoke()}
        self.answers = {"old": (THE, PARIS), "new": (THE, PARIS)}
        self.asked: list[str] = []
        self.says_yes = True
        self.warm_seconds = 0.0
        self.briefly: list[bool] = []

    def name(self, session):
        return "new" if load_lock(session.lock_path) == NEW_LOCK else "old"

    def pin(self, session, text, **options):
        write_lock(session.lock_path, NEW_LOCK)
        image = SimpleNamespace(reference="docker.io/v/v:n")
        target = PinTarget(text, "moving")
        return PinResult(target, "cpu", image, NEW_LOCK.engine, ENTRY, [], [], None, session.lock_path, True, [])

    def up(self, session, *, dry_run=False):
        name = self.name(session)
        assert session.is_held and session.lock_path != self.session.lock_path
        if not dry_run:
            self.boots.append(name)
            if name in self.fails:
                raise self.fails[name]
        needs = {"engine": SimpleNamespace(action="none")}
        resolved = SimpleNamespace(needs=needs, model_facts=None)
        boot = SimpleNamespace(warm_seconds=self.warm_seconds)
        return SimpleNamespace(plan=self.plans[name], warnings=[], resolved=resolved, boot=boot)

    def measure(self, session, report, records, **options):
        self.briefly.append(options.get("is_brief", False))
        return replace(OLD, smoke=report, answers=self.answers[self.name(session)])

    def confirm(self, question):
        self.asked.append(question)
        return self.says_yes


@pytest.fixture
def world(make_session, monkeypatch):
    session = make_session(connect=lambda: None)
    write_lock(session.lock_path, OLD_LOCK)
    session.lock_path.write_text(session.lock_path.read_text() + "# mine\n")
    history = open_history(session.paths.history)
    number = history.record_boot(OLD.boot.start)
    write_facts(session.paths.facts, ProjectFacts(last_boot=number))
    boot = replace(OLD.boot, id=number)
    found = World(session, history)
    status = SimpleNamespace(is_serving=True, boot=boot, smoke=SimpleNamespace(passed=True, report=smoke()))
    found.status = status
    monkeypatch.setattr(module, "check_tools", lambda session: None)
    monkeypatch.setattr(module, "run_pin", found.pin)
    monkeypatch.setattr(module, "run_up", found.up)
    monkeypatch.setattr(module, "read_status", lambda session: status)
    monkeypatch.setattr(module, "run_smoke", lambda session: found.reports[found.name(session)])
    monkeypatch.setattr(module, "load_builtin_records", lambda is_pooling: RECORDS)
    monkeypatch.setattr(
        module, "measure_engine", lambda *args, **options: replace(found.measure(*args, **options), boot=boot)
    )
    monkeypatch.setattr(module, "keep_engine", lambda session, device, now: None)
    return found


def run(world, **options):
    before = world.session.lock_path.read_bytes()
    result = run_upgrade(world.session, "nightly", UpgradeOptions(**options), confirm=world.confirm)
    if result.outcome not in ("kept", "same"):
        assert world.session.lock_path.read_bytes() == before, "the old lock, byte for byte"
    assert not (world.session.paths.state / "upgrade").exists()
    return result


def test_an_engine_that_does_the_same_is_kept_and_its_lock_can_be_gone_back_to(world):
    result = run(world)
    assert (result.outcome, result.has_failed, world.boots) == ("kept", False, ["new"])
    assert load_lock(world.session.lock_path) == NEW_LOCK
    assert describe_outcome(result) == (
        f"kept: vLLM 0.32.0 (commit {'b' * 12}) runs instead of vLLM 0.31.0 (commit {'a' * 12})"
    )
    (noted,) = world.history.list_runs("upgrade")
    assert noted.passed and noted.report["outcome"] == "kept"
    assert tell_upgrade(noted.report).summary.startswith("kept: vLLM ")
    assert "SECRET" not in str(build_document(result)) and "Paris" not in str(build_document(result))
    named = world.history.load_boot(1).start.lock_sha256
    assert "# mine" in world.history.load_lock(named), "the old boot, which had no lock, has the old one now"


@pytest.mark.parametrize(("failed", "is_brief"), [("canaries", True), ("dashboards", False)])
def test_an_engine_that_answers_wrongly_is_measured_no_further_and_one_that_dashboards_miss_a_metric_of_is(
    world, failed, is_brief
):
    world.reports["new"] = smoke(failed)
    result = run(world)
    assert world.briefly == [False, is_brief]
    assert result.against == [f"smoke fails on it ({failed})"] and result.outcome == "back"


def test_the_service_is_away_until_the_first_token_and_not_while_smoke_is_prepared(world, monkeypatch):
    times = iter([100.0, 160.0])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(times)))
    world.warm_seconds = 18.0
    assert run(world).away_seconds == 42.0


def test_an_engine_that_answers_otherwise_goes_and_the_table_says_where(world):
    world.answers["new"] = (THE, ROME)
    result = run(world)
    assert (result.outcome, result.has_failed, world.boots) == ("back", True, ["new", "old"])
    assert describe_outcome(result).endswith("is back: 1 of 2 records are answered otherwise")
    rows = {row[0].strip(): row[1:] for row in build_rows(result)}
    assert rows["answers"][2] == "1 equal, 1 differs" and "no near tie" in rows["second"][2]
    assert rows["tokens a second"] == ("102", "102", "no verdict: +0% is no difference")
    assert rows["phase load"] == ("12.0 s", "12.0 s", "") and rows["metrics"] == ("2", "2", "the same")


@pytest.mark.parametrize(("force", "outcome", "failed"), [("keep", "kept", False), ("rollback", "back", False)])
def test_what_is_said_counts_more_than_the_comparison(world, force, outcome, failed):
    if force == "keep":
        world.answers["new"] = (THE, ROME)
    result = run(world, force=force)
    assert (result.outcome, result.has_failed) == (outcome, failed)
    assert f"`--{force}` was said" in describe_outcome(result)


def test_an_engine_that_does_not_boot_is_not_kept_whatever_is_said(world):
    world.fails["new"] = ServiceExitedError("engine", 3.0, "no kernel", "ended")
    result = run(world, force="keep")
    assert (result.outcome, result.has_failed, world.boots) == ("back", True, ["new", "old"])
    assert result.against == ["it does not come up: `engine` ended after 3 s: no kernel"]


def test_where_neither_engine_comes_up_that_is_the_error_with_the_next_command(world):
    world.fails = {"new": ServiceExitedError("engine", 3.0, "no kernel", "ended"), "old": ImageError("it is gone")}
    before = world.session.lock_path.read_bytes()
    with pytest.raises(UpgradeStrandedError) as caught:
        run(world)
    assert caught.value.exit_code == 9 and caught.value.hint.startswith("`stack up` tries the old one again")
    assert world.session.lock_path.read_bytes() == before
    report = world.history.list_runs("upgrade")[0].report
    assert report["outcome"] == "stranded"
    assert tell_upgrade(report).summary.startswith("neither serves: ")


def test_what_runs_already_is_pinned_and_nothing_is_stopped(world):
    world.plans["new"] = NOTHING
    result = run(world)
    assert (result.outcome, world.boots, world.asked) == ("same", [], [])
    assert load_lock(world.session.lock_path) == NEW_LOCK


def test_a_no_leaves_everything_as_it_is(world, said):
    world.says_yes = False
    result = run(world)
    assert (result.outcome, world.boots, result.has_failed) == ("declined", [], False)
    assert any(line.startswith("the service will be away for about 31 s") for line in said)
    assert world.history.list_runs("upgrade") == []


def test_a_stack_that_is_not_as_configured_or_does_not_run_is_refused(world):
    world.plans["old"] = CHANGE
    with pytest.raises(ConfigError, match="what runs is not what stack.toml and stack.lock come to"):
        run(world)
    world.status.is_serving = False
    with pytest.raises(NotRunningError) as caught:
        run(world)
    assert "`stack up` first" in caught.value.hint
    world.session.lock_path.unlink()
    with pytest.raises(NotRunningError):
        run_upgrade(world.session, "nightly", UpgradeOptions(), confirm=world.confirm)
    assert world.boots == []


def test_an_interrupt_says_what_the_lock_is_and_leaves_what_status_tells_of(world, said, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "measure_engine", interrupt)
    before = world.session.lock_path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        run_upgrade(world.session, "nightly", UpgradeOptions(), confirm=world.confirm)
    assert said[-1] == "interrupted: stack.lock is as it was, and `stack up` goes by that"
    assert world.session.lock_path.read_bytes() == before
    assert (world.session.paths.state / "upgrade").is_dir()


def test_an_interrupt_after_the_lock_was_written_says_that(world, said, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "keep_engine", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_upgrade(world.session, "nightly", UpgradeOptions(), confirm=world.confirm)
    assert said[-1] == "interrupted: stack.lock names the new engine, and `stack up` goes by that"
    assert load_lock(world.session.lock_path) == NEW_LOCK

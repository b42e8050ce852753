"""What a pin in stack.lock means to `up`, and what stays of it."""

import datetime

import pytest

from stack.config.lock import Lock, LockedEngine, LockedImage
from stack.config.schema import StackConfig
from stack.operations.pin.lock import describe_pin, find_fading, find_pin, keep_found, keep_pin, merge_pin, use_pin

COMMIT, OTHER = "0" * 40, "1" * 40
DIGEST = "sha256:" + "a" * 64
NOW = datetime.datetime(2026, 11, 20, tzinfo=datetime.UTC)
PIN = LockedEngine(commit=COMMIT, commit_level="claimed", version="0.32.0", accepted="claimed", pinned="0.32.0")
IMAGE = LockedImage(
    reference="a.example/b:c", tag="c", digest=DIGEST, source="registry", found_by="nightly",
    created="2026-11-10T01:02:03.123456789Z",
)  # fmt: skip
LOCK = Lock(engine=PIN, images={"engine/cpu": IMAGE})


def configure(**engine):
    return StackConfig.model_validate({"engine": engine})


def test_a_pin_gives_the_configuration_its_commit_and_the_level_that_was_accepted():
    engine = use_pin(configure(), LOCK).engine
    assert (engine.commit, engine.version, engine.accept) == (COMMIT, None, "claimed")


def test_what_up_itself_locked_is_no_pin():
    lock = LOCK.model_copy(update={"engine": PIN.model_copy(update={"pinned": None})})
    assert use_pin(configure(), lock) == configure()
    assert describe_pin(configure(), lock, "cpu") is None


@pytest.mark.parametrize("engine", [{"commit": COMMIT}, {"version": "0.32.0"}, {}])
def test_a_configuration_that_asks_for_the_same_uses_the_pin(engine):
    assert find_pin(configure(**engine), LOCK) is PIN


@pytest.mark.parametrize("engine", [{"commit": OTHER}, {"version": "0.31.0"}, {"image": "a.example/x:y"}])
def test_a_configuration_that_asks_for_another_is_obeyed_and_that_is_said(engine):
    config = configure(**engine)
    assert use_pin(config, LOCK) == config
    value, reason = describe_pin(config, LOCK, "cpu")
    assert value == next(iter(engine.values())) and "is not used" in reason


def test_an_old_nightly_is_told_with_the_day_of_its_end():
    assert describe_pin(configure(), LOCK, "cpu") == (COMMIT, "pinned by `stack pin 0.32.0`")
    said = find_fading(configure(), LOCK, "cpu", NOW)
    assert "a nightly of 9 days" in said and "`stack pin --archive` keeps it" in said
    assert "upstream keeps the newest 14 nightlies: its tag is deleted about 2026-11-25" in said
    late = find_fading(configure(), LOCK, "cpu", NOW + datetime.timedelta(days=9))
    assert "its tag was to be deleted about" in late
    assert find_fading(configure(), LOCK, "cpu", NOW - datetime.timedelta(days=2)) is None
    assert find_fading(configure(commit=OTHER), LOCK, "cpu", NOW) is None


@pytest.mark.parametrize("more", [{"created": "yesterday"}, {"created": None}, {"found_by": "release"}])
def test_an_image_that_stays_or_says_no_date_has_no_age(more):
    lock = LOCK.model_copy(update={"images": {"engine/cpu": IMAGE.model_copy(update=more)}})
    assert find_fading(configure(), lock, "cpu", NOW) is None


def test_an_engine_of_another_commit_on_another_device_is_dropped_and_named():
    old = Lock(engine=PIN, images={"engine/cuda": IMAGE, "prometheus": IMAGE})
    merged, dropped = merge_pin(old, PIN.model_copy(update={"commit": OTHER}), "engine/cpu", IMAGE)
    assert dropped == ["engine/cuda"] and sorted(merged.images) == ["engine/cpu", "prometheus"]
    merged, dropped = merge_pin(old, PIN, "engine/cpu", IMAGE)
    assert dropped == [] and sorted(merged.images) == ["engine/cpu", "engine/cuda", "prometheus"]


def test_what_up_writes_keeps_what_the_pin_said_of_the_same_and_only_of_that():
    read = LockedEngine(commit=COMMIT, commit_level="claimed", version="0.32.0")
    assert keep_pin(PIN, read).pinned == "0.32.0" and keep_pin(PIN, read).accepted == "claimed"
    assert keep_pin(PIN, read.model_copy(update={"commit": OTHER})).pinned is None
    bare = LockedImage(reference="a.example/b:c", tag="c", digest=DIGEST, source="registry")
    assert keep_found(IMAGE, bare).found_by == "nightly"
    assert keep_found(IMAGE, bare.model_copy(update={"reference": "a.example/b:d"})).found_by is None


BUILT = LockedImage(reference="localhost/stack/engine:cpu-0.30.0-1", device="cpu", source="packages")
RELEASE = LockedEngine(commit_level="unknown", version="0.30.0", accepted="verified", pinned="0.30.0")


def test_a_release_that_is_built_here_without_a_known_commit_goes_by_its_version():
    lock = Lock(engine=RELEASE, images={"engine/cpu": BUILT})
    assert (use_pin(configure(), lock).engine.version, use_pin(configure(), lock).engine.commit) == ("0.30.0", None)
    pulled = Lock(engine=RELEASE, images={"engine/cpu": IMAGE})
    assert use_pin(configure(), pulled) == configure()


def test_a_pin_of_a_release_without_a_commit_does_not_outlive_another_release():
    read = LockedEngine(commit_level="unknown", version="0.30.0", accepted="verified")
    assert keep_pin(RELEASE, read).pinned == "0.30.0"
    assert keep_pin(RELEASE, read.model_copy(update={"version": "0.29.0"})).pinned is None
    assert keep_pin(RELEASE, read.model_copy(update={"version": None})).pinned == "0.30.0"

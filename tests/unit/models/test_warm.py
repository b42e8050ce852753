from __future__ import annotations

import pytest

from stack.models.snapshot import SnapshotKey
from stack.models.volume import hold_lock
from stack.models.warm import (
    list_snapshots,
    load_available_memory_bytes,
    plan_prune,
    prune,
    read_into_page_cache,
)
from stack.progress import ignore

from .conftest import build_model_files, write_files


@pytest.fixture
def volume(tmp_path):
    return tmp_path / "volume"


def test_the_weights_are_read_once_with_their_bytes(hub, ensure):
    hub.add_model("acme/tiny", build_model_files())
    snapshot = ensure()
    events = []
    done = read_into_page_cache(snapshot, events.append, available_bytes=lambda: None)
    assert done == snapshot.weights_bytes > 0
    assert (events[-1].state, events[-1].completed_bytes) == ("done", snapshot.weights_bytes)


def test_weights_larger_than_memory_are_left_alone_and_that_is_said(hub, ensure):
    hub.add_model("acme/tiny", build_model_files())
    events = []
    assert read_into_page_cache(ensure(), events.append, available_bytes=lambda: 1000) == 0
    assert events[-1].state == "skipped"
    assert "1000 bytes of memory free" in events[-1].text


def test_reading_ends_when_it_is_stopped(hub, ensure):
    hub.add_model("acme/tiny", build_model_files())
    assert read_into_page_cache(ensure(), ignore, available_bytes=lambda: None, is_stopped=lambda: True) == 0


def test_this_machine_tells_its_memory():
    assert load_available_memory_bytes() > 0


def test_the_volume_lists_what_it_holds(hub, ensure, volume, tmp_path):
    for name in ("acme/one", "acme/two"):
        hub.add_model(name, build_model_files())
        ensure(name)
    folder = write_files(tmp_path / "mine", build_model_files())
    ensure(str(folder))
    (volume / "hub" / "acme--bad" / "x").mkdir(parents=True)
    (volume / "hub" / "acme--bad" / "x" / "snapshot.json").write_text("{")
    assert [(s.kind, s.id) for s in list_snapshots(volume)] == [
        ("directory", str(folder)),
        ("hub", "acme/one"),
        ("hub", "acme/two"),
    ]


def test_a_volume_that_is_not_there_holds_nothing(tmp_path):
    assert list_snapshots(tmp_path / "none") == []
    assert plan_prune(tmp_path / "none", []) == []


def test_pruning_frees_what_is_not_kept_and_never_what_is(hub, ensure, volume):
    snapshots = {}
    for name in ("acme/one", "acme/two"):
        hub.add_model(name, build_model_files())
        snapshots[name] = ensure(name)
    plan = plan_prune(volume, [snapshots["acme/one"].key])
    assert [pruned.path for pruned in plan] == [snapshots["acme/two"].path.parent]
    assert plan[0].size_bytes > snapshots["acme/two"].size_bytes
    assert snapshots["acme/two"].path.is_dir()
    assert prune(volume, [snapshots["acme/one"].key]) == plan
    assert list_snapshots(volume) == [snapshots["acme/one"]]
    assert list((volume / ".staging").iterdir()) == []


def test_unfinished_downloads_go_but_not_one_that_is_running(volume):
    for commit in ("a" * 40, "b" * 40):
        write_files(volume / ".staging" / f"hub--acme--tiny--{commit}" / "files", {"x.part": b"123"})
    running = SnapshotKey("hub", "acme/tiny", "a" * 40)
    with hold_lock(volume, running, ignore, "test"):
        gone = prune(volume, [])
    assert [(pruned.what, pruned.size_bytes) for pruned in gone] == [(f"unfinished hub--acme--tiny--{'b' * 40}", 3)]
    assert [path.name for path in (volume / ".staging").iterdir()] == [f"hub--acme--tiny--{'a' * 40}"]


def test_a_users_directory_is_never_touched_and_its_record_goes_with_it(ensure, volume, tmp_path):
    folder = write_files(tmp_path / "mine", build_model_files())
    ensure(str(folder))
    assert prune(volume, []) == []
    folder.rename(tmp_path / "elsewhere")
    assert ["which is gone" in pruned.what for pruned in prune(volume, [])] == [True]
    assert (tmp_path / "elsewhere" / "config.json").is_file()

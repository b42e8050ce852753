from __future__ import annotations

import os

import pytest

from stack.models.verify import check_snapshot, settle_touched
from stack.progress import ignore

from .conftest import build_model_files

SHARD = "model-00001-of-00002.safetensors"


@pytest.fixture
def snapshot(hub, ensure):
    hub.add_model("acme/tiny", build_model_files())
    return ensure()


def problems_of(snapshot, **settings):
    return [(problem.name, problem.state) for problem in check_snapshot(snapshot, **settings)]


def test_a_snapshot_that_nobody_touched_has_no_problems(snapshot):
    assert problems_of(snapshot) == []
    assert problems_of(snapshot, deep=True) == []


def test_every_harmed_file_is_named_with_what_happened_to_it(snapshot):
    (snapshot.path / "config.json").unlink()
    (snapshot.path / "tokenizer.json").write_bytes(b"{}")
    (snapshot.path / "new.safetensors").write_bytes(b"x")
    with (snapshot.path / SHARD).open("ab") as stream:
        stream.write(b"more")
    assert problems_of(snapshot) == [
        ("config.json", "missing"),
        (SHARD, "resized"),
        ("new.safetensors", "added"),
        ("tokenizer.json", "resized"),
    ]
    messages = [str(problem) for problem in check_snapshot(snapshot)]
    assert messages[0] == "config.json: it is gone"
    assert messages[3] == "tokenizer.json: it was cut (2 bytes, was 18)"


def test_other_bytes_of_the_same_length_are_suspected_quickly_and_proved_deeply(snapshot):
    path = snapshot.path / "tokenizer.json"
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))
    assert problems_of(snapshot) == [("tokenizer.json", "touched")]
    assert problems_of(snapshot, deep=True) == [("tokenizer.json", "changed")]


def test_bytes_changed_behind_the_files_times_are_found_deeply(snapshot):
    path = snapshot.path / "tokenizer.json"
    status = path.stat()
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert problems_of(snapshot) == []
    assert problems_of(snapshot, deep=True) == [("tokenizer.json", "changed")]


def test_a_snapshot_whose_directory_is_gone_lacks_every_file(snapshot, tmp_path):
    snapshot.path.rename(tmp_path / "away")
    assert {state for _, state in problems_of(snapshot, deep=True)} == {"missing"}


def test_hashing_reports_its_bytes_and_its_verdict(snapshot):
    events = []
    check_snapshot(snapshot, deep=True, report=events.append)
    assert events[-2].completed_bytes == events[-2].total_bytes == snapshot.size_bytes
    assert (events[-1].state, events[-1].text) == ("done", "5 files hashed, 0 changed")


def test_a_touched_file_with_the_right_bytes_is_recorded_anew(snapshot, tmp_path):
    os.utime(snapshot.path / SHARD, ns=(1, 1))
    settled, rest = settle_touched(tmp_path / "volume", snapshot, check_snapshot(snapshot), ignore)
    assert rest == []
    assert problems_of(settled) == []


def test_a_touched_file_on_a_volume_that_is_only_read_is_still_good(snapshot, tmp_path, monkeypatch):
    os.utime(snapshot.path / SHARD, ns=(1, 1))
    found = check_snapshot(snapshot)
    events = []
    settled, rest = settle_touched(tmp_path / "no" / "such", snapshot, found, events.append)
    assert (settled, rest) == (snapshot, [])
    assert events[-1].state == "skipped"

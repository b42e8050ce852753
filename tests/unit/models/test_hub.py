from __future__ import annotations

import hashlib
import os
import stat
import threading

import pytest

from stack.errors import ModelError
from stack.models.hub import is_commit

from .conftest import build_model_files

NEEDED = (
    "config.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
)


def test_a_branch_becomes_the_commit_it_points_to(hub, ensure):
    model = hub.add_model("acme/tiny", build_model_files())
    snapshot = ensure(revision="main")
    assert snapshot.revision == model.commit
    assert snapshot.path == snapshot.mount_root
    assert snapshot.served_name == "acme/tiny"


def test_only_what_an_engine_needs_is_fetched_and_its_hashes_are_kept(hub, ensure):
    model = hub.add_model("acme/tiny", build_model_files())
    snapshot = ensure()
    assert tuple(record.name for record in snapshot.files) == NEEDED
    for record in snapshot.files:
        body = (snapshot.path / record.name).read_bytes()
        assert body == model.files[record.name]
        assert (record.size_bytes, record.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert sorted(p.name for p in snapshot.path.iterdir()) == sorted(NEEDED)
    assert hub.count("pytorch_model.bin") == 0


def test_files_are_real_and_readable_by_everyone_whatever_the_umask(hub, ensure, tmp_path):
    hub.add_model("acme/tiny", build_model_files() | {"1_Pooling/config.json": b"{}"})
    before = os.umask(0o077)
    try:
        snapshot = ensure()
    finally:
        os.umask(before)
    for path in snapshot.path.rglob("*"):
        mode = path.lstat().st_mode
        assert not stat.S_ISLNK(mode)
        assert stat.S_IMODE(mode) == (0o755 if path.is_dir() else 0o644)
    folder = snapshot.path
    while folder != tmp_path:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
        folder = folder.parent


def test_bytes_are_reported_up_to_the_whole(hub, ensure, events):
    hub.add_model("acme/tiny", build_model_files(4_000_000))
    snapshot = ensure()
    counted = [event.completed_bytes for event in events if event.completed_bytes is not None]
    assert counted[-1] == snapshot.size_bytes
    assert len(set(counted)) > 3
    assert events[-1].state == "done"


def test_the_token_goes_to_the_hub_and_never_to_the_storage(hub, ensure):
    hub.add_model("acme/tiny", build_model_files(), needs_token="hf_right")
    ensure(token="hf_right")
    at_hub = [r for r in hub.requests if not r.path.startswith("/storage")]
    at_storage = [r for r in hub.requests if r.path.startswith("/storage")]
    assert all(r.headers.get("authorization") == "Bearer hf_right" for r in at_hub)
    assert at_storage
    assert not any("authorization" in r.headers for r in at_storage)


def test_a_mirror_that_leaves_out_hashes_is_asked_for_its_tree_page_by_page(hub, ensure):
    hub.page_size = 2
    hub.add_model("acme/tiny", build_model_files(), leaves_out_hashes=True)
    snapshot = ensure()
    assert tuple(record.name for record in snapshot.files) == NEEDED
    assert hub.count("/tree/") == 4


def test_a_cut_download_goes_on_where_it_stopped(hub, ensure):
    hub.add_model("acme/tiny", build_model_files(4_000_000))
    hub.cut_body("/storage/", 1_500_000)
    ensure()
    ranges = [r.headers["range"] for r in hub.requests if "range" in r.headers and r.path.startswith("/storage")]
    assert len(ranges) == 1
    assert not ranges[0].startswith("bytes=0-")


def test_of_a_cut_download_every_byte_that_came_is_kept(hub, ensure):
    hub.add_model("acme/tiny", build_model_files(100_000))
    hub.cut_body("/storage/", 1_234)
    ensure()
    ranges = [r.headers["range"] for r in hub.requests if "range" in r.headers and r.path.startswith("/storage")]
    assert [text.partition("-")[0] for text in ranges] == ["bytes=1234"]


def test_what_an_interrupted_run_left_is_not_fetched_again(hub, ensure, tmp_path):
    hub.add_model("acme/tiny", build_model_files(4_000_000))
    hub.cut_body("/storage/", 1_500_000)
    hub.answer_with(500, "/storage/", times=1000)
    with pytest.raises(ModelError, match="status 500"):
        ensure()
    assert not (tmp_path / "volume" / "hub").exists()
    parts = [path.name for path in (tmp_path / "volume" / ".staging").rglob("*.part")]
    assert parts
    hub.faults.clear()
    hub.requests.clear()
    ensure()
    assert hub.count("config.json") == hub.count("tokenizer.json") == 0
    for name in parts:
        resumed = [r for r in hub.requests if r.path.endswith(name.removesuffix(".part"))]
        assert ["range" in request.headers for request in resumed] == [True]


def test_a_server_that_ignores_ranges_is_read_from_the_start(hub, ensure):
    model = hub.add_model("acme/tiny", build_model_files(4_000_000))
    hub.cut_body("/storage/", 1_500_000)
    hub.ignore_range("/storage/", times=10)
    snapshot = ensure()
    assert (snapshot.path / NEEDED[1]).read_bytes() == model.files[NEEDED[1]]


@pytest.mark.parametrize("path", ["/storage/", "tokenizer.json"])
def test_wrong_bytes_of_the_right_length_are_fetched_once_more(hub, ensure, path):
    model = hub.add_model("acme/tiny", build_model_files())
    hub.corrupt_body(path)
    snapshot = ensure()
    assert all((snapshot.path / name).read_bytes() == model.files[name] for name in NEEDED)


@pytest.mark.parametrize("path", ["/storage/", "tokenizer.json"])
def test_wrong_bytes_twice_are_refused_and_nothing_lands(hub, ensure, tmp_path, path):
    hub.add_model("acme/tiny", build_model_files())
    hub.corrupt_body(path, times=1000)
    with pytest.raises(ModelError, match="wrong bytes"):
        ensure()
    assert not (tmp_path / "volume" / "hub").exists()


def test_a_known_commit_on_the_volume_asks_nobody(hub, ensure):
    model = hub.add_model("acme/tiny", build_model_files())
    first = ensure()
    hub.requests.clear()
    again = ensure(revision=model.commit)
    assert again == first
    assert ensure(revision="main", locked_revision=model.commit) == first
    assert hub.requests == []


def test_a_branch_that_did_not_move_is_not_fetched_again(hub, ensure):
    hub.add_model("acme/tiny", build_model_files())
    first = ensure()
    hub.requests.clear()
    assert ensure() == first
    assert hub.count("/resolve/") == 0


def test_a_branch_that_moved_lands_beside_the_old_commit(hub, ensure, tmp_path):
    hub.add_model("acme/tiny", build_model_files())
    first = ensure()
    hub.add_model("acme/tiny", build_model_files() | {"config.json": b"{}"})
    second = ensure()
    assert first.revision != second.revision
    assert first.path.is_dir()
    assert second.path.is_dir()
    assert ensure(locked_revision=first.revision) == first


def test_offline_a_known_commit_is_used_and_a_branch_is_refused_with_the_commits_that_are_there(hub, ensure):
    model = hub.add_model("acme/tiny", build_model_files())
    ensure()
    hub.requests.clear()
    offline = {"HF_HUB_OFFLINE": "1"}
    assert ensure(revision=model.commit, environ=offline).revision == model.commit
    with pytest.raises(ModelError) as caught:
        ensure(environ=offline)
    assert model.commit in caught.value.hint
    assert hub.requests == []


def test_one_of_two_at_once_downloads_and_the_other_waits_and_says_so(hub, ensure):
    hub.add_model("acme/tiny", build_model_files())
    gate, said, found = threading.Event(), [], []
    hub.hold("/storage/", gate)

    def wait(seconds: float) -> None:
        gate.set()
        threading.Event().wait(0.02)

    first = threading.Thread(target=lambda: found.append(ensure()))
    first.start()
    while hub.count("/storage/") == 0:
        threading.Event().wait(0.005)
    found.append(ensure(report=said.append, sleep=wait))
    first.join()
    assert found[0] == found[1]
    assert hub.count("/resolve/") == len(NEEDED)
    assert any("waiting for another process" in event.text for event in said)


def test_a_full_disk_is_found_before_the_start(hub, ensure):
    hub.add_model("acme/tiny", build_model_files())
    with pytest.raises(ModelError, match="free, the model needs") as caught:
        ensure(free_bytes=lambda path: 1000)
    assert "--prune" in caught.value.hint
    assert hub.count("/resolve/") == 0


def test_a_volume_that_cannot_be_written_is_explained(hub, ensure, tmp_path):
    hub.add_model("acme/tiny", build_model_files())
    (tmp_path / "volume").write_text("a file in the way")
    with pytest.raises(ModelError, match=r"cannot lock .*volume"):
        ensure()


def test_a_listing_that_names_an_absolute_path_is_refused(hub, ensure):
    hub.add_model("acme/tiny", build_model_files() | {"/tmp/evil.json": b"{}"})
    with pytest.raises(ModelError, match="outside of itself"):
        ensure()


def test_a_listing_that_climbs_out_of_the_repository_is_not_followed(hub, ensure, tmp_path):
    hub.add_model("acme/tiny", build_model_files() | {"../../evil.json": b"{}", "a/../../evil.json": b"{}"})
    ensure()
    assert list(tmp_path.rglob("evil.json")) == []


@pytest.mark.parametrize(
    ("revision", "expected"),
    [("a" * 40, True), ("A" * 40, False), ("main", False), ("a" * 39, False), (None, False)],
)
def test_only_a_full_lower_case_hash_is_a_commit(revision, expected):
    assert is_commit(revision) is expected

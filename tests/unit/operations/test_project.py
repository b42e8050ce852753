"""The project's folders, small facts and secrets: whole or not at all, with the modes that they need."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.operations.project import ProjectFacts, ProjectPaths, ensure_secret, load_facts, make_folders, write_facts

FACTS = ProjectFacts(
    ports={"engine": 8001},
    image_ids={"docker.io/acme/engine@sha256:" + "a" * 64: "sha256:" + "b" * 64},
    left_out={"grafana": "no registry"},
    last_boot=3,
    ready_container="0123@2026-11-21T22:00:00+00:00",
)


@pytest.fixture
def paths(tmp_path):
    return ProjectPaths(tmp_path / "state/mine", tmp_path / "cache/mine")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_lies_below_the_state_but_the_caches(paths):
    below = [
        paths.rendered,
        paths.override,
        paths.secrets,
        paths.boots,
        paths.metrics,
        paths.history,
        paths.facts,
    ]
    assert all(path.is_relative_to(paths.state) for path in below)
    assert not paths.cache.is_relative_to(paths.state)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_folders_have_their_modes_whatever_the_umask(paths, umask):
    before = os.umask(umask)
    try:
        make_folders(paths, os.geteuid())
    finally:
        os.umask(before)
    private = [paths.state, paths.secrets, paths.boots]
    assert {mode(path) for path in private} == {0o700}
    assert {mode(path) for path in (paths.rendered, paths.metrics)} == {0o755}
    assert mode(paths.cache) & 0o077 == 0


def test_folders_that_are_there_keep_what_is_in_them(paths):
    make_folders(paths, os.geteuid())
    (paths.secrets / "api_key").write_text("kept")
    paths.secrets.chmod(0o755)
    make_folders(paths, os.geteuid())
    assert (paths.secrets / "api_key").read_text() == "kept"
    assert mode(paths.secrets) == 0o700


@pytest.mark.root
def test_as_root_the_engines_user_owns_its_caches(paths):
    make_folders(paths, 2000)
    assert (paths.cache.stat().st_uid, paths.cache.stat().st_gid) == (2000, 0)
    assert paths.state.stat().st_uid == 0


def test_a_folder_that_cannot_be_made_is_told_with_a_way_out(paths):
    paths.state.parent.mkdir()
    paths.state.write_text("a file in its place")
    with pytest.raises(StackError) as caught:
        make_folders(paths, os.geteuid())
    assert str(paths.state) in caught.value.message
    assert "STACK_STATE_HOME" in caught.value.hint


def test_facts_come_back_as_they_were_written(paths):
    write_facts(paths.facts, FACTS)
    assert load_facts(paths.facts) == FACTS
    assert mode(paths.facts) == 0o644


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"schema_version": 1}',
        b'{"schema_version": 99, "ports": {}, "image_ids": {}}',
        b'{"schema_version": 1, "ports": {"engine": "many"}, "image_ids": {}}',
        b'{"schema_version": 1, "ports": [], "image_ids": {}}',
    ],
)
def test_damaged_facts_are_as_good_as_none(paths, damaged):
    paths.state.mkdir(parents=True)
    paths.facts.write_bytes(damaged)
    assert load_facts(paths.facts) == ProjectFacts()


def test_facts_of_an_older_version_lack_only_what_it_did_not_know(paths):
    write_facts(paths.facts, FACTS)
    document = json.loads(paths.facts.read_text())
    del document["left_out"]
    paths.facts.write_text(json.dumps(document))
    assert load_facts(paths.facts).ports == {"engine": 8001}


def test_missing_facts_are_none(paths):
    assert load_facts(paths.facts) == ProjectFacts()


def test_a_secret_is_made_once_long_enough_and_for_its_owner_alone(paths):
    path = ensure_secret(paths, "api_key")
    text = path.read_text()
    assert len(text) >= 32
    assert text == text.strip()
    assert mode(path) == 0o600
    assert ensure_secret(paths, "api_key").read_text() == text


def test_two_secrets_are_never_alike(paths):
    assert ensure_secret(paths, "a").read_text() != ensure_secret(paths, "b").read_text()


def test_an_empty_secret_is_made_anew(paths):
    paths.secrets.mkdir(parents=True)
    (paths.secrets / "api_key").write_text("\n")
    assert ensure_secret(paths, "api_key").read_text().strip()


def test_a_secret_that_is_no_text_is_made_anew(paths):
    make_folders(paths, os.geteuid())
    (paths.secrets / "api_key").write_bytes(b"\xff\xfe\x00")
    assert ensure_secret(paths, "api_key").read_text().isascii()


def test_a_secret_that_others_may_read_is_closed_and_kept(paths):
    paths.secrets.mkdir(parents=True)
    (paths.secrets / "api_key").write_text("mine")
    (paths.secrets / "api_key").chmod(0o644)
    path = ensure_secret(paths, "api_key")
    assert (path.read_text(), mode(path)) == ("mine", 0o600)


@pytest.mark.root
def test_as_root_a_secret_belongs_to_the_user_of_its_container(paths):
    assert ensure_secret(paths, "grafana_password", owner=472).stat().st_uid == 472

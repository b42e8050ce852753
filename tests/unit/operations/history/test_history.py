"""Runs as the user sees them: a table, one run in full, and their documents."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jsonschema
import pytest

from stack.errors import ConfigError
from stack.history.query import Wanted
from stack.history.records import BootStart
from stack.history.store import open_history
from stack.operations.history.document import build_list_document, build_run_document
from stack.operations.history.runs import find_kinds, find_run, list_entries
from stack.operations.history.table import render_run, render_table

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
START = BootStart(
    kind="k1",
    started_at=NOON,
    commit="0123456789abcdef0123456789abcdef01234567",
    commit_level="verified",
    version="0.31.1rc1.dev32+g0123456",
    image_digest="sha256:" + "d" * 64,
    image_id="sha256:" + "1" * 64,
    model="HuggingFaceTB/SmolLM2-135M-Instruct",
    revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
    device="cuda",
    args={"argv": ["--model", "x"]},
    host={"id": "aaaaaaaa", "cpu": "A CPU"},
    rests_on="the label, at the digest that the registry served",
)
CHECKS = [
    {"check": "services", "status": "pass", "message": "all run", "seconds": 0.1, "hint": None, "data": {}},
    {
        "check": "batched-streaming",
        "status": "fail",
        "message": "one is wrong",
        "seconds": 1,
        "hint": "look",
        "data": {},
    },
    {"check": "canaries", "status": "fail", "message": "Paris lost", "seconds": 0.2, "hint": None, "data": {}},
]


@pytest.fixture
def session(make_session):
    return make_session('project = "mine"\n')


@pytest.fixture
def history(session):
    return open_history(session.paths.history, now=lambda: NOON)


def boot(history, outcome="ready", phases=None, hours=0, **changes):
    number = history.record_boot(replace(START, started_at=NOON + timedelta(hours=hours), **changes))
    for phase, seconds in (phases or {}).items():
        history.record_phase(number, phase, seconds)
    if outcome:
        history.finish_boot(number, outcome, total_seconds=41.25, cache_state="warm")
    return number


def smoke(history, number, *, passed=True):
    report = {"schema_version": 1, "seconds": 1.3, "checks": CHECKS[:1] if passed else CHECKS}
    return history.record_smoke(number, started_at=NOON, passed=passed, report=report)


@pytest.fixture
def filled(history):
    """A boot that passed, one whose smoke failed, one that failed, one that was killed, an upgrade."""
    lock = history.note_lock("schema_version = 1\n", NOON)
    smoke(history, boot(history, phases={"load": 11.2, "compile": 24.7, "first-token": 0.4}, lock_sha256=lock))
    second = boot(history, phases={"load": 30.5, "first-token": 0.4}, hours=1, commit_level="claimed", lock_sha256=lock)
    smoke(history, second, passed=False)
    boot(history, "failed", hours=2, commit=None, commit_level="unknown", version="0.31.0", revision=None)
    boot(history, None, hours=3, device="cpu", model="/srv/models/mine", revision="sha256:" + "c" * 64)
    history.note_run("upgrade", NOON + timedelta(hours=4), second, False, {"against": ["smoke fails"]})
    return history


TABLE_80 = """\
RUN          COMMIT            MODEL            BOOT          RESULT
upgrade-1    0123456 claimed   …-135M-Instruct  boot-2        failed
03-04 16:00  0.31.1rc1.dev32   @12fd25f cuda
boot-4       0123456 verified  mine                           unfinished
03-04 15:00  0.31.1rc1.dev32   @ccccccc cpu
boot-3       unknown           …-135M-Instruct  41 s          failed
03-04 14:00  0.31.0            @unknown cuda
boot-2       0123456 claimed   …-135M-Instruct  41 s          ready
03-04 13:00  0.31.1rc1.dev32   @12fd25f cuda    load 30 s     smoke failed:
                                                              batched-streaming,
                                                              canaries
boot-1       0123456 verified  …-135M-Instruct  41 s          ready
03-04 12:00  0.31.1rc1.dev32   @12fd25f cuda    compile 25 s  smoke passed
"""


def table(session, width, **changes):
    values = {"now": NOON, "zone": UTC} | changes
    return "\n".join(render_table(list_entries(session, Wanted()), width=width, **values)) + "\n"


def test_the_table_fits_80_columns_and_leaves_nothing_out(session, filled):
    assert table(session, 80) == TABLE_80


def test_a_pipe_gets_one_line_a_run(session, filled):
    lines = table(session, None).splitlines()
    assert len(lines) == 6
    assert " ".join(lines[4].split()) == (
        "boot-2 03-04 13:00 0123456 claimed 0.31.1rc1.dev32 SmolLM2-135M-Instruct @12fd25f cuda 41 s load 30 s "
        "ready, smoke failed: batched-streaming, canaries"
    )


@pytest.mark.parametrize("width", [40, 72, 80, 100, 132, 500])
def test_no_line_is_longer_than_the_terminal_from_72_columns_on(session, filled, width):
    assert max(map(len, table(session, width).splitlines())) <= max(width, 80)
    assert table(session, 500) == table(session, None)


def test_a_run_of_another_year_is_told_with_its_year(session, filled):
    assert "2026-03-04  " in table(session, 80, now=NOON + timedelta(days=365))


def test_hosts_are_told_apart_where_there_are_several(session, history):
    boot(history)
    assert "host" not in table(session, None)
    boot(history, host={"id": "bbbbbbbb"})
    lines = table(session, None).splitlines()
    assert ("host bbbbbbbb" in lines[1], "host aaaaaaaa" in lines[2]) == (True, True)


def test_one_run_is_shown_in_full_its_commit_first(session, filled):
    text = "\n".join(render_run(find_run(session, "boot-2"), zone=UTC))
    assert text.startswith(
        "boot-2: ready, smoke failed: batched-streaming, canaries\n\n"
        "commit   0123456789abcdef0123456789abcdef01234567 (claimed)\n"
        "         the label, at the digest that the registry served\n"
        "version  0.31.1rc1.dev32+g0123456\n"
    )
    assert "related  smoke-2, upgrade-1\n" in text
    assert "phases: 41 s in all, caches warm, beside boot-1\n  load              30 s  (11 s)\n" in text
    assert "  compile              -  (25 s)\n" in text
    assert "  fail  batched-streaming  one is wrong\n                           hint: look\n" in text


@pytest.mark.parametrize(
    ("name", "found"),
    [("last", "upgrade-1"), ("2", "boot-2"), ("boot-1", "boot-1"), ("smoke-2", "smoke-2"), ("upgrade-1", "upgrade-1")],
)
def test_a_run_is_named_by_kind_and_number_or_is_the_last(session, filled, name, found):
    detail = find_run(session, name)
    assert detail.entry.name == found
    assert render_run(detail, zone=UTC)[0].startswith(f"{found}: ")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("boot-99", "the history has no boot 99"),
        ("replay-1", "the history has no replay 1"),
        ("nonsense!", "RUN: `nonsense!` names no run"),
    ],
)
def test_a_run_that_is_not_there_is_told_with_how_to_find_one(session, filled, name, told):
    with pytest.raises(ConfigError, match=told) as caught:
        find_run(session, name)
    assert "stack history" in caught.value.hint


def test_where_nothing_ever_ran_nothing_is_written(session):
    assert list_entries(session, Wanted()) == []
    assert find_kinds(session) == []
    with pytest.raises(ConfigError, match="nothing ever ran"):
        find_run(session, "last")
    assert not session.paths.history.exists()


def test_an_empty_history_has_no_last_run(session, history):
    with pytest.raises(ConfigError, match="nothing ever ran"):
        find_run(session, "last")


def test_a_damaged_history_is_set_aside_and_said(session, filled, said):
    session.paths.history.write_bytes(b"damage " * 2000)
    assert list_entries(session, Wanted()) == []
    assert "is damaged; it was moved to" in said[0]


NULL_OR_TEXT = {"type": ["string", "null"]}
ENTRY = {
    "type": "object",
    "required": ["name", "kind", "number", "started_at", "passed", "boot", "smoke"],
    "properties": {
        "passed": {"type": ["boolean", "null"]},
        "boot": {
            "type": ["object", "null"],
            "additionalProperties": False,
            "required": ["name", "outcome", "commit", "commit_level", "rests_on", "phases", "host"],
            "properties": {
                "name": {"pattern": "^boot-[0-9]+$"}, "started_at": {"type": "string"}, "outcome": NULL_OR_TEXT,
                "commit": NULL_OR_TEXT, "commit_level": {"enum": ["verified", "claimed", "unknown"]},
                "rests_on": NULL_OR_TEXT, "version": NULL_OR_TEXT, "model": {"type": "string"},
                "revision": NULL_OR_TEXT, "device": {"type": "string"}, "host": {"type": "object"},
                "total_seconds": {"type": ["number", "null"]}, "cache_state": {"type": "string"},
                "phases": {"type": "object", "additionalProperties": {"type": "number"}},
            },
        },
        "smoke": {
            "type": ["object", "null"],
            "required": ["name", "started_at", "passed", "failed"],
            "additionalProperties": True,
        },
    },
}  # fmt: skip


def test_the_documents_have_their_shape(session, filled):
    document = json.loads(json.dumps(build_list_document("mine", list_entries(session, Wanted()))))
    assert (document["schema_version"], document["project"], len(document["runs"])) == (1, "mine", 5)
    for run in document["runs"]:
        jsonschema.validate(run, ENTRY | {"additionalProperties": False, "properties": ENTRY["properties"] | {
            "name": {}, "kind": {}, "number": {}, "started_at": {}}})  # fmt: skip
    assert document["runs"][3]["smoke"]["failed"] == ["batched-streaming", "canaries"]
    for name in ("boot-1", "boot-2", "boot-4", "smoke-1", "upgrade-1"):
        jsonschema.validate(json.loads(json.dumps(build_run_document(find_run(session, name)))), ENTRY)


def test_the_document_of_a_run_has_what_belongs_to_it(session, filled):
    document = build_run_document(find_run(session, "boot-2"))
    assert document["lock"] == "schema_version = 1\n"
    assert document["argv"] == ["--model", "x"]
    assert (document["compared_with"], document["related"]) == ("boot-1", ["smoke-2", "upgrade-1"])
    assert document["deltas"][0] == {"phase": "load", "seconds": 30.5, "previous_seconds": 11.2}
    assert [item["check"] for item in document["checks"]] == [item["check"] for item in CHECKS]
    assert build_run_document(find_run(session, "upgrade-1"))["report"] == {"against": ["smoke fails"]}


def test_a_log_is_named_only_while_it_is_kept(session, history, tmp_path):
    log = tmp_path / "boot.log"
    log.write_text("a line\n")
    boot(history, log_path=str(log))
    assert find_run(session, "1").log_path == log
    log.unlink()
    assert find_run(session, "1").log_path is None

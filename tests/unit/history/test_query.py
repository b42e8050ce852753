"""Runs are found again by what they ran on."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.history import query
from stack.history.query import Wanted, find_entries, find_entry, find_related, list_kinds, parse_name
from stack.history.records import BootStart
from stack.history.store import open_history

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
START = BootStart("k", NOON, None, "unknown", None, None, "sha256:1", "org/one", None, "cpu")
REPEATABLE = settings(derandomize=True, deadline=None, database=None)


def names(history, **wanted):
    return [entry.name for entry in find_entries(history, Wanted(**wanted))]


def smoke(history, boot_id, *, passed=True, minutes=0, report=None):
    started = NOON + timedelta(minutes=minutes)
    return history.record_smoke(boot_id, started_at=started, passed=passed, report=report or {"checks": []})


def test_boots_come_with_their_newest_smoke_and_the_newest_boot_is_first(history, boot):
    first, second, third = boot(), boot(), boot()
    smoke(history, first, passed=False)
    newest = smoke(history, first)
    failed = smoke(history, second, passed=False, report={"checks": [{"check": "canaries", "status": "fail"}]})
    entries = find_entries(history, Wanted())
    assert [entry.name for entry in entries] == [f"boot-{number}" for number in (third, second, first)]
    assert [entry.smoke and entry.smoke.id for entry in entries] == [None, failed, newest]
    assert entries[1].smoke.report["checks"][0]["check"] == "canaries"
    assert [entry.is_passed for entry in entries] == [True, False, True]


def test_smokes_other_runs_and_boots_are_told_apart_by_their_kind(history, boot):
    number = boot()
    smokes = [smoke(history, number), smoke(history, number), smoke(history, None)]
    replay = history.note_run("replay", NOON, number, True, {})
    upgrade = history.note_run("upgrade", NOON, None, False, {})
    assert names(history, kind="boot") == [f"boot-{number}"]
    assert names(history, kind="smoke") == [f"smoke-{smoke}" for smoke in reversed(smokes)]
    assert names(history, kind="replay") == [f"replay-{replay}"]
    assert names(history, kind="bench") == []
    everything = {f"boot-{number}", f"smoke-{smokes[2]}", f"replay-{replay}", f"upgrade-{upgrade}"}
    assert set(names(history)) == everything
    assert list_kinds(history) == ["boot", "smoke", "replay", "upgrade"]


def test_kinds_that_were_never_run_are_not_told(history):
    assert list_kinds(history) == []


def test_runs_of_several_kinds_come_in_the_order_of_their_times(history, boot):
    for hour in (1, 3):
        boot(started_at=NOON + timedelta(hours=hour))
    history.note_run("replay", NOON + timedelta(hours=2), None, True, {})
    assert names(history) == ["boot-2", "replay-1", "boot-1"]
    assert names(history, limit=2) == ["boot-2", "replay-1"]


@pytest.mark.parametrize("kind", [None, "boot", "smoke", "replay"])
def test_limit_bounds_every_kind(history, boot, kind):
    for _ in range(4):
        number = boot()
        smoke(history, number)
        history.note_run("replay", NOON, number, True, {})
    assert len(names(history, kind=kind, limit=3)) == 3


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"commit": "abc"}, [1, 2]),
        ({"commit": "ABCD1"}, [1]),
        ({"commit": "f" * 40}, [4]),
        ({"model": "qwen"}, [1, 2]),
        ({"model": "Qwen/Qwen3@c18"}, [1]),
        ({"model": "@sha256:77"}, [3]),
        ({"model": "demo", "commit": "0"}, [3]),
        ({"model": "demo", "commit": "a"}, []),
        ({"since": NOON + timedelta(hours=3)}, [3, 4]),
        ({"model": "%"}, []),
    ],
)
@pytest.mark.parametrize("kind", ["boot", "smoke", "replay"])
def test_runs_are_found_by_the_commit_model_and_time_of_their_boot(history, boot, kind, wanted, found):
    facts = [
        ("abcd1" + "0" * 35, "Qwen/Qwen3", "c1899de"),
        ("abcf" + "0" * 36, "Qwen/Qwen3", "d1899de"),
        ("0" * 40, "demo", "sha256:7722"),
        ("f" * 40, "other", None),
    ]
    for hours, (commit, model, revision) in enumerate(facts, start=1):
        started = NOON + timedelta(hours=hours)
        number = boot(commit=commit, model=model, revision=revision, started_at=started)
        smoke(history, number, minutes=60 * hours)
        history.note_run("replay", started, number, True, {})
    smoke(history, None, minutes=-60)
    history.note_run("replay", NOON, None, True, {})
    assert sorted(names(history, kind=kind, **wanted)) == [f"{kind}-{number}" for number in found]


def test_a_boot_of_an_unknown_commit_is_found_by_none(history, boot):
    boot(commit=None)
    assert names(history, commit="0") == []
    assert names(history) == ["boot-1"]


def test_one_run_is_read_with_its_whole_report(history, boot):
    number = boot()
    history.record_phase(number, "load", 2.5)
    report = {"checks": [{"check": "canaries"}]}
    newest = smoke(history, number, report=report)
    run = history.note_run("replay", NOON, number, True, {"figures": {}})
    found = find_entry(history, "boot", number)
    assert (found.name, found.boot.phases, found.smoke.report) == ("boot-1", {"load": 2.5}, report)
    judged = find_entry(history, "smoke", newest)
    assert (judged.smoke.report, judged.boot.id) == (report, number)
    assert find_entry(history, "replay", run).run.report == {"figures": {}}
    assert find_entry(history, "upgrade", run) is None
    assert find_entry(history, "boot", 99) is None
    assert find_entry(history, "smoke", 99) is None
    assert find_related(history, number) == ["smoke-1", "replay-1"]


@pytest.mark.parametrize(
    ("outcome", "passed"), [("ready", True), ("failed", False), ("interrupted", False), (None, None)]
)
def test_a_boot_without_a_smoke_is_judged_by_its_end(history, boot, outcome, passed):
    boot(outcome)
    assert find_entries(history, Wanted())[0].is_passed is passed


def test_a_list_leaves_out_the_reports_of_what_passed(history, boot):
    smoke(history, boot(), report={"checks": [{"check": "canaries"}]})
    assert find_entries(history, Wanted())[0].smoke.report == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("12", ("boot", 12)), ("boot-12", ("boot", 12)), ("smoke-3", ("smoke", 3)), ("upgrade-1", ("upgrade", 1)),
        ("last", None), ("boot", None), ("0", None), ("-1", None), ("boot-1; x", None), ("Boot-1", None),
        ("9" * 19, None), ("\u0661\u0662", None),
    ],
)  # fmt: skip
def test_a_name_is_a_kind_and_a_number(text, found):
    assert parse_name(text) == found


@REPEATABLE
@given(st.text(max_size=30))
def test_any_text_is_a_name_or_none(text):
    found = parse_name(text)
    if found is not None:
        assert parse_name(f"{found[0]}-{found[1]}") == found


def test_every_query_of_a_list_goes_by_an_index(history, boot):
    number = boot()
    smoke(history, number)
    plans = []
    with history.reading() as connection:
        for sql, values in (
            ("SELECT * FROM phases WHERE boot_id IN (SELECT value FROM json_each(?)) ORDER BY rowid", ("[1]",)),
            ("SELECT max(id) FROM smokes WHERE boot_id IN (SELECT value FROM json_each(?)) GROUP BY boot_id", ("[1]",)),
            ('SELECT * FROM boots WHERE "commit" >= ? AND "commit" < ? ORDER BY id DESC LIMIT 9', ("a", "b")),
            ("SELECT * FROM runs WHERE kind = ? ORDER BY id DESC LIMIT 9", ("replay",)),
        ):
            rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
            plans.append(" ".join(row["detail"] for row in rows))
    assert [any(f"SCAN {table}" in plan for table in ("phases", "smokes", "boots", "runs")) for plan in plans] == [
        False
    ] * 4, json.dumps(plans, indent=2)


def test_the_newest_of_several_lists_keep_each_its_order():
    late, early, middle = (
        query.Entry("boot", number, NOON + timedelta(hours=hour), None) for number, hour in ((3, -9), (2, 5), (1, 4))
    )
    other = query.Entry("replay", 1, NOON, None)
    assert query._merge([[late, early, middle], [other], []], 9) == [other, late, early, middle]


MOMENTS = st.integers(0, 6).map(lambda hours: NOON + timedelta(hours=hours))
COMMITS = st.sampled_from(["ab" * 20, "abc" + "0" * 37, "c" * 40, None])
BOOTS = st.tuples(MOMENTS, COMMITS, st.sampled_from(["org/One", "org/two"]), st.sampled_from(["r1", "r2", None]))
WANTED = st.builds(
    Wanted,
    limit=st.integers(1, 9),
    since=st.none() | MOMENTS,
    commit=st.sampled_from([None, "ab", "abc", "c", "d"]),
    model=st.sampled_from([None, "one", "ORG/", "two@r", "@r2", "three"]),
    kind=st.just("boot"),
)


def is_like(facts, wanted: Wanted) -> bool:
    began, commit, model, revision = facts
    name, _, digits = (wanted.model or "").partition("@")
    return (
        (wanted.since is None or began >= wanted.since)
        and (wanted.commit is None or (commit or "").startswith(wanted.commit))
        and name.lower() in model.lower()
        and (revision or "").startswith(digits)
        and not (digits and revision is None)
    )


@settings(REPEATABLE, max_examples=60)
@given(st.lists(BOOTS, max_size=8), WANTED)
def test_a_query_finds_what_reading_all_would_find(tmp_path_factory, boots, wanted):
    history = open_history(tmp_path_factory.mktemp("history") / "history.sqlite")
    for began, commit, model, revision in boots:
        history.record_boot(replace(START, started_at=began, commit=commit, model=model, revision=revision))
    right = [number for number, facts in enumerate(boots, start=1) if is_like(facts, wanted)]
    assert [entry.number for entry in find_entries(history, wanted)] == right[::-1][: wanted.limit]

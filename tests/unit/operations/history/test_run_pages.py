"""The page of each kind of run answers on its first screen what ran and why it failed, and has its evidence as tables.

The reports are those of real runs, mostly on the fake engine, cut to what shows the form.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stack.history.query import Entry
from stack.history.records import BootRecord, BootStart, RunRecord
from stack.operations.history.figures import LEFT_OUT
from stack.operations.history.report import render_html
from stack.operations.history.runs import RunDetail
from tests.fixtures.html_page import Element, find_section, list_headings, read_page

REPORTS = Path(__file__).parents[3] / "fixtures/run_reports"
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
START = BootStart(
    kind="k", started_at=NOON, commit="d" * 40, commit_level="claimed", version="0.31.0", image_digest=None,
    image_id="sha256:1", model="demo", revision="r1", device="cpu", args={"argv": ["/models/demo"]}, host={"cpu": "x"},
)  # fmt: skip
BOOT = BootRecord(1, START, "none", 45.8, "ready", {"load": 1.2})
LAST = ["Engine args", "Host", "Details"]
PASSED = {"upgrade-kept", "rollback", "demo", "bench-sweep"}
KINDS = {
    "bench-sweep": [
        "Sweep", "Rates of the sweep", "Speed", "Output tokens a second, repeat by repeat", "Latencies", "Load",
    ],
    "demo": ["Phases", "Load of the engine, phase by phase", "In all", "What the phases do"],
    "replay": ["Records that are not equal", "Latencies", "How it was sent"],
    "rollback": ["To be read with it", "What changed"],
    "upgrade-back": ["Compared", "Answers that are not equal", "Metrics that changed", "Phases of the boot"],
    "upgrade-kept": ["Compared", "Metrics that changed", "Phases of the boot"],
    "verify": ["Checks"],
}  # fmt: skip


def load_report(name: str) -> dict:
    return json.loads((REPORTS / f"{name}.json").read_text())


def render(name: str, **changes: object) -> Element:
    report, kind = load_report(name) | changes, name.partition("-")[0]
    run = RunRecord(4, kind, 1, NOON, name in PASSED, report)
    return read_page(render_html(RunDetail("mine", Entry(kind, 4, NOON, BOOT, run=run)), now=NOON))


def list_why(page: Element) -> list[str]:
    return [one.text for box in page.find("div", "why") for one in box.find("li")]


@pytest.mark.parametrize("name", KINDS)
def test_a_page_has_its_own_sections_and_no_names_of_fields(name):
    page = render(name)
    assert list_headings(page) == KINDS[name] + LAST
    assert page.find("p", "summary")[0].text
    shown = [cell.text for table in page.find("table") for cell in table.find("th")]
    assert [text for text in shown if text.endswith("_seconds") or text.startswith(("is ", "engine:"))] == []


@pytest.mark.parametrize("name", KINDS)
def test_a_page_begins_with_the_verdict_and_the_commit_and_why_only_where_it_failed(name):
    (head,) = render(name).find("header")
    is_passed = name in PASSED
    assert head.find("h1")[0].text.endswith("passed" if is_passed else "failed")
    assert head.find("code")[0].text == "d" * 40
    assert bool(list_why(head)) is not is_passed
    assert head.text.index("d" * 40) < head.text.index("started 2026-11-22 12:00:00 UTC")


@pytest.mark.parametrize("name", KINDS)
def test_every_row_of_a_table_has_a_cell_for_each_heading_and_numbers_have_no_long_tail(name):
    for table in render(name).find("table"):
        rows = table.rows()
        assert {len(row) for row in rows} == {len(rows[0])}
        digits = [cell for row in rows for cell in row if cell.replace(".", "").isdigit() and "." in cell]
        assert [cell for cell in digits if len(cell) > 7] == []


def test_a_sweep_has_its_curves_its_rates_and_the_number_of_its_prompts():
    page = render("bench-sweep")
    sweep = find_section(page, "Sweep")
    assert [one.text for one in sweep.find("figcaption")] == ["Output tokens a second", "TTFT p95, seconds"]
    assert [len(one.find("circle")) for one in sweep.find("svg", "area")] == [5, 5]
    rates = find_section(page, "Rates of the sweep").find("table")[0].rows()
    assert rates[4] == ["1.86", "1.605", "102.7", "672 ms", "0", "the knee"]
    load = dict(find_section(page, "Load").find("table")[0].rows())
    assert load["load"] == "chat: 56 requests a repeat, 128 tokens in, 64 out, 1.86 a second"
    assert load["requests a second of the probe"] == "1.103"
    assert LEFT_OUT not in page.text


def test_a_replay_names_what_differs_and_what_takes_longer():
    page = render("replay")
    assert list_why(page) == [
        "2 answered otherwise than recorded", "1 not answered next: `stack logs engine`",
        "slower: the median answer takes 1.64 times as long, 1.5 allowed",
    ]  # fmt: skip
    rows = find_section(page, "Records that are not equal").find("table")[0].rows()[1:]
    assert [row[0] for row in rows] == ["differs", "differs", "failed", "near tie"]
    assert rows[1][3] == "the answer ends with `length`, and not with `stop`"
    latencies = find_section(page, "Latencies").find("table")[0].rows()
    assert latencies[1] == ["E2E p50", "2.31 s", "1.41 s", "1.64"]
    assert ["ITL p50", "31 ms", "-", "-"] in latencies


def test_a_long_replay_shows_the_first_records_and_how_many_there_are():
    row = load_report("replay")["rows"][0]
    section = find_section(render("replay", rows=[row] * 70), "Records that are not equal")
    assert len(section.find("table")[0].rows()) == 51
    assert section.find("p", "text")[0].text == "the first 50 of 70; the rest are in the details"


def test_a_replay_that_was_cut_off_says_so():
    counts = {"equal": 6, "near tie": 0, "not compared": 0, "differs": 0, "failed": 0}
    page = render("replay", gave_up=True, is_interrupted=True, counts=counts, max_latency_ratio=None, recorded=None)
    assert list_why(page) == [
        "the engine stopped answering; the rest was not sent next: `stack logs engine`",
        "interrupted: this is what had come until then",
    ]  # fmt: skip


def test_an_upgrade_has_old_and_new_beside_each_other_and_what_speaks_against():
    page = render("upgrade-back")
    summary = "vLLM 0.31.0 (dddddddd0123) was tried, and vLLM 0.31.0 (aaaaaaaa0123) is back"
    assert page.find("p", "summary")[0].text == summary
    assert list_why(page)[0] == "1 of 12 records are answered otherwise"
    rows = find_section(page, "Compared").find("table")[0].rows()
    assert rows[0] == ["What", "Old", "New", "What that means"]
    assert ["nats a token, default-1", "0.045", "0.045", "+0.000"] in rows
    assert ["service away", "", "19 s", "about 1 s a boot was said"] in rows
    metrics = find_section(page, "Metrics that changed").find("table")[0].rows()
    assert metrics[1][:3] == ["vllm:num_preemptions", "gone", "counter"]
    assert metrics[1][3].endswith("alert VllmKvCacheThrashing")
    # Long names in four columns: on a phone they are blocks.
    assert find_section(page, "Metrics that changed").find("table")[0].classes == ["wide"]
    assert "filled: the new engine; outlined: the old one" in find_section(page, "Phases of the boot").text


def test_an_upgrade_that_was_kept_says_instead_of_what():
    page = render("upgrade-kept")
    assert page.find("p", "summary")[0].text.startswith("kept: vLLM 0.31.0 (bbbbbbbb0123) runs instead of")
    assert render("upgrade-kept", forced="keep").find("p", "summary")[0].text.endswith(", as `--keep` was said")


def test_an_upgrade_whose_engine_did_not_boot_shows_what_there_is():
    nothing = dict.fromkeys(("answers", "likelihoods", "metrics", "phases", "speed", "smoke"))
    page = render("upgrade-back", **nothing, new={"commit": None, "version": None, "boot": None}, away_seconds=None)
    assert list_headings(page) == ["Compared", *LAST]
    assert "(unknown commit) was tried" in page.find("p", "summary")[0].text


def test_a_rollback_says_where_it_went_and_what_changed():
    page = render("rollback")
    assert page.find("p", "summary")[0].text.startswith("back to vLLM 0.31.0 (commit bbbbbbbb0123), which passed smoke")
    assert find_section(page, "What changed").find("td", "hash")
    assert list_why(render("rollback", failed=["canaries"])) == [
        "smoke fails: canaries next: `stack report` of that smoke"
    ]


def test_a_demo_has_a_row_and_its_load_for_each_phase():
    page = render("demo")
    header, *rows = find_section(page, "Phases").find("table")[0].rows()
    assert header[:5] == ["Phase", "Status", "Seconds", "Requests", "Ended by"]
    assert [row[0] for row in rows] == ["chat", "shared prefix", "long prompts"]
    assert rows[0][1:5] == ["pass", "25", "10", "10 stop"]
    bars = find_section(page, "Load of the engine, phase by phase")
    assert [one.text.split()[-1] for one in bars.find("dd")] == ["running", "waiting"] * 3
    problem = {"request": "chat-3", "status": 500, "error": "no-answer", "said": None}
    assert list_why(render("demo", problems=[problem], gave_up=True))[0] == (
        "chat-3: failed with status 500, no-answer"
    )


def test_a_verify_counts_its_steps_and_names_the_runs_that_it_left():
    page = render("verify")
    assert page.find("p", "summary")[0].text == "6 steps in 173 s: 5 passed, 1 failed"
    assert list_why(page) == [
        "prometheus-killed: it was back after 3 s, and lost what it had scraped next: stack logs prometheus"
    ]
    assert "runs boot-1, smoke-1, bench-1" in page.find("header")[0].text
    rows = find_section(page, "Checks").find("table")[0].rows()
    assert [row[1] for row in rows[1:]][0] == "up"
    assert len(rows) == 7

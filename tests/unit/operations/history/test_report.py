"""A run as a page and as JUnit XML: all that judged it is there, and no text of a request or a secret."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from stack.history.query import Entry
from stack.history.records import BootRecord, BootStart, RunRecord, SmokeRecord
from stack.operations.history.figures import LEFT_OUT, build_figures, leave_out_texts
from stack.operations.history.findings import build_findings
from stack.operations.history.report import build_page, render_html, render_xml
from stack.operations.history.runs import Failure, RunDetail, read_failure
from tests.fixtures.html_page import list_headings, read_page

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
LOGS = Path(__file__).parents[3] / "fixtures/logs/failures"
EVIL = "<script>alert(1)</script>"
START = BootStart(
    kind="k1", started_at=NOON, commit="0123456789abcdef0123456789abcdef01234567", commit_level="verified",
    version="0.32.0", image_digest=None, image_id="sha256:1", model="org/name", revision="c1899de", device="cuda",
    args={"argv": ["--model", "org/name", "--eager", "--served-model-name", "a b"]},
    lock_sha256="e" * 64, host={"gpu": "RTX 4090"}, rests_on="the label",
)  # fmt: skip
BOOT = BootRecord(7, START, "warm", 41.2, "ready", {"load": 12.0, "compile": 24.0})
EARLIER = (
    replace(BOOT, id=6, total_seconds=50.0, phases={"load": 13.0, "graphs": 2.0}),
    replace(BOOT, id=5, total_seconds=55.0),
)
CHECKS = [
    {"check": "services", "status": "pass", "message": "all run", "seconds": 0.1, "hint": None, "data": {}},
    {"check": "canaries", "status": "fail", "message": "Paris lost", "seconds": 0.25, "hint": "look at the weights"},
    {"check": "grafana", "status": "skip", "message": "switched off", "seconds": 0.0, "hint": None},
    {"check": "hang-up", "status": "warn", "message": "late", "seconds": 0.5, "hint": "wait"},
]
SMOKE = SmokeRecord(3, 7, NOON, False, {"schema_version": 1, "seconds": 2.0, "checks": CHECKS})
LOCK = 'schema_version = 1\n\n[engine]\ncommit = "0123456"\n\n[model]\nid = "org/name"\n\n[model.files]\n"a" = {}\n'


def boot_detail(boot=BOOT, smoke=SMOKE, **changes):
    values = {"related": ("smoke-3",), "earlier": EARLIER, "lock_text": LOCK} | changes
    return RunDetail("mine", Entry("boot", boot.id, NOON, boot, smoke), **values)


def run_detail(report, *, passed=False, kind="replay"):
    run = RunRecord(4, kind, 7, NOON, passed, report)
    return RunDetail("mine", Entry(kind, 4, NOON, BOOT, run=run))


def test_the_page_of_a_boot_tells_commit_checks_phases_boots_args_host_and_lock():
    page = build_page(boot_detail(), now=NOON)
    assert (page.commit, page.level, page.rests_on) == (START.commit, "verified", "the label")
    assert (page.verdict, page.role) == ("failed", "fail")
    assert page.summary == (
        "first token after 41 s, with warm compile caches; smoke-3: 1 passed, 1 failed, 1 warned, 1 skipped"
    )
    assert [(reason.text, reason.hint) for reason in page.reasons] == [("canaries: Paris lost", "look at the weights")]
    checks, phases, boots = page.sections
    assert [(row[0].text, row[1].text, row[3].note) for row in checks.rows] == [
        ("pass", "services", None), ("fail", "canaries", "next: look at the weights"), ("skip", "grafana", None),
        ("warn", "hang-up", "next: wait"),
    ]  # fmt: skip
    assert [(bar.role, bar.label, bar.text) for bar in phases.bars] == [
        ("now", "load", "12 s"), ("before", "", "13 s in boot-6"), ("now", "compile", "24 s"),
        ("before", "graphs", "2.0 s in boot-6"),
    ]  # fmt: skip
    assert phases.text == "filled: this boot; outlined: boot-6, the last of the same kind"
    assert [(bar.role, bar.label, bar.text) for bar in boots.bars] == [
        ("before", "boot-5, 03-04 12:00", "55 s warm"), ("before", "boot-6, 03-04 12:00", "50 s warm"),
        ("now", "boot-7, 03-04 12:00", "41 s warm"),
    ]  # fmt: skip
    assert page.argv == ["--model org/name", "--eager", "--served-model-name 'a b'"]
    assert page.host == [("gpu", "RTX 4090")]
    assert page.lock == 'schema_version = 1\n\n[engine]\ncommit = "0123456"\n\n[model]\nid = "org/name"'
    assert page.written.startswith("written 2026-03-04 12:00 UTC by stack ")
    assert page.details is None


def test_a_first_boot_has_nothing_to_be_compared_with():
    page = build_page(boot_detail(smoke=None, earlier=(), lock_text=None), now=NOON)
    assert [(section.heading, section.text) for section in page.sections] == [("Phases of boot-7", "")]
    assert (page.verdict, page.lock) == ("passed", None)


def test_the_page_of_a_failed_boot_says_why_and_what_to_do_before_its_facts(tmp_path: Path):
    boot = replace(BOOT, outcome="failed", total_seconds=31.4)
    detail = boot_detail(boot, None, failure=Failure("no room for the KV cache", "take less"), log_path=tmp_path / "x")
    (head,) = read_page(render_html(detail, now=NOON)).find("header")
    assert head.find("p", "summary")[0].text == "it failed after 31 s"
    assert head.find("div", "why")[0].text == "Why it failed no room for the KV cache next: take less"
    assert head.text.index("no room") < head.text.index("started")
    assert head.text.endswith("log x")


def test_the_cause_of_a_failed_boot_is_read_from_its_log(tmp_path: Path):
    log = tmp_path / "boot.log"
    assert read_failure(log) is None
    log.write_text((LOGS / "no-kv-memory.log").read_text())
    found = read_failure(log)
    assert found is not None and "leave none for the KV cache" in found.cause and "[engine.args]" in found.next
    log.write_text("INFO all is well\n")
    assert read_failure(log) is None
    log.write_text('Traceback (most recent call last):\n  File "x.py", line 1\nValueError: never seen\n')
    found = read_failure(log)
    assert found is not None and found.cause.endswith("ValueError: never seen")


@pytest.mark.parametrize(
    ("outcome", "seconds", "status", "said", "verdict"),
    [
        ("failed", 3.0, "fail", "it failed after 3.0 s", "failed"),
        ("interrupted", 9.5, "fail", "it was interrupted after 9.5 s", "failed"),
        (None, None, "skip", "it has not ended, or its process was killed", "unfinished"),
    ],
)
def test_a_boot_that_did_not_become_ready_has_a_page_too(outcome, seconds, status, said, verdict):
    boot = replace(BOOT, outcome=outcome, total_seconds=seconds, phases={})
    page = build_page(boot_detail(boot, None), now=NOON)
    assert (page.verdict, page.summary) == (verdict, said)
    assert build_findings(boot_detail(boot, None).entry)[0].status == status
    assert list_headings(read_page(render_html(boot_detail(boot, None), now=NOON)))[0] == "Boots of this kind"


def test_a_smoke_whose_boot_is_forgotten_has_a_page_without_a_commit():
    detail = RunDetail("mine", Entry("smoke", 3, NOON, None, SMOKE))
    page = read_page(render_html(detail, now=NOON))
    assert page.find("div", "commit") == []
    assert page.find("div", "why")[0].text.startswith("Why it failed canaries: Paris lost")


def test_texts_from_outside_are_escaped_in_the_page_and_in_the_xml():
    start = replace(START, model=EVIL, rests_on=EVIL, version=EVIL, args={"argv": [EVIL, "--x"]}, host={EVIL: EVIL})
    report = {"checks": [{"check": EVIL, "status": "fail", "message": EVIL, "seconds": 1, "hint": EVIL}]}
    boot = replace(BOOT, start=start, phases={EVIL: 1.0})
    detail = boot_detail(boot, replace(SMOKE, report=report), lock_text=EVIL)
    html = render_html(detail, now=NOON)
    assert "<script" not in html
    assert read_page(html).text.count(EVIL) >= 10
    case = ElementTree.fromstring(render_xml(detail)).findall("testcase")[1]
    assert (case.get("name"), case.find("failure").get("message")) == (EVIL, EVIL)
    run = run_detail({"verdict": EVIL, EVIL: [{"x": EVIL}]})
    assert "<script" not in render_html(run, now=NOON)


def test_the_xml_has_the_shape_that_readers_of_junit_know():
    root = ElementTree.fromstring(render_xml(boot_detail()))
    assert root.tag == "testsuite"
    assert {name: root.get(name) for name in ("name", "tests", "failures", "errors", "skipped")} == {
        "name": "stack boot", "tests": "5", "failures": "1", "errors": "0", "skipped": "1",
    }  # fmt: skip
    assert float(root.get("time")) == pytest.approx(42.05)
    assert [child.tag for child in root] == ["properties"] + ["testcase"] * 5
    properties = {item.get("name"): item.get("value") for item in root.find("properties")}
    assert (properties["commit"], properties["model"]) == (START.commit, "org/name")
    cases = {case.get("name"): case for case in root.findall("testcase")}
    assert {name: [child.tag for child in case] for name, case in cases.items()} == {
        "boot": ["system-out"], "services": ["system-out"], "canaries": ["failure"], "grafana": ["skipped"],
        "hang-up": ["system-out"],
    }  # fmt: skip
    assert all(case.get("classname") == "stack.boot" and float(case.get("time")) >= 0 for case in cases.values())


def test_another_run_is_told_by_its_verdict_figures_and_folded_details():
    report = {
        "schema_version": 1, "target": "v0.33.0", "outcome": "back", "passed": False, "against": ["smoke fails", "x"],
        "away_seconds": 93.72111, "old": {"version": "0.32.0", "phases": {"load": 1}}, "speed": None,
        "likelihoods": [{"nats": 2.0}], "is_fine": True, "tokens": list(range(12)), "empty": [],
    }  # fmt: skip
    page = build_page(run_detail(report, kind="bundle"), now=NOON)
    assert (page.name, page.verdict) == ("bundle-4", "failed")
    assert [reason.text for reason in page.reasons] == ["smoke fails", "x"]
    (figures,) = page.sections
    assert figures.look == "pairs"
    assert [(name.text, value.text) for name, value in figures.rows] == [
        ("target", "v0.33.0"), ("outcome", "back"), ("against", "smoke fails, x"), ("away seconds", "93.72"),
        ("old: version", "0.32.0"), ("likelihoods", "1 in the details"), ("is fine", "yes"),
        ("tokens", "0, 1, 2, 3, 4, 5, 6, 7, and 4 more"),
    ]  # fmt: skip
    assert '"away_seconds": 93.72111' in page.details
    assert read_page(render_html(run_detail(report), now=NOON)).find("details")
    assert ElementTree.fromstring(render_xml(run_detail(report, passed=True))).get("failures") == "0"


def test_no_text_of_a_request_or_an_answer_and_no_secret_is_in_the_page():
    private = "what the patient said"
    report = {
        "prompt": private, "records": [{"messages": [{"content": private}], "text": private, "verdict": "equal"}],
        "body": {"input": private}, "Authorization": private, "nothing": {"output": None},
    }  # fmt: skip
    html = render_html(run_detail(report), now=NOON)
    assert private not in html
    assert LEFT_OUT in html
    assert "equal" in html
    data = {"checks": [{"check": "canaries", "status": "fail", "message": "lost", "data": {"answer": private}}]}
    assert private not in render_html(boot_detail(smoke=replace(SMOKE, report=data)), now=NOON)
    assert private not in render_xml(boot_detail(smoke=replace(SMOKE, report=data)))


def test_what_has_no_text_is_left_as_it_is():
    assert leave_out_texts({"prompt": None, "a": [1, {"text": "x"}], "b": (2,), "prompts": 56}) == {
        "prompt": None, "a": [1, {"text": LEFT_OUT}], "b": [2], "prompts": 56,
    }  # fmt: skip


def test_figures_are_bounded():
    assert len(build_figures({f"figure_{number}": number for number in range(100)})) == 40


@pytest.mark.parametrize(
    "report",
    [{}, {"checks": None}, {"checks": ["x", 3]}, {"checks": [{}]}, {"checks": [{"status": "odd", "seconds": "x"}]}],
)
def test_a_report_of_another_version_is_shown_as_far_as_it_is_understood(report):
    detail = boot_detail(smoke=replace(SMOKE, report=report))
    assert render_html(detail, now=NOON)
    assert all(finding.status in ("pass", "skip") for finding in build_findings(detail.entry))

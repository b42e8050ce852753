"""Reports as lines, JSON and JUnit."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from stack.checks.finding import Baseline, Finding, Report
from stack.checks.report import build_document, render_json, render_junit, render_lines

REPORT = Report(
    findings=(
        Finding("services", "pass", "3 services run, none was restarted", 0.01),
        Finding("canaries", "fail", "1 of 5 canaries <lost>", 0.5, "`stack warm --verify`", {"margins": [1]}),
        Finding("prometheus", "warn", "not judged yet", 11.0),
        Finding("grafana", "skip", "its image cannot be had here"),
    ),
    commit="a" * 40,
    commit_level="claimed",
    model="demo",
    revision="b" * 12,
    seconds=7.25,
)


def test_the_lines_say_what_was_tested_and_one_line_a_check():
    assert render_lines(REPORT) == [
        f"vLLM commit {'a' * 40} (claimed)",
        f"model demo @ {'b' * 12}",
        "pass  services     0.01 s  3 services run, none was restarted",
        "fail  canaries     0.50 s  1 of 5 canaries <lost>",
        "                  hint: `stack warm --verify`",
        "warn  prometheus  11.00 s  not judged yet",
        "skip  grafana      0.00 s  its image cannot be had here",
        "smoke failed in 7.2 s: 1 passed, 1 failed, 1 warned, 1 skipped",
    ]


def test_a_warning_or_a_skip_fails_nothing():
    fine = Report((Finding("a", "warn", ""), Finding("b", "skip", "")))

    assert fine.is_passed
    assert not REPORT.is_passed


def test_an_empty_report_says_that_nothing_ran():
    assert render_lines(Report(()))[-1] == "smoke passed in 0.0 s: nothing ran"


def test_the_json_document_names_its_schema_and_holds_the_figures():
    document = json.loads(render_json(REPORT))

    assert document["schema_version"] == 1
    assert document["passed"] is False
    assert document["engine"] == {"commit": "a" * 40, "commit_level": "claimed"}
    assert (document["model"], document["revision"]) == ("demo", "b" * 12)
    assert document["checks"][1] == {
        "check": "canaries",
        "status": "fail",
        "message": "1 of 5 canaries <lost>",
        "seconds": 0.5,
        "hint": "`stack warm --verify`",
        "data": {"margins": [1]},
    }
    assert document == build_document(REPORT)


def test_junit_counts_failures_and_skips_and_a_warning_passes():
    suite = ElementTree.fromstring(render_junit(REPORT))

    assert {key: suite.get(key) for key in ("tests", "failures", "skipped", "errors")} == {
        "tests": "4",
        "failures": "1",
        "skipped": "1",
        "errors": "0",
    }
    cases = {case.get("name"): case for case in suite.findall("testcase")}
    assert cases["canaries"].find("failure").get("message") == "1 of 5 canaries <lost>"
    assert cases["grafana"].find("skipped").get("message") == "its image cannot be had here"
    assert cases["prometheus"].find("failure") is None
    assert cases["prometheus"].find("system-out").text == "warning: not judged yet"
    properties = {item.get("name"): item.get("value") for item in suite.iter("property")}
    assert properties["commit_level"] == "claimed"


def test_junit_survives_what_xml_cannot_hold():
    report = Report((Finding("a", "fail", "bell \x07 and surrogate \ud800 and <&>"),))

    failure = ElementTree.fromstring(render_junit(report)).find("testcase/failure")

    assert failure.get("message") == "bell \ufffd and surrogate \ufffd and <&>"


def test_a_baseline_comes_back_from_its_document():
    baseline = Baseline("rev", {"default-1": 3.2}, {"default-1": 0.04})

    assert Baseline.from_document(json.loads(json.dumps(baseline.to_document()))) == baseline


@pytest.mark.parametrize("document", [{}, {"model_revision": "x", "values": 3, "tolerance": {}}, {"values": {}}])
def test_a_document_of_another_shape_is_no_baseline(document):
    with pytest.raises(ValueError, match="not a baseline"):
        Baseline.from_document(document)

"""A run's report as lines, as JSON and as JUnit XML."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree

from stack.checks.finding import Finding, Report

SCHEMA_VERSION = 1
# XML 1.0 has no way at all to write these, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_lines(report: Report, what: str = "smoke") -> list[str]:
    """Render what was tested, one line a check with its seconds, and the verdict."""
    commit = f"{report.commit} ({report.commit_level})" if report.commit else f"unknown ({report.commit_level})"
    revision = f"{report.model or 'unknown'} @ {report.revision or 'unknown'}"
    lines = [f"vLLM commit {commit}", f"model {revision}"]
    width = max((len(finding.check) for finding in report.findings), default=0)
    for finding in report.findings:
        lines.append(f"{finding.status:4}  {finding.check:{width}}  {finding.seconds:5.2f} s  {finding.message}")
        if finding.hint and finding.status in ("fail", "warn"):
            lines.append(f"{'':{width + 6}}  hint: {finding.hint}")
    lines.append(_render_verdict(report, what))
    return lines


def build_document(report: Report) -> dict[str, Any]:
    """Build the report's JSON document."""
    return {
        "schema_version": SCHEMA_VERSION,
        "passed": report.is_passed,
        "seconds": round(report.seconds, 3),
        "engine": {"commit": report.commit, "commit_level": report.commit_level},
        "model": report.model,
        "revision": report.revision,
        "checks": [
            {
                "check": finding.check,
                "status": finding.status,
                "message": finding.message,
                "seconds": round(finding.seconds, 3),
                "hint": finding.hint,
                "data": dict(finding.data),
            }
            for finding in report.findings
        ],
    }


def render_json(report: Report) -> str:
    """Render the report as JSON text."""
    return json.dumps(build_document(report), indent=2)


def render_junit(report: Report, suite: str = "stack smoke") -> str:
    """Render the report as JUnit XML: a warning is a passed case with its message in `system-out`.

    Source:
        The schema that Jenkins, GitLab and pytest share (testsuite, testcase, failure, skipped).
    """
    root = ElementTree.Element(
        "testsuite",
        name=suite,
        tests=str(len(report.findings)),
        failures=str(report.count("fail")),
        errors="0",
        skipped=str(report.count("skip")),
        time=f"{report.seconds:.3f}",
    )
    properties = ElementTree.SubElement(root, "properties")
    named = {"commit": report.commit, "commit_level": report.commit_level}
    named |= {"model": report.model, "revision": report.revision}
    for name, value in named.items():
        ElementTree.SubElement(properties, "property", name=name, value=_clean(value or "unknown"))
    for finding in report.findings:
        _add_case(root, suite, finding)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_case(root: ElementTree.Element, suite: str, finding: Finding) -> None:
    case = ElementTree.SubElement(
        root,
        "testcase",
        classname=suite.replace(" ", "."),
        name=_clean(finding.check),
        time=f"{finding.seconds:.3f}",
    )
    if finding.status == "fail":
        failure = ElementTree.SubElement(case, "failure", message=_clean(finding.message))
        failure.text = _clean(f"{finding.message}\nhint: {finding.hint}" if finding.hint else finding.message)
    elif finding.status == "skip":
        ElementTree.SubElement(case, "skipped", message=_clean(finding.message))
    else:
        said = f"warning: {finding.message}" if finding.status == "warn" else finding.message
        ElementTree.SubElement(case, "system-out").text = _clean(said)


def _render_verdict(report: Report, what: str) -> str:
    counts = ", ".join(
        f"{report.count(status)} {word}"
        for status, word in (("pass", "passed"), ("fail", "failed"), ("warn", "warned"), ("skip", "skipped"))
        if report.count(status)
    )
    verdict = "passed" if report.is_passed else "failed"
    return f"{what} {verdict} in {report.seconds:.1f} s: {counts or 'nothing ran'}"


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)

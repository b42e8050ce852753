"""The page is well-formed HTML, needs nothing from anywhere, and cannot be made to say what it should not."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.history.chart import Value, build_chart
from stack.history.page import CheckRow, Page, render_page

VOID = {"meta", "br", "link", "img", "hr", "input"}
EVIL = "</pre></style><script>alert(1)</script><img src=https://evil.example/x onerror=alert(1)>\"'&"


class Structure(HTMLParser):
    """Elements in their order, their text, and that each is closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and self.open and self.open[-1] != "style":
            self.texts.append(data.strip())


def parse(text: str) -> Structure:
    structure = Structure()
    structure.feed(text)
    structure.close()
    assert structure.open == []
    return structure


def make_page(text: str = "text", **changes: object) -> Page:
    chart = build_chart(text, [(text, [Value("now", 2.0, text), Value("before", 1.0)])])
    values = {
        "project": text, "name": "boot-3", "verdict": "passed", "summary": text, "commit": "a" * 40,
        "level": "verified", "rests_on": text, "facts": [("model", text)],
        "checks": [CheckRow("fail", text, "0.10", text, text), CheckRow("pass", "other", "0.20", text)],
        "charts": [(text, chart)], "argv": ["--model", text], "host": [("cpu", text)], "lock": text,
        "figures": [(text, text)], "details": text, "written": text,
    }  # fmt: skip
    return Page(**(values | changes))


def test_the_commit_comes_first_then_checks_charts_args_host_and_lock():
    structure = parse(render_page(make_page()))
    text = " ".join(structure.texts)
    order = [
        "boot-3",
        "a" * 40,
        "rests on: text",
        "Key figures",
        "Checks",
        "Engine args",
        "Host",
        "stack.lock",
        "Details",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert structure.tags.count("svg") == 1
    assert structure.tags.count("rect") == 2
    assert "(verified)" in text


def test_what_is_empty_has_no_section():
    page = make_page(
        commit=None,
        rests_on=None,
        facts=[],
        checks=[],
        charts=[],
        argv=[],
        host=[],
        lock=None,
        figures=[],
        details=None,
    )
    structure = parse(render_page(page))
    assert {"section", "table", "svg", "pre", "details", "code"} & set(structure.tags) == set()


def test_the_page_loads_nothing_and_runs_nothing():
    text = render_page(make_page())
    structure = parse(text)
    assert {"script", "link", "img", "iframe", "object", "form", "a", "base"} & set(structure.tags) == set()
    assert {name for name, _ in structure.attributes} & {"src", "href", "style", "action", "srcset"} == set()
    assert not [name for name, _ in structure.attributes if name.startswith("on")]
    assert re.findall(r"https?:|//|url\(|@import", text) == []
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in structure.attributes


def test_the_page_is_light_dark_and_printable():
    text = render_page(make_page())
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_a_text_from_outside_stays_a_text_wherever_it_stands():
    harmless, evil = parse(render_page(make_page())), parse(render_page(make_page(EVIL)))
    assert evil.tags == harmless.tags
    assert [name for name, _ in evil.attributes] == [name for name, _ in harmless.attributes]
    assert " ".join(evil.texts).count("alert(1)") >= 12


HARMLESS = parse(render_page(make_page()))


@settings(derandomize=True, deadline=None, database=None)
@given(st.text(min_size=1, max_size=40) | st.text("<>&\"'/=!- ab", min_size=1))
def test_no_text_changes_what_the_page_is_made_of(text):
    rendered = render_page(make_page(text))
    assert parse(rendered).tags == HARMLESS.tags
    rendered.encode()


@pytest.mark.parametrize("text", ["\x00", "\x1b[31m", "\u202e", "\ud800"])
def test_what_no_page_may_hold_is_replaced(text):
    assert text not in render_page(make_page(f"a{text}b"))

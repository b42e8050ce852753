"""The page is well-formed HTML, needs nothing from anywhere, and cannot be made to say what it should not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.history.chart import Value, build_chart
from stack.history.page import Cell, Page, Reason, Table, build_pairs, render_page
from stack.history.plot import Plots, build_plot
from tests.fixtures.html_page import Element, find_section, list_headings, read_page

EVIL = "</pre></style><script>alert(1)</script><img src=https://evil.example/x onerror=alert(1)>\"'&"


def make_page(text: str = "text", **changes: object) -> Page:
    checks = Table(
        "Checks",
        ("Status", "Check", "Time", "What was seen"),
        [(Cell("fail", "status fail"), Cell(text, "name"), Cell("0.10 s", "number"), Cell(text, note=text))],
        text,
    )
    wide = Table(
        "Objectives", ("Objective", text, "Left", "Verdict"),
        [(Cell(text, "name"), Cell(text), Cell(text, share=0.25), Cell(text, "status pass")),
         (Cell(text, "name"), Cell(""), Cell(text, share=-2.0), Cell(text, "status fail"))],
    )  # fmt: skip
    values = {
        "project": text, "name": "boot-3", "verdict": "failed", "role": "fail", "summary": text, "commit": "a" * 40,
        "level": "verified", "rests_on": text, "reasons": [Reason(text, text), Reason(text)],
        "facts": [("model", text), ("image", text)], "notes": [text],
        "sections": [
            checks, wide, build_pairs("Load", [(text, text)]),
            build_chart("Phases", [(text, [Value("now", 2.0, text), Value("before", 1.0)])], text=text),
            Plots("Sweep", (build_plot(text, text, [(1, 2), (2, 3)], (2, text)),), text),
        ],
        "argv": ["--model", text], "host": [("cpu", text)], "lock": text, "details": text, "written": text,
    }  # fmt: skip
    return Page(**(values | changes))


def tags(page: Element) -> list[str]:
    inner = [one for one in page.children if isinstance(one, Element)]
    return [tag for one in inner for tag in (one.tag, *tags(one))]


def attributes(page: Element) -> list[tuple[str, str | None]]:
    inner = [one for one in page.children if isinstance(one, Element)]
    return [item for one in inner for item in (*one.attributes.items(), *attributes(one))]


def test_the_head_has_verdict_commit_and_why_it_failed_before_all_else():
    page = read_page(render_page(make_page(summary="3 of 5 lost", facts=[("model", "org/name")])))
    (head,) = page.find("header")
    places = [head.text.index(part) for part in ("boot-3 failed", "3 of 5 lost", "a" * 40, "Why it failed", "org/name")]
    assert places == sorted(places)
    assert head.find("h1")[0].find("span")[0].classes == ["fail"]
    assert "(verified) rests on: text" in head.text
    assert [one.text for one in head.find("li")] == ["text next: text", "text"]


def test_sections_keep_their_order_and_args_host_lock_and_details_come_last():
    assert list_headings(read_page(render_page(make_page()))) == [
        "To be read with it", "Checks", "Objectives", "Load", "Phases", "Sweep", "Engine args", "Host", "stack.lock",
        "Details",
    ]  # fmt: skip


def test_what_is_empty_has_no_place():
    page = Page(project="p", name="boot-3", verdict="unfinished", role="warn", summary="", written="now")
    assert {"section", "table", "svg", "pre", "details", "code", "li"} & set(
        tags(read_page(render_page(page)))
    ) == set()


def test_a_table_of_many_cells_can_become_blocks_that_name_each_cell():
    section = find_section(read_page(render_page(make_page("x"))), "Objectives")
    (table,) = section.find("table")
    assert table.classes == ["wide"]
    header, first, second = table.rows()
    assert header == ["Objective", "x", "Left", "Verdict"]
    assert [cell.attributes["data-label"] for cell in table.find("td")][:3] == header[1:]
    assert "empty" in table.find("td")[3].classes
    assert (first[2], second[1]) == ("x", "")


def test_numbers_and_their_heading_stand_on_one_side():
    (table,) = find_section(read_page(render_page(make_page())), "Checks").find("table")
    assert table.classes == ["checks"]
    assert [cell.text for cell in table.find("th", "number") + table.find("td", "number")] == ["Time", "0.10 s"]


def test_a_spent_budget_is_no_empty_bar():
    (table,) = find_section(read_page(render_page(make_page())), "Objectives").find("table")
    drawn = [(one.find("rect")[1].classes, one.find("rect")[1].attributes["width"]) for one in table.find("svg")]
    assert drawn == [(["left"], "25.0%"), (["over"], "100%")]


def test_no_drawing_is_made_smaller_with_the_page():
    """Letters in a drawing that is scaled as a whole cannot be read on a phone."""
    page = read_page(render_page(make_page()))
    assert page.find("svg")
    assert {name for name, _ in attributes(page)} & {"viewbox", "viewBox"} == set()
    for bar in find_section(page, "Phases").find("dd"):
        assert bar.find("rect")[0].attributes["width"].endswith("%") and bar.find("span")[0].text


def test_axes_have_numbers_names_and_the_points_in_words():
    section = find_section(read_page(render_page(make_page("requests a second"))), "Sweep")
    assert section.find("figcaption")[0].text == section.find("figure")[0].find("p")[0].text == "requests a second"
    assert [one.text for one in section.find("svg", "axis")[0].find("text")] == ["0", "1", "2", "3"]
    (area,) = section.find("svg", "area")
    assert area.attributes["aria-label"] == "requests a second at requests a second: 2 at 1, 3 at 2"
    assert [one.attributes["x1"] for one in area.find("line", "knee")] == ["100.0%"]


def test_the_page_loads_nothing_and_runs_nothing():
    text = render_page(make_page())
    page = read_page(text)
    assert {"script", "link", "img", "iframe", "object", "form", "a", "base"} & set(tags(page)) == set()
    names = {name for name, _ in attributes(page)}
    assert names & {"src", "href", "style", "action", "srcset"} == set()
    assert not [name for name in names if name.startswith("on")]
    assert re.findall(r"https?:|//|url\(|@import", text) == []
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in attributes(page)


def test_the_page_is_light_dark_narrow_and_printable():
    text = render_page(make_page())
    # Paper is white and wide, whatever the screen is.
    assert "@media screen and (prefers-color-scheme: dark)" in text
    assert "@media screen and (max-width: 40rem)" in text
    # What is folded would fill paper with a lock of 200 lines.
    assert "section:has(details:not([open])) { display: none; }" in text.partition("@media print")[2]


def test_a_text_from_outside_stays_a_text_wherever_it_stands():
    harmless, evil = read_page(render_page(make_page())), read_page(render_page(make_page(EVIL)))
    assert tags(evil) == tags(harmless)
    assert [name for name, _ in attributes(evil)] == [name for name, _ in attributes(harmless)]
    assert evil.text.count("alert(1)") >= 30


HARMLESS = tags(read_page(render_page(make_page())))


@settings(derandomize=True, deadline=None, database=None)
@given(st.text(min_size=1, max_size=40) | st.text("<>&\"'/=!- ab", min_size=1))
def test_no_text_changes_what_the_page_is_made_of(text):
    rendered = render_page(make_page(text))
    assert tags(read_page(rendered)) == HARMLESS
    rendered.encode()


@pytest.mark.parametrize("text", ["\x00", "\x1b[31m", "\u202e", "\ud800"])
def test_what_no_page_may_hold_is_replaced(text):
    assert text not in render_page(make_page(f"a{text}b"))

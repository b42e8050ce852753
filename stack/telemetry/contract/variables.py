"""Grafana's variables and macros in PromQL: what they are while nobody looks at the dashboard."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stack.telemetry.contract.written import find_strings

# What Grafana puts in on a one-hour view of a series that is scraped every 15 seconds; its rate interval is four
# scrapes. Source: https://grafana.com/docs/grafana/latest/dashboards/variables/add-template-variables/
# (global variables) and .../datasources/prometheus/template-variables/ ($__rate_interval).
MACROS: Mapping[str, str] = {
    "__interval": "15s",
    "__interval_ms": "15000",
    "__rate_interval": "1m",
    "__rate_interval_ms": "60000",
    "__range": "1h",
    "__range_s": "3600",
    "__range_ms": "3600000",
    "__from": "1700000000000",
    "__to": "1700003600000",
    "__dashboard": "dashboard",
    "__org": "1",
    "__user": "admin",
    "__auto": "1m",
}
_AUTO = "$__auto"
_ALL = "$__all"
_ANYTHING = ".*"

# `${name:format}`, `$name` and `[[name:format]]`; a format may carry arguments (`${__from:date:seconds}`).
_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)(?:\.\w+)?(?::[^}]*)?\}|\[\[(\w+)(?::[^\]]*)?\]\]")
_RANGE = re.compile(r"\[\s*$")
_MATCHER = re.compile(r"(=~|!~|!=|=)\s*$")


@dataclass(frozen=True)
class Standing:
    """What a variable stands for.

    Attributes:
        widest: What shows everything, as the value of a matcher with a regex.
        literal: What is put in elsewhere, such as in a name or a range: what was chosen last. None: nothing was.
        is_many: Whether several values, or all, can be chosen at once.
    """

    widest: str
    literal: str | None = None
    is_many: bool = False


def substitute(text: str, values: Mapping[str, Standing]) -> str:
    """Give the expression as Prometheus is asked it; a name that nobody knows stays as it is.

    Args:
        text: PromQL of a dashboard.
        values: What the dashboard's own variables stand for (`read_values`), and what shall stand for macros.
    """
    parts, at = [], 0
    for start, end in find_strings(text):
        parts.append(_put_in_code(text[at:start], values))
        operator = _MATCHER.search(parts[-1])
        value, is_regex = _put_in_string(text[start:end], operator[1] if operator else "", values)
        if is_regex and operator is not None and operator[1] == "=":
            parts[-1] = f"{parts[-1][: operator.start()]}=~"
        parts.append(value)
        at = end
    return "".join([*parts, _put_in_code(text[at:], values)])


def read_values(
    variables: Iterable[Mapping[str, Any]], inputs: Iterable[Mapping[str, Any]] = ()
) -> dict[str, Standing]:
    """Give what each of a dashboard's variables stands for.

    Args:
        variables: `templating.list` of the dashboard.
        inputs: `__inputs` of an export: constants that the importer is asked for.
    """
    asked = {str(item.get("name")): str(item.get("value") or "") for item in inputs if item.get("type") == "constant"}
    found = {name: Standing(value, value) for name, value in asked.items()}
    return found | {str(item["name"]): _read_value(item, asked) for item in variables if item.get("name")}


def find_unknown(expr: str) -> str | None:
    """Give the first variable that nothing was put in for, as it is written; None where there is none."""
    at = 0
    for start, end in find_strings(expr):
        found = _VARIABLE.search(expr, at, start)
        if found is None and _MATCHER.search(expr, at, start):
            found = next((one for one in _VARIABLE.finditer(expr, start, end) if not _name_of(one).isdigit()), None)
        if found is not None:
            return found[0]
        at = end
    found = _VARIABLE.search(expr, at)
    return found[0] if found else None


def find_many_with_equal(text: str, values: Mapping[str, Standing]) -> str | None:
    """Give the first variable of several values that is compared with `=`, as it is written; else None."""
    at = 0
    for start, end in find_strings(text):
        operator = _MATCHER.search(text, at, start)
        found = _VARIABLE.fullmatch(text, start + 1, end - 1) if operator and operator[1] == "=" else None
        if found is not None and (standing := values.get(_name_of(found))) is not None and standing.is_many:
            return found[0]
        at = end
    return None


def _name_of(match: re.Match[str]) -> str:
    return match[1] or match[2] or match[3]


def _put_in_code(text: str, values: Mapping[str, Standing]) -> str:
    def give(match: re.Match[str]) -> str:
        name = _name_of(match)
        standing = values.get(name)
        if standing is None and name in MACROS:
            return MACROS[name]
        if standing is None or (standing.literal is None and not _RANGE.search(text[: match.start()])):
            return match[0]
        return "1m" if standing.literal is None else standing.literal

    return _VARIABLE.sub(give, text)


def _put_in_string(text: str, operator: str, values: Mapping[str, Standing]) -> tuple[str, bool]:
    """Give a quoted text with values put in, and whether it became a regex."""
    is_regex = False

    def give(match: re.Match[str]) -> str:
        nonlocal is_regex
        name = _name_of(match)
        standing = values.get(name)
        if standing is None:
            return MACROS.get(name, match[0])
        # What leaves something out leaves nothing out, and what is no matcher's value is a name or a label.
        if operator in ("!~", "!=", ""):
            return standing.literal or ""
        is_regex = is_regex or standing.widest != standing.literal
        return standing.widest

    return _VARIABLE.sub(give, text), is_regex


def _read_value(variable: Mapping[str, Any], asked: Mapping[str, str]) -> Standing:
    if variable.get("type") == "datasource":
        return Standing("prometheus", "prometheus")
    literal = next(_read_choices(variable, asked), None)
    if variable.get("includeAll") or variable.get("multi"):
        every = str(variable.get("allValue") or _ANYTHING)
        return Standing(every, literal, is_many=True)
    is_asked = variable.get("type") in ("query", "adhoc", "groupby")
    return Standing(_ANYTHING if is_asked or literal is None else literal, literal)


def _read_choices(variable: Mapping[str, Any], asked: Mapping[str, str]) -> Iterator[str]:
    """Give what may be chosen: what was chosen last, then what is offered; the empty text is a choice, too."""
    chosen = (variable.get("current") or {}).get("value")
    offered: Sequence[Any] = [one.get("value") for one in variable.get("options") or [] if isinstance(one, Mapping)]
    query = variable.get("query")
    if variable.get("type") in ("interval", "custom", "constant", "textbox") and isinstance(query, str):
        offered = [*offered, *(one.split(" : ")[-1].strip() for one in query.split(","))]
    for value in (*(chosen if isinstance(chosen, list) else [chosen]), *offered):
        if value is None or value == _ALL or isinstance(value, list | Mapping):
            continue
        text = MACROS["__auto"] if str(value).startswith(_AUTO) else str(value)
        given = _VARIABLE.fullmatch(text)
        # What a template or an import fills in (`${NAMESPACE}`) is known to nobody yet.
        if given is None or _name_of(given) in asked:
            yield asked[_name_of(given)] if given else text

"""A variable is what it stands for where it stands: in a matcher, in a name, in a range."""

from __future__ import annotations

import pytest

from stack.telemetry.contract.variables import find_unknown, read_values, substitute

VALUES = read_values(
    [
        {"name": "any", "type": "query", "query": "label_values(up, job)", "current": {"value": "then"}},
        {"name": "unset", "type": "query", "query": "label_values(up, job)"},
        {"name": "all", "type": "query", "includeAll": True, "current": {"value": ["$__all"]}},
        {"name": "part", "type": "query", "includeAll": True, "allValue": "a|b"},
        {"name": "empty", "type": "constant", "query": ""},
        {"name": "prefix", "type": "constant", "query": "${VAR_PREFIX}"},
        {"name": "later", "type": "constant", "query": "${NAMESPACE}", "current": {"value": "${NAMESPACE}"}},
        {"name": "step", "type": "interval", "query": "30s,1m", "current": {"value": "$__auto_interval_step"}},
        {"name": "func", "type": "custom", "query": "Mean : avg, Worst : max"},
        {"name": "text", "type": "textbox", "query": "x"},
    ],
    [{"name": "VAR_PREFIX", "type": "constant", "value": "amd_"}],
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('up{job="$any"}', 'up{job=~".*"}'),
        ('up{job=~"${any:regex}"}', 'up{job=~".*"}'),
        ("up{job='[[any]]'}", "up{job=~'.*'}"),
        ('up{job="$any:9090"}', 'up{job=~".*:9090"}'),
        ('up{job!~"$any", job!="$unset"}', 'up{job!~"then", job!=""}'),
        ('up{job=~"$part", a="$text"}', 'up{job=~"a|b", a="x"}'),
        ('up{job="$later"}', 'up{job=~".*"}'),
        ("${empty}up", "up"),
        ('{"${prefix}up", job="x"}', '{"amd_up", job="x"}'),
        ("rate(${prefix:raw}up[$step]) + rate(up[$unset])", "rate(amd_up[1m]) + rate(up[1m])"),
        ("${func:value}(up) offset $__range", "avg(up) offset 1h"),
        ('label_replace(up, "a", "$1", "b", "(.*)") # "$any', 'label_replace(up, "a", "$1", "b", "(.*)") # "then'),
        ('up{job="$nobody"}', 'up{job="$nobody"}'),
        ("rate(up[$__rate_interval])", "rate(up[1m])"),
    ],
)
def test_a_variable_is_put_in_as_its_place_wants_it(text: str, wanted: str) -> None:
    assert substitute(text, VALUES) == wanted


@pytest.mark.parametrize(
    ("expr", "unknown"),
    [
        ("up > $x", "$x"),
        ('up{a="${x:raw}"}', "${x:raw}"),
        ('label_replace(up, "a", "$1", "b", "${2}")', None),
        ("up{a=~'b$'}", None),
        ("label_join(up, 'a', '$nobody', 'b')", None),
    ],
)
def test_what_nothing_was_put_in_for_is_told(expr: str, unknown: str | None) -> None:
    assert find_unknown(expr) == unknown

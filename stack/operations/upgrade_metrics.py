"""What two engines export under /metrics, in what that differs, and who of this stack asks for it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from stack.telemetry.dashboards import Dashboard
from stack.telemetry.exposition import Exposition

Change = Literal["appeared", "gone", "type", "labels"]

_SUFFIXES = ("_bucket", "_count", "_sum", "_total", "_created", "_info")
_CREATED = "_created"
_RULE = re.compile(r"^\s*- (record|alert): *(\S+) *$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)


@dataclass(frozen=True)
class Metric:
    """One metric family.

    Attributes:
        kind: `counter`, `gauge`, `histogram`, `summary` or `unknown`.
        labels: The names of its labels, sorted; empty where it has no sample yet.
    """

    kind: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricChange:
    """One metric in which two engines differ.

    Attributes:
        name: The family's name.
        change: What changed.
        said: What it was and what it is, in words.
        users: Which dashboards and rules of this stack need what is gone.
    """

    name: str
    change: Change
    said: str
    users: tuple[str, ...] = ()


@dataclass(frozen=True)
class Query:
    """PromQL of this stack.

    Attributes:
        user: Who asks, in words (`dashboard overview: Requests`, `rule model:…`).
        expr: What is asked, with whatever stands around it.
        records: The series that its answer is recorded as, or None.
    """

    user: str
    expr: str
    records: str | None = None


def build_inventory(page: Exposition) -> dict[str, Metric]:
    """Give the families of a page with their types and label names; when series were created is no metric."""
    labels: dict[str, set[str]] = {}
    for sample in page.samples:
        labels.setdefault(_find_family(sample.name, page.types), set()).update(sample.labels)
    return {
        name: Metric(kind, tuple(sorted(labels.get(name, ()))))
        for name, kind in sorted(page.types.items())
        if not name.endswith(_CREATED)
    }


def parse_rules(text: str) -> list[Query]:
    """Give the rules of a Prometheus rule file; what stands in comments counts for nothing."""
    text = _COMMENT.sub("", text)
    found = list(_RULE.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    return [
        Query(
            f"{'alert' if match[1] == 'alert' else 'rule'} {match[2]}",
            text[match.end() : end],
            match[2] if match[1] == "record" else None,
        )
        for match, end in zip(found, ends, strict=True)
    ]


def list_panels(dashboards: Sequence[Dashboard]) -> list[Query]:
    """Give the queries of dashboards."""
    return [Query(f"dashboard {item.dashboard}: {item.panel}", item.expr) for one in dashboards for item in one.queries]


def compare_inventories(
    old: Mapping[str, Metric], new: Mapping[str, Metric], queries: Sequence[Query]
) -> list[MetricChange]:
    """Give what differs, what is gone first.

    Args:
        old: The inventory of the engine that is measured against.
        new: The other engine's.
        queries: Every query of this stack.
    """
    gone = [MetricChange(name, "gone", old[name].kind, find_users(name, queries)) for name in old if name not in new]
    changed = [change for name in old if name in new for change in _compare(name, old[name], new[name], queries)]
    added = [MetricChange(name, "appeared", new[name].kind) for name in new if name not in old]
    return [*gone, *changed, *added]


def find_users(name: str, queries: Sequence[Query], *, label: str | None = None) -> tuple[str, ...]:
    """Give who asks for a metric, by itself or through what rules record of it.

    Args:
        name: The family's name.
        queries: Every query of this stack.
        label: Only those that name this label, or take it from a rule that does.
    """
    patterns, users = [_build_pattern(name)], dict[str, None]()
    asked = list(patterns)
    while asked:
        pattern = asked.pop()
        for query in queries:
            if query.user in users or not pattern.search(query.expr):
                continue
            if label is not None and not re.search(rf"\b{re.escape(label)}\b", query.expr):
                continue
            users[query.user] = None
            if query.records is not None:
                asked.append(_build_pattern(query.records))
    return tuple(users)


def _compare(name: str, old: Metric, new: Metric, queries: Sequence[Query]) -> list[MetricChange]:
    if old.kind != new.kind:
        return [MetricChange(name, "type", f"{old.kind}, now {new.kind}", find_users(name, queries))]
    if not old.labels or not new.labels or old.labels == new.labels:
        return []
    lost = [label for label in old.labels if label not in new.labels]
    got = [label for label in new.labels if label not in old.labels]
    said = ", ".join([*(f"without `{label}`" for label in lost), *(f"with `{label}`" for label in got)])
    users = dict.fromkeys(user for label in lost for user in find_users(name, queries, label=label))
    return [MetricChange(name, "labels", said, tuple(users))]


def _build_pattern(name: str) -> re.Pattern[str]:
    suffixes = "|".join(_SUFFIXES)
    return re.compile(rf"(?<![\w:]){re.escape(name)}(?:{suffixes})?(?![\w:])")


def _find_family(series: str, types: Mapping[str, str]) -> str:
    if series in types:
        return series
    return next((series.removesuffix(end) for end in _SUFFIXES if series.removesuffix(end) in types), series)

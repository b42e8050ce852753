"""What two engines export under /metrics, in what that differs, and who of this stack asks for it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from stack.telemetry.contract.query import QueryFile
from stack.telemetry.exposition import Exposition

Change = Literal["appeared", "gone", "type", "labels", "bounds"]

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
        bounds: The finite bounds of its buckets, ascending; empty where it has none.
    """

    kind: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


@dataclass(frozen=True)
class MetricChange:
    """One metric in which two engines differ.

    Attributes:
        name: The family's name.
        change: What changed.
        said: What it was and what it is, in words.
        users: Which dashboards and rules of this stack need what is gone, or ask for what appeared.
        since: The release that it came with, where the new engine is known to be older: who asks for it knows that.
    """

    name: str
    change: Change
    said: str
    users: tuple[str, ...] = ()
    since: str | None = None


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
    """Give the families of a page with what is known of each; when series were created is no metric."""
    labels: dict[str, set[str]] = {}
    bounds: dict[str, set[float]] = {}
    for sample in page.samples:
        family, bound = _find_family(sample.name, page.types), sample.labels.get("le")
        labels.setdefault(family, set()).update(sample.labels)
        if bound not in (None, "+Inf"):
            bounds.setdefault(family, set()).add(float(bound))
    return {
        name: Metric(kind, tuple(sorted(labels.get(name, ()))), tuple(sorted(bounds.get(name, ()))))
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


def list_panels(dashboards: Sequence[QueryFile]) -> list[Query]:
    """Give the queries of the panels of dashboards."""
    return [
        Query(f"dashboard {board.uids[0]}: {query.place.name}", query.text)
        for board in dashboards
        for query in board.queries
        if query.place.kind == "panel"
    ]


def compare_inventories(
    old: Mapping[str, Metric],
    new: Mapping[str, Metric],
    queries: Sequence[Query],
    later: Mapping[str, str] | None = None,
) -> list[MetricChange]:
    """Give what differs, what is gone first.

    Args:
        old: The inventory of the engine that is measured against.
        new: The other engine's.
        queries: Every query of this stack.
        later: Series that came with a later release than the new engine's, and that release.
    """
    gone = [
        MetricChange(name, "gone", old[name].kind, find_users(name, queries), _find_since(name, later or {}))
        for name in old
        if name not in new
    ]
    changed = [change for name in old if name in new for change in _compare(name, old[name], new[name], queries)]
    added = [
        MetricChange(name, "appeared", new[name].kind, find_users(name, queries)) for name in new if name not in old
    ]
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
    changes = []
    if old.labels and new.labels and old.labels != new.labels:
        lost = [label for label in old.labels if label not in new.labels]
        users = dict.fromkeys(user for label in lost for user in find_users(name, queries, label=label))
        changes.append(MetricChange(name, "labels", _say_difference(old.labels, new.labels), tuple(users)))
    if old.bounds and new.bounds and old.bounds != new.bounds:
        gone = [re.compile(rf"""le=["']{bound:g}(\.0)?["']""") for bound in old.bounds if bound not in new.bounds]
        asking = [query for query in queries if any(pattern.search(query.expr) for pattern in gone)]
        said = _say_difference([f"{bound:g}" for bound in old.bounds], [f"{bound:g}" for bound in new.bounds])
        changes.append(MetricChange(name, "bounds", said, find_users(name, asking)))
    return changes


def _say_difference(old: Sequence[str], new: Sequence[str]) -> str:
    lost = [f"without `{item}`" for item in old if item not in new]
    return ", ".join([*lost, *(f"with `{item}`" for item in new if item not in old)])


def _find_since(name: str, later: Mapping[str, str]) -> str | None:
    return next((later[f"{name}{suffix}"] for suffix in ("", *_SUFFIXES) if f"{name}{suffix}" in later), None)


def _build_pattern(name: str) -> re.Pattern[str]:
    suffixes = "|".join(_SUFFIXES)
    return re.compile(rf"(?<![\w:]){re.escape(name)}(?:{suffixes})?(?![\w:])")


def _find_family(series: str, types: Mapping[str, str]) -> str:
    if series in types:
        return series
    return next((series.removesuffix(end) for end in _SUFFIXES if series.removesuffix(end) in types), series)

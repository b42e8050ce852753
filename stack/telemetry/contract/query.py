"""What the contract is about, as values: a query with its place, and a fault with its."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["panel", "variable", "annotation", "record", "alert"]
Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Place:
    """Where a query stands.

    Attributes:
        file: The file's path as it was given.
        kind: What asks it.
        name: The panel's, variable's, annotation's, record's or alert's name.
        ref: The query's letter in its panel, or the group of a rule.
        row: The row that holds the panel, or None.
    """

    file: str
    kind: Kind
    name: str
    ref: str = ""
    row: str | None = None

    def __str__(self) -> str:
        if not self.name:
            return self.file
        within = f"row `{self.row}`, " if self.row else ""
        ref = f" ({self.ref})" if self.ref else ""
        return f"{self.file}: {within}{self.kind} `{self.name}`{ref}"


@dataclass(frozen=True)
class Query:
    """One PromQL expression as somebody wrote it.

    Attributes:
        place: Where it stands.
        text: The expression, Grafana's variables and macros still in it.
        expr: The same as Prometheus is asked it.
        unit: The panel's unit (Grafana's name for it), or "".
        thresholds: The panel's thresholds, in its unit.
        no_value: What the panel says while the query gives nothing.
        is_instant: Whether only the present value is asked for.
        label: The label whose values a variable lists, or None.
        step_seconds: How short the panel lets `$__interval` become; None where only the data source says so.
        many_with_equal: A variable of several values that is compared with `=`, as it is written; else None.
    """

    place: Place
    text: str
    expr: str
    unit: str = ""
    thresholds: tuple[float, ...] = ()
    no_value: str = ""
    is_instant: bool = False
    label: str | None = None
    step_seconds: float | None = None
    many_with_equal: str | None = None


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with a query, or with the file that holds it.

    Attributes:
        rule: The rule that it breaks, by its name in `RULES`.
        place: Where.
        message: What is wrong.
        hint: What to do about it, or None.
        line: The line of the query, from 1; None where it is not about one spot.
        column: The column there, from 1.
    """

    rule: str
    place: Place
    message: str
    hint: str | None = None
    line: int | None = None
    column: int | None = None

    @property
    def severity(self) -> Severity:
        """How bad faults of this rule are."""
        return RULES[self.rule]

    def __str__(self) -> str:
        spot = f", {self.line}:{self.column}" if self.line is not None else ""
        return f"{self.place}{spot}: {self.message} [{self.rule}]"


@dataclass(frozen=True)
class QueryFile:
    """One file, read.

    Attributes:
        path: As it was given.
        queries: Every query in it, in its order.
        faults: What could not be read in it.
        uids: The uids of the dashboards in it.
        records: The names that its recording rules make.
    """

    path: str
    queries: tuple[Query, ...] = ()
    faults: tuple[Fault, ...] = ()
    uids: tuple[str, ...] = ()
    records: frozenset[str] = field(default_factory=frozenset)


RULES: Mapping[str, Severity] = {
    "unreadable": "error",
    "not-understood": "warning",
    "syntax": "error",
    "dead-metric": "error",
    "dead-label": "error",
    "dead-value": "error",
    "all-with-equal": "warning",
    "foreign-label": "warning",
    "other-spelling": "warning",
    "conditional": "note",
    "not-checked": "note",
    "rate-over-gauge": "error",
    "counter-without-rate": "error",
    "counter-as-total": "warning",
    "quantile-without-le": "error",
    "quantile-per-series": "warning",
    "average-of-quantiles": "error",
    "sum-as-latency": "error",
    "interval-in-rate": "error",
    "unguarded-ratio": "warning",
    "range-too-short": "error",
    "wrong-unit": "error",
    "threshold-off-buckets": "warning",
    "duplicate-uid": "error",
    "fixed-datasource": "warning",
}
"""Every rule with its severity; `stack dashboards check` ends with 1 where there is an error."""


def find_spot(text: str, part: str) -> tuple[int, int] | tuple[None, None]:
    """Give line and column, both from 1, of the first place where a part stands in a query."""
    at = text.find(part)
    if at < 0:
        return None, None
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1

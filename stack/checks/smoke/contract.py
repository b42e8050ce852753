"""What smoke asks about the queries of the stack's own dashboards, rules and alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class QueryState:
    """What became of one query.

    Attributes:
        place: Its file, its panel or rule, and its letter there.
        query: The query, as Prometheus is asked it.
        outcome: `ok`; `conditional`: it gives nothing until something happens, or is there; `empty`: it gives nothing
            for no known reason; `dead`: it asks for a name, label or value that nobody exports; `error`: it is refused;
            `named`: its names are there, and nobody was asked the query.
        reason: Why, where it gives no number.
        hint: What would mend it, or None.
    """

    place: str
    query: str
    outcome: Literal["ok", "conditional", "empty", "dead", "error", "named"]
    reason: str = ""
    hint: str | None = None


class Contract(Protocol):
    """The stack's own dashboards, rules and alerts; failures are `ServiceApiError`."""

    def begin(self) -> None:
        """Note what the engine has done until now, before smoke sends its first request."""

    def has_arrived(self) -> bool:
        """Tell whether Prometheus has scraped requests that ended since this smoke test began."""

    def look(self) -> Sequence[QueryState]:
        """Hold every query against what is exported, and run it once where there is a Prometheus."""

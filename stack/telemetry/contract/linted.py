"""A query as the rules see it."""

from __future__ import annotations

from dataclasses import dataclass

from stack.telemetry.contract.inventory import Inventory, SeriesFacts
from stack.telemetry.contract.query import Fault, Query, find_spot
from stack.telemetry.contract.syntax import Node, name_of


@dataclass(frozen=True)
class Linted:
    """A query as the rules see it.

    Attributes:
        query: The query.
        tree: Its tree.
        inventory: What is known of the series.
        scrape_interval_seconds: How often they are scraped.
    """

    query: Query
    tree: Node
    inventory: Inventory
    scrape_interval_seconds: float

    def facts(self, selector: Node) -> SeriesFacts | None:
        """Give what is known of a selector's series."""
        return self.inventory.series.get(name_of(selector) or "")

    def fault(self, rule: str, part: str, message: str, hint: str) -> Fault:
        """Give a fault at the first place where a part stands."""
        return Fault(rule, self.query.place, message, hint, *find_spot(self.query.text, part))

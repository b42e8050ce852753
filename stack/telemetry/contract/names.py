"""The data of `names.toml`: names that are gone, names under a condition, and labels with fixed values."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class GoneName:
    """A name that is not exported any more.

    Attributes:
        instead: What tells the same now.
        since: The first release without it, or None where that is not known.
    """

    instead: str
    since: str | None


@dataclass(frozen=True)
class Condition:
    """Under which condition names exist.

    Attributes:
        pattern: What the names look like.
        text: What must be there for them.
        witness: A series that comes with it: where that is there, the condition is met. None where none does.
    """

    pattern: re.Pattern[str]
    text: str
    witness: str | None = None


@dataclass(frozen=True)
class Names:
    """What is known of names beyond an inventory.

    Attributes:
        gone: By name.
        conditional: Names that exist under a condition.
        values: The values of a label, by metric and label.
    """

    gone: Mapping[str, GoneName]
    conditional: tuple[Condition, ...]
    values: Mapping[tuple[str, str], frozenset[str]]

    def find_condition(self, name: str, known: Collection[str] = ()) -> str | None:
        """Give what must be there for a name to exist, or None where it exists always or never.

        Args:
            name: The name.
            known: The names that there are: they tell which conditions are met.
        """
        found = next((one for one in self.conditional if one.pattern.fullmatch(name)), None)
        return found.text if found is not None and found.witness not in known else None


@cache
def load_names() -> Names:
    """Read the table."""
    table = tomllib.loads(Path(__file__).with_name("names.toml").read_text(encoding="utf-8"))
    gone = {name: GoneName(entry["instead"], entry.get("since")) for entry in table["gone"] for name in entry["names"]}
    conditional = tuple(
        Condition(re.compile(entry["pattern"]), entry["condition"], entry.get("unless"))
        for entry in table["conditional"]
    )
    values = {(entry["metric"], entry["label"]): frozenset(entry["values"]) for entry in table["values"]}
    return Names(gone, conditional, values)

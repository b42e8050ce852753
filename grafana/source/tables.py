"""Tables in our style, made of a query's series by Grafana's transformations."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models import dashboard as models

from source.panels import Look, Query, as_table, build_query, dress


def build_table(look: Look, query: Query, transformations: Sequence[models.DataTransformerConfig]) -> table.Panel:
    """Give a table made by the transformations."""
    panel = table.Panel().show_header(False).transformations(list(transformations))
    return dress(panel, look, [build_query(query).instant()])


def build_rows(look: Look, query: Query, columns: Sequence[str], *, hidden: Sequence[str] = ("Value",)) -> table.Panel:
    """Give a table with a row for each series: its labels, and `Value`, in the order of the columns."""
    order = transform(
        "organize",
        excludeByName=dict.fromkeys(["Time", *hidden], True),
        renameByName={},
        indexByName={name: index for index, name in enumerate(columns)},
    )
    return dress(table.Panel().show_header(True).transformations([order]), look, [as_table(query)])


def build_matrix(look: Look, query: Query, row: str, column: str) -> table.Panel:
    """Give a table with a row and a column for each value of two labels."""
    grouped = transform("groupingToMatrix", rowField=row, columnField=column, valueField="Value", emptyValue="null")
    newest_first = transform("sortBy", fields={}, sort=[{"field": f"{row}\\{column}", "desc": True}])
    return dress(table.Panel().show_header(True).transformations([grouped, newest_first]), look, [as_table(query)])


def transform(kind: str, **options: object) -> models.DataTransformerConfig:
    """Give one transformation of a panel's data."""
    return models.DataTransformerConfig(id_val=kind, options=options)

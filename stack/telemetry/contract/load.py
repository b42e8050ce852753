"""Read a file of queries: a dashboard, rules, or something that wraps them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from stack.telemetry.contract.documents import Loader, Part, find_parts
from stack.telemetry.contract.grafana_file import read_dashboard
from stack.telemetry.contract.query import Fault, Place, Query, QueryFile
from stack.telemetry.contract.rule_file import read_rules
from stack.telemetry.contract.schema_v2 import build_classic

# Helm, Go templates and Jinja. In a file that can be read they stand in texts, and belong there.
_TEMPLATE = re.compile(r"\{\{-?\s*[.$\w(]|\{%")


def load_query_file(path: Path, known_datasources: Sequence[str] = ()) -> QueryFile:
    """Read every dashboard (JSON) and rule (YAML) in a file; what cannot be read is a fault of the file.

    Args:
        path: The file.
        known_datasources: Uids that are provisioned together with it, and so are not hard-coded.
    """
    name = str(path)
    try:
        # Windows tools put a byte order mark before JSON.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        return _tell(name, "unreadable", f"it cannot be read: {err}")
    try:
        is_json = path.suffix.lower() == ".json"
        documents: list[Any] = [json.loads(text)] if is_json else list(yaml.load_all(text, Loader=Loader))
    except (json.JSONDecodeError, yaml.YAMLError) as err:
        if _TEMPLATE.search(text):
            return _tell(name, "unreadable", "it is a template (`{{ … }}`)", "check what it renders: `helm template …`")
        return _tell(name, "unreadable", f"it is neither JSON nor YAML: {' '.join(str(err).split())}")
    try:
        return _join(name, [_read_part(name, part, known_datasources) for part in find_parts(documents)])
    except (TypeError, AttributeError, ValueError, LookupError) as err:
        return _tell(name, "unreadable", f"it is not built as a dashboard or a rule file is: {err}")


def _read_part(name: str, part: Part, known_datasources: Sequence[str]) -> QueryFile:
    if part.kind == "rules":
        return read_rules(name, part.document)
    if part.kind == "broken":
        return _tell(name, "unreadable", part.problem)
    if part.kind == "perses":
        return _tell(name, "not-understood", "it is a dashboard of Perses: only Grafana's are read")
    board = build_classic(part.document) if part.kind == "schema-v2" else part.document
    return read_dashboard(name, {**board, "uid": part.uid or board.get("uid")}, known_datasources)


def _join(name: str, files: Sequence[QueryFile]) -> QueryFile:
    if not files:
        return _tell(name, "not-understood", "it holds no dashboard of Grafana's and no rules of Prometheus'")
    return QueryFile(
        name,
        tuple(_tell_apart(query for file in files for query in file.queries)),
        tuple(fault for file in files for fault in file.faults),
        tuple(uid for file in files for uid in file.uids),
        _unite(file.records for file in files),
    )


def _tell_apart(queries: Iterable[Query]) -> Iterator[Query]:
    """Give every query a place of its own: two panels of one row, or two alerts of one group, may share a name."""
    seen: Counter[Place] = Counter()
    for query in queries:
        seen[query.place] += 1
        count = seen[query.place]
        ref = f"{query.place.ref}, {count}" if count > 1 else query.place.ref
        yield replace(query, place=replace(query.place, ref=ref))


def _unite(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*sets)


def _tell(name: str, rule: str, message: str, hint: str | None = None) -> QueryFile:
    return QueryFile(name, faults=(Fault(rule, Place(name, "panel", ""), message, hint),))

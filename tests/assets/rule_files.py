"""The rule files and promtool tests of `prometheus/`, as the tests of this folder look at them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from stack.assets import asset_path

PROMETHEUS = asset_path("prometheus")
INVENTORIES = sorted((Path(__file__).resolve().parents[1] / "fixtures" / "metrics").glob("vllm-*.txt"))


def load_rules(name: str) -> list[dict[str, Any]]:
    document = yaml.safe_load((PROMETHEUS / "rules" / name).read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def load_cases(*names: str) -> list[dict[str, Any]]:
    """Give the cases of promtool test files."""
    texts = [(PROMETHEUS / "tests" / name).read_text(encoding="utf-8") for name in names]
    return [case for text in texts for case in yaml.safe_load(text)["tests"]]


def find_selectors(expr: str) -> list[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []
    promql_parser.walk(
        promql_parser.parse(expr),
        lambda node: found.append(node) if isinstance(node, promql_parser.VectorSelector) else None,
    )
    return found


def find_names(expr: str) -> set[str]:
    """Give the metrics that an expression names; one that it finds by a pattern is not among them."""
    return {selector.name for selector in find_selectors(expr) if selector.name}


def find_scraped(expr: str, recorded: dict[str, list[str]]) -> set[str]:
    """Give the scraped metrics behind an expression, through every rule that it reads."""
    names: set[str] = set()
    for name in find_names(expr):
        behind = recorded.get(name)
        names |= {name} if behind is None else set().union(*(find_scraped(one, recorded) for one in behind))
    return names


def find_promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        how = "promtool is missing: apt-get install prometheus"
        if "docker" in os.environ.get("STACK_REQUIRE", ""):
            pytest.fail(how)
        pytest.skip(how)
    return found

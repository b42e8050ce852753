"""The kept inventories are those of real engines, and what changed between neighbours is known."""

from __future__ import annotations

import json
import re

import pytest

from stack.assets import asset_path
from stack.telemetry.contract.inventory import Inventory, load_inventory, read_version
from stack.telemetry.contract.kept import load_kept_inventories
from stack.telemetry.contract.names import load_names

KEPT = load_kept_inventories()
VERSIONS = sorted(KEPT, key=read_version)
# What came and went from one kept release to the next. A new inventory adds its line here; a name that went belongs
# into names.toml, with what tells the same now.
CHANGES: dict[tuple[str, str], tuple[set[str], set[str]]] = {
    ("0.28.0", "0.29.0"): (set(), set()),
    ("0.29.0", "0.30.0"): ({f"vllm:request_num_preemptions_{part}" for part in ("bucket", "sum", "count")}, set()),
    ("0.30.0", "0.31.0"): (set(), set()),
    ("0.31.0", "0.32.0"): (
        {"vllm:admission_rejections_total", "vllm:prompt_tokens_cached_by_source_total"},
        set(),
    ),
}


def list_names(inventory: Inventory) -> set[str]:
    """Give the names that exist whatever is asked of the engine."""
    return {name for name in inventory.series if load_names().find_condition(name) is None}


@pytest.mark.parametrize(("old", "new"), list(zip(VERSIONS, VERSIONS[1:], strict=False)))
def test_what_came_and_went_between_neighbours_is_known(old: str, new: str) -> None:
    before, after = list_names(KEPT[old]), list_names(KEPT[new])
    came, went = CHANGES[(old, new)]
    assert after - before == came
    assert before - after == went
    gone = load_names().gone
    assert {name for name in went if name not in gone} == set(), "names.toml says what tells the same now"


@pytest.mark.parametrize("version", VERSIONS)
def test_no_kept_engine_exports_a_name_that_is_said_to_be_gone(version: str) -> None:
    since = {
        name: read_version(found.since) if found.since is not None else (0,)
        for name, found in load_names().gone.items()
        if name in KEPT[version].series
    }
    assert [name for name, first in since.items() if first <= read_version(version)] == []


def test_what_is_said_to_be_gone_is_replaced_by_what_the_newest_engine_exports() -> None:
    newest = KEPT[VERSIONS[-1]]
    known = {name.removesuffix(end) for name in newest.series for end in ("", "_total", "_bucket", "_sum", "_count")}
    for name, found in load_names().gone.items():
        for instead in re.findall(r"\b(?:vllm:|http_)\w+", found.instead):
            is_conditional = load_names().find_condition(instead) is not None
            assert instead in known or is_conditional, f"{name}: {instead} does not exist in vLLM {VERSIONS[-1]}"


def test_no_label_value_is_said_of_a_metric_that_nobody_exports() -> None:
    newest = KEPT[VERSIONS[-1]]
    for metric, label in load_names().values:
        assert label in newest.series[metric].labels, f"{metric} has no {label}"


@pytest.mark.parametrize("path", sorted(asset_path("prometheus", "inventories").iterdir()), ids=lambda path: path.stem)
def test_an_inventory_is_called_by_its_version_and_is_sorted(path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    assert path.name == f"vllm-{document['version']}.json" and document["engine"] == "vllm"
    assert list(document["series"]) == sorted(document["series"])
    assert all(item["labels"] == sorted(item["labels"]) for item in document["series"].values())
    assert load_inventory(path).version == document["version"]

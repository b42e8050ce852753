"""Every failure of the catalogue, by logs and texts that were recorded or that upstream's source holds."""

from __future__ import annotations

import string
import tomllib
from pathlib import Path

import pytest

from stack.config.engine_flags import KNOWN_FLAGS
from stack.failures.catalogue import PLACES, is_told, load_catalogue
from stack.failures.explain import explain_lines, explain_text
from stack.operations.explain import read_lines

FOLDER = Path(__file__).parents[2] / "fixtures" / "logs" / "failures"
LOGS = tomllib.loads((FOLDER / "cases.toml").read_text())["log"]
ANSWERS = tomllib.loads((FOLDER / "said.toml").read_text())["answer"]
ENTRIES = load_catalogue()


def explain_file(name):
    with (FOLDER / name).open("rb") as log:
        return explain_lines(read_lines(log), {"engine-flags": KNOWN_FLAGS})


@pytest.mark.parametrize("case", LOGS, ids=[case["file"] for case in LOGS])
def test_a_log_is_explained_by_its_root_cause(case):
    found = explain_file(case["file"])
    assert found is not None
    assert (found.id, found.line_number, found.cause) == (case["id"], case["line"], case["cause"])
    assert found.next.startswith(case["next"])


@pytest.mark.parametrize("case", LOGS, ids=[case["file"] for case in LOGS])
def test_a_log_tells_nothing_beside_its_failure(case):
    beside = {"shm-too-small-nccl.log": ["nccl-error"]}
    assert [item.id for item in explain_file(case["file"]).also] == beside.get(case["file"], [])


@pytest.mark.parametrize("answer", ANSWERS, ids=[answer["said"][:70] for answer in ANSWERS])
def test_what_was_said_is_explained(answer):
    found = explain_text(answer["said"])
    assert found is not None
    assert found.cause == answer["cause"]


def test_every_log_of_the_folder_is_a_case_that_says_where_it_is_from():
    assert sorted(case["file"] for case in LOGS) == sorted(path.name for path in FOLDER.glob("*.log"))
    assert all(case["source"] for case in LOGS)


def test_every_failure_has_a_log_or_a_text():
    shown = {case["id"] for case in LOGS} | {explain_text(answer["said"]).id for answer in ANSWERS}
    assert [entry.id for entry in ENTRIES if entry.id not in shown] == []


def test_names_are_unique_and_every_entry_is_whole():
    assert len({entry.id for entry in ENTRIES}) == len(ENTRIES)
    for entry in ENTRIES:
        assert entry.where in PLACES, entry.id
        assert entry.seen and entry.versions and entry.patterns, entry.id
        assert all(pattern.source for pattern in entry.patterns), entry.id
        for text in (*entry.causes, *entry.steps):
            assert text and not text.endswith("."), entry.id


def test_every_pattern_can_fill_a_cause_and_a_next_step():
    for entry in ENTRIES:
        for pattern in entry.patterns:
            groups = {*pattern.regex.groupindex, *(["fits"] if entry.quotient else [])}
            for texts in (entry.causes, entry.steps):
                wanted = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in texts]
                assert any(names <= groups for names in wanted), (entry.id, pattern.regex.pattern)


@pytest.mark.parametrize(
    "said",
    [
        "",
        'exec: "nosuchprogram": executable file not found in $PATH: unknown',
        "validating /x/compose.yaml: services.engine additional properties 'nosuchkey' not allowed",
        "dial tcp 10.0.0.1:443: connect: connection refused",
        "open /home/ana/x: permission denied",
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
        "AssertionError",
    ],
)
def test_what_is_not_known_is_not_guessed(said):
    assert explain_text(said) is None


@pytest.mark.parametrize("name", ["vllm-0.32.0-cpu-eager.log"])
def test_a_boot_that_went_well_tells_no_failure(name):
    with (FOLDER.parent / name).open("rb") as log:
        assert explain_lines(read_lines(log)) is None


def test_a_taken_port_is_told_whatever_else_is_said():
    said = "driver failed programming external connectivity on endpoint x: Bind for 127.0.0.1:8001 failed: port is "
    assert is_told("port-taken", f"Creating network\n{said}already allocated")
    assert not is_told("port-taken", said)

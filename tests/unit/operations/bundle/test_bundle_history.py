"""The history that a bundle carries names no paths and repeats no prompts."""

import datetime
import json
from dataclasses import replace

import pytest

from stack.bundles.problem import BundleError
from stack.history.records import BootStart
from stack.history.store import open_history
from stack.operations.bundle.history import build_history_text, import_history, parse_history

NOW = datetime.datetime(2026, 11, 22, tzinfo=datetime.UTC)


def test_boots_and_their_checks_are_told_without_paths_args_and_messages(tmp_path):
    history = open_history(tmp_path / "history.sqlite")
    start = BootStart(
        kind="k", started_at=NOW, commit=None, commit_level="unknown", version="9", image_digest=None,
        image_id="sha256:e", model="/home/ann/models/tiny", revision="r", device="cpu",
        args={"chat-template": "/templates/secret"}, log_path="/home/ann/boot.log",
    )  # fmt: skip
    boot = history.record_boot(start)
    history.finish_boot(boot, "ready", total_seconds=3.0)
    report = {"checks": [{"check": "canaries", "status": "pass", "message": "asked: who is Ann?"}]}
    history.record_smoke(boot, started_at=NOW, passed=True, report=report)
    text = build_history_text(tmp_path / "history.sqlite")
    (told,) = json.loads(text)["boots"]
    assert (told["model"], told["outcome"], told["total_seconds"]) == ("tiny", "ready", 3.0)
    assert told["smoke"]["checks"] == {"canaries": "pass"}
    for gone in ("/home", "ann", "secret", "Ann"):
        assert gone not in text


def test_no_history_is_an_empty_one(tmp_path):
    assert parse_history(build_history_text(tmp_path / "none").encode()) == {"schema_version": 1, "boots": []}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"schema_version": 2, "boots": []}',
                                  b'{"schema_version": 1, "boots": [1]}', b"[" * 10_000])  # fmt: skip
def test_what_is_no_history_is_refused(body):
    with pytest.raises(BundleError):
        parse_history(body)


BOOT = {
    "started_at": "2026-11-22T00:00:00+00:00", "commit": None, "commit_level": "unknown", "version": "9",
    "image_digest": None, "image_id": "sha256:e", "model": "tiny", "revision": "r", "device": "cpu",
    "cache_state": "cold", "outcome": "ready", "total_seconds": 3, "phases": {"load": 1.5}, "smoke": None,
}  # fmt: skip
SMOKE = {"passed": True, "started_at": "2026-11-22T00:00:00+00:00", "checks": {"canaries": "pass"}}


def render(boot):
    return json.dumps({"schema_version": 1, "boots": [BOOT | boot]}).encode()


@pytest.mark.parametrize(
    "boot",
    [{"smoke": "x"}, {"smoke": SMOKE | {"passed": 1}}, {"smoke": SMOKE | {"checks": {"a": ["b"]}}},
     {"total_seconds": float("nan")}, {"total_seconds": float("inf")}, {"phases": {"load": float("nan")}},
     {"phases": []}, {"phases": {str(number): 1 for number in range(200)}}, {"model": "\ud800"},
     {"model": "\x1b[2J"}, {"model": {}}, {"outcome": "odd"}, {"more": 1}, {"version": 9}],
)  # fmt: skip
def test_anything_odd_in_a_boot_is_refused_before_it_could_be_noted(boot):
    assert parse_history(render({"smoke": SMOKE}))["boots"]
    with pytest.raises(BundleError, match="history cannot be read"):
        parse_history(render(boot))


@pytest.mark.parametrize("boots", [b"{}", b'"ab"', b"null", b"[NaN]", b"[1e999]"])
def test_boots_that_are_no_list_of_boots_are_refused(boots):
    with pytest.raises(BundleError, match="history cannot be read"):
        parse_history(b'{"schema_version": 1, "boots": ' + boots + b"}")


def test_what_this_tool_writes_is_read_again_and_lacks_nothing(tmp_path):
    path = tmp_path / "history.sqlite"
    history = open_history(path)
    start = BootStart(
        kind="k", started_at=NOW, commit=None, commit_level="unknown", version=None, image_digest=None,
        image_id="sha256:e", model="m", revision=None, device="cpu",
    )  # fmt: skip
    boot = history.record_boot(start)
    history.record_smoke(boot, started_at=NOW, passed=False, report={})
    history.record_boot(replace(start, version="odd\n"))
    text = build_history_text(path)
    assert parse_history(text.encode()) == json.loads(text)
    assert [told["smoke"]["passed"] for told in json.loads(text)["boots"]] == [False]


@pytest.mark.parametrize(
    ("smokes", "passed"),
    [([None], True), ([SMOKE], True), ([SMOKE | {"passed": False}], False),
     ([None, SMOKE | {"passed": False}, SMOKE], False), ([SMOKE, SMOKE | {"passed": False}], True)],
)  # fmt: skip
def test_the_newest_smoke_judges_an_imported_run_and_none_is_no_failure(smokes, passed, tmp_path):
    path = tmp_path / "history.sqlite"
    document = {"schema_version": 1, "boots": [BOOT | {"smoke": smoke} for smoke in smokes]}
    document = parse_history(json.dumps(document).encode())
    assert import_history(path, document, "a" * 64, "now")
    assert not import_history(path, document, "a" * 64, "now")
    (run,) = open_history(path).list_runs("bundle", 10)
    assert run.passed is passed and len(run.report["boots"]) == len(smokes)

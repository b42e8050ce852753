"""The history that a bundle carries names no paths and repeats no prompts."""

import datetime
import json

import pytest

from stack.bundles.problem import BundleError
from stack.history.records import BootStart
from stack.history.store import open_history
from stack.operations.bundle_history import build_history_text, parse_history

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

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.errors import StackError
from stack.telemetry.exposition import parse_exposition
from stack.telemetry.run_metrics import (
    BOOTS_KEPT,
    FAILED,
    PASSED,
    SKIPPED,
    BootRun,
    ImageExpiry,
    RunIdentity,
    SmokeRun,
    render_run_metrics,
    write_run_metrics,
)

IDENTITY = RunIdentity(
    commit="a" * 40,
    commit_level="claimed",
    version="0.32.0",
    model="smollm2",
    revision="demo",
    image_digest="sha256:" + "b" * 64,
    device="cpu",
)


def boot(day: int, **values) -> BootRun:
    return BootRun(started_at_seconds=1.7e9 + day * 86400, total_seconds=40.0 + day, **values)


def test_nothing_known_gives_an_empty_page_that_parses():
    assert parse_exposition(render_run_metrics()).samples == ()


def test_the_identity_is_one_series_with_its_labels():
    metrics = parse_exposition(render_run_metrics(IDENTITY))
    (sample,) = metrics.select("stack_info")
    assert sample.value == 1
    assert dict(sample.labels) == vars(IDENTITY)


def test_a_boot_gives_its_phases_its_length_and_its_time():
    text = render_run_metrics(boots=[boot(0, phases={"load": 30.5, "first-token": 1.0}, is_cache_warm=False)])
    metrics = parse_exposition(text)
    name = "2023-11-14T22:13:20Z"
    assert metrics.total("stack_boot_phase_seconds", phase="load", boot=name) == 30.5
    assert metrics.total("stack_boot_phase_seconds", phase="first-token", boot=name) == 1
    assert metrics.total("stack_boot_seconds", boot=name) == 40
    assert metrics.total("stack_boot_timestamp_seconds", boot=name) == 1.7e9
    assert metrics.total("stack_boot_cache_warm", boot=name) == 0


def test_a_boot_that_did_not_tell_of_its_cache_has_no_such_series():
    metrics = parse_exposition(render_run_metrics(boots=[boot(0), boot(1, is_cache_warm=True)]))
    assert [sample.value for sample in metrics.select("stack_boot_cache_warm")] == [1]


def test_the_newest_boot_is_kept_though_the_clock_was_set_back_before_it():
    boots = [boot(0), *(boot(day) for day in range(20, 20 - BOOTS_KEPT, -1))]
    metrics = parse_exposition(render_run_metrics(boots=boots))
    kept = {sample.labels["boot"] for sample in metrics.select("stack_boot_seconds")}
    assert kept == {one.name for one in boots[:BOOTS_KEPT]}


def test_only_the_latest_boots_are_kept():
    boots = [boot(day) for day in range(BOOTS_KEPT + 4)]
    metrics = parse_exposition(render_run_metrics(boots=boots[::-1]))
    kept = sorted(sample.labels["boot"] for sample in metrics.select("stack_boot_seconds"))
    assert kept == [one.name for one in boots[-BOOTS_KEPT:]]


def test_boot_names_sort_as_the_boots_happened():
    names = [boot(day).name for day in range(400)]
    assert names == sorted(names)


def test_a_smoke_run_gives_every_check_and_its_verdict():
    smoke = SmokeRun(1.7e9, 6.5, {"services": PASSED, "answers": FAILED, "grafana": SKIPPED})
    metrics = parse_exposition(render_run_metrics(smoke=smoke))
    assert metrics.total("stack_smoke_check_status", check="services") == 1
    assert metrics.total("stack_smoke_check_status", check="answers") == 0
    assert metrics.total("stack_smoke_check_status", check="grafana") == -1
    assert metrics.total("stack_smoke_success") == 0
    assert metrics.total("stack_smoke_timestamp_seconds") == 1.7e9
    assert metrics.total("stack_smoke_seconds") == 6.5
    assert metrics.select("stack_smoke_drift_nats") == ()


def test_a_smoke_run_tells_how_far_each_text_lies_from_the_baseline():
    smoke = SmokeRun(1.7e9, 6.5, {"baseline": FAILED}, {"default-1": -0.31, "again": 0.01})
    metrics = parse_exposition(render_run_metrics(smoke=smoke))
    drift = {sample.labels["text"]: sample.value for sample in metrics.select("stack_smoke_drift_nats")}
    assert drift == {"default-1": -0.31, "again": 0.01}


def test_an_image_that_expires_says_when():
    metrics = parse_exposition(render_run_metrics(expiry=ImageExpiry("docker.io/vllm/vllm-openai:nightly", 1.7e9)))
    (sample,) = metrics.select("stack_image_expiry_timestamp_seconds")
    assert (sample.labels["reference"], sample.value) == ("docker.io/vllm/vllm-openai:nightly", 1.7e9)


def test_a_skipped_check_does_not_fail_the_run():
    assert SmokeRun(1, 1, {"services": PASSED, "grafana": SKIPPED}).is_success


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_name_of_a_model_or_phase_survives_the_text_format(model, phase):
    identity = RunIdentity("", "unknown", "", model, "", "", "cpu")
    metrics = parse_exposition(render_run_metrics(identity, [boot(0, phases={phase: 1.0})]))
    (info,) = metrics.select("stack_info")
    (seconds,) = metrics.select("stack_boot_phase_seconds")
    assert (info.labels["model"], seconds.labels["phase"]) == (model, phase)


def test_the_file_is_readable_for_node_exporter_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        path = write_run_metrics(tmp_path / "metrics", "a 1\n")
    finally:
        os.umask(before)
    assert path.read_text() == "a 1\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755


def test_a_second_writing_replaces_the_first_and_leaves_nothing_else(tmp_path):
    write_run_metrics(tmp_path, "a 1\n")
    path = write_run_metrics(tmp_path, "a 2\n")
    assert path.read_text() == "a 2\n"
    assert [item.name for item in tmp_path.iterdir()] == ["stack.prom"]


def test_a_writing_that_fails_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = write_run_metrics(tmp_path, "a 1\n")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StackError, match="No space left on device") as caught:
        write_run_metrics(tmp_path, "a 2\n")
    assert caught.value.hint
    assert path.read_text() == "a 1\n"
    assert [item.name for item in tmp_path.iterdir()] == ["stack.prom"]


def test_a_boot_tells_what_it_ran():
    metrics = parse_exposition(render_run_metrics(boots=[boot(0, commit="c", version="0.32.0", model="m")]))
    (sample,) = metrics.select("stack_boot_info")
    labels = {"boot": "2023-11-14T22:13:20Z", "commit": "c", "version": "0.32.0", "model": "m"}
    assert (dict(sample.labels), sample.value) == (labels, 1)

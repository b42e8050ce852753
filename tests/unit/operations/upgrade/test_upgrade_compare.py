"""What speaks against a new engine and what does not, from what two engines measured."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stack.history.records import BootRecord, BootStart
from stack.operations.upgrade.compare import Measured, compare_engines, describe_pace, find_failed, judge
from stack.operations.upgrade.metrics import Metric, Query
from stack.operations.upgrade.speed import Speed
from stack.traffic.engine_answers import Answer, ScoredToken
from stack.traffic.record import Record, RecordedResponse

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
START = BootStart(
    kind="k", started_at=NOON, commit="a" * 40, commit_level="claimed", version="0.31.0", image_digest=None,
    image_id="sha256:1", model="demo", revision="r1", device="cpu",
)  # fmt: skip
BOOT = BootRecord(7, START, "warm", 31.2, "ready", {"load": 12.0, "server": 3.0})
# A smoke report of the demo model, cut to what is read of it.
LIKELIHOODS = {"nll_default-1": 3.4561, "nll_default-2": 3.4821, "nll_default-3": 3.5017, "again": 0.31}
METRICS = {"vllm:a": Metric("gauge", ("model_name",)), "vllm:b": Metric("counter", ("model_name",))}
QUERIES = [Query("dashboard overview: A", "vllm:a")]
RECORDS = [
    Record(name, "POST", "/v1/completions", {"prompt": "SECRET", "temperature": 0}) for name in ("first", "second")
]


def smoke(*failed):
    checks = [{"check": "likelihood", "status": "pass", "data": LIKELIHOODS}, {"check": "canaries", "status": "pass"}]
    return {"checks": [*checks, *({"check": name, "status": "fail"} for name in failed)]}


def answer(*tokens, status=200):
    scored = tuple(ScoredToken(token, own, top) for token, own, top in tokens)
    text = "".join(token for token, _, _ in tokens)
    body = {"choices": [{"logprobs": {"tokens": ["token_id:1"]}}]}
    return RecordedResponse(status, body, answers=(Answer(text, "stop", tokens=scored),) if status == 200 else ())


# "The" against "L" as the demo model has them, eager: a near tie.
THE = answer(("The", -1.81, {"The": -1.81, "L": -1.93}), (" capital", -0.1, {" capital": -0.1}))
ELLE = answer(("L", -1.91, {"L": -1.91, "The": -1.91}), ("'", -0.1, {"'": -0.1}))
PARIS = answer((" Paris", -0.2, {" Paris": -0.2, " Rome": -4.1}))
ROME = answer((" Rome", -0.2, {" Rome": -0.2, " Paris": -4.1}))

OLD = Measured(BOOT, smoke(), (THE, PARIS), METRICS, Speed((100.0, 101.0, 102.0, 103.0, 104.0)))


def compare(**changes):
    return compare_engines(OLD, replace(OLD, **changes), RECORDS, QUERIES)


def test_an_engine_that_does_the_same_may_stay():
    found = compare()
    assert judge(found) == []
    assert found.answers.counts["equal"] == 2 and found.metrics == () and found.failed == ()
    assert [(item.text, item.is_fine) for item in found.likelihoods] == [
        ("default-1", True), ("default-2", True), ("default-3", True)
    ]  # fmt: skip


def test_near_ties_new_metrics_and_another_speed_speak_against_nothing():
    found = compare(
        answers=(ELLE, PARIS),
        metrics={**METRICS, "vllm:c": Metric("gauge")},
        speed=Speed((50.0,) * 5),
        boot=replace(BOOT, phases={"load": 60.0, "server": 3.0}),
    )
    assert judge(found) == []
    assert found.answers.counts["near tie"] == 1 and found.speed.verdict == "slower"
    assert [(item.phase, item.seconds, item.previous_seconds) for item in found.phases] == [
        ("load", 60.0, 12.0), ("server", 3.0, 3.0)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"smoke": smoke("canaries", "greedy")}, "smoke fails on it (canaries, greedy)"),
        ({"answers": (THE, ROME)}, "1 of 2 records are answered otherwise"),
        ({"answers": (THE, answer(status=500))}, "1 of 2 records are answered otherwise"),
        (
            {"answers": (THE, RecordedResponse(None, error="no-answer", error_message="nothing listens"))},
            "1 of 2 records are not answered",
        ),
        ({"metrics": {"vllm:b": METRICS["vllm:b"]}}, "`vllm:a` is gone, and dashboard overview: A needs it"),
        (
            {"metrics": {**METRICS, "vllm:a": Metric("counter", ("model_name",))}},
            "`vllm:a` changed (gauge, now counter), and dashboard overview: A needs it",
        ),
    ],
)
def test_each_of_these_alone_speaks_against_it(changes, said):
    assert judge(compare(**changes)) == [said]


@pytest.mark.parametrize(("shift", "is_fine"), [(0.039, True), (-0.039, True), (0.041, False), (-0.06, False)])
def test_a_text_may_score_as_far_off_as_another_kernel_takes_it(shift, is_fine):
    report = {"checks": [{"check": "likelihood", "data": LIKELIHOODS | {"nll_default-2": 3.4821 + shift}}]}
    against = judge(compare(smoke=report))
    assert (against == []) is is_fine
    if not is_fine:
        assert against == [f"1 of 3 texts score otherwise (default-2 {shift:+.3f} nats a token, 0.04 are allowed)"]


def test_a_score_that_is_no_number_is_not_fine():
    report = {"checks": [{"check": "likelihood", "data": LIKELIHOODS | {"nll_default-2": float("nan")}}]}
    assert len(judge(compare(smoke=report))) == 1


def test_a_metric_that_nobody_asks_for_may_go():
    found = compare(metrics={"vllm:a": METRICS["vllm:a"]})
    assert judge(found) == [] and [(item.name, item.change) for item in found.metrics] == [("vllm:b", "gone")]


def test_a_metric_that_came_after_the_new_engine_is_known_not_to_be_there_yet():
    new = replace(OLD, metrics={"vllm:b": METRICS["vllm:b"]})
    assert len(judge(compare_engines(OLD, new, RECORDS, QUERIES))) == 1
    assert judge(compare_engines(OLD, new, RECORDS, QUERIES, {"vllm:a": "0.32.0"})) == []


def test_a_metric_that_somebody_asks_for_may_appear():
    old = replace(OLD, metrics={"vllm:b": METRICS["vllm:b"]})
    found = compare_engines(old, OLD, RECORDS, QUERIES)
    assert [item.users for item in found.metrics] == [("dashboard overview: A",)] and judge(found) == []


def test_of_many_who_need_a_metric_the_first_few_are_named():
    queries = [Query(f"rule {number}", "vllm:a") for number in range(5)]
    (said,) = judge(compare_engines(OLD, replace(OLD, metrics={"vllm:b": METRICS["vllm:b"]}), RECORDS, queries))
    assert said == "`vllm:a` is gone, and rule 0, rule 1, rule 2 and 2 more need it"


def test_a_check_that_failed_before_is_no_fault_of_the_new_engine():
    old = replace(OLD, smoke=smoke("grafana"))
    found = compare_engines(old, replace(OLD, smoke=smoke("grafana", "greedy")), RECORDS, QUERIES)
    assert (found.failed, found.failed_before) == (("greedy",), ("grafana",))
    assert judge(found) == ["smoke fails on it (greedy)"]


def test_of_an_engine_that_only_smoke_saw_nothing_else_is_said():
    found = compare_engines(OLD, Measured(BOOT, smoke("canaries")), RECORDS, QUERIES)
    assert (found.answers, found.metrics, found.speed.verdict) == (None, (), "no verdict")
    assert judge(found) == ["smoke fails on it (canaries)"]
    assert find_failed({}) == []


def boot(number, seconds, **changes):
    start = replace(START, started_at=NOON + timedelta(hours=number), **changes)
    return BootRecord(number, start, "warm", seconds, "ready" if seconds is not None else None, {})


def test_how_long_the_service_is_away_is_told_by_boots_of_the_model():
    others = [boot(6, 28.4, image_id="sha256:2"), boot(5, 300.0, model="other"), boot(4, None), boot(3, 35.6)]
    most, said = describe_pace([BOOT, *others], BOOT)
    assert most == 35.6
    assert said.startswith("for about 28 to 36 s, as long as the last 3 boots of this model took;")
    most, said = describe_pace([], BOOT)
    assert most == 31.2 and said.startswith("for about 31 s, as long as its last boot took;")


def test_what_is_not_known_of_the_time_is_said_as_that():
    assert describe_pace([boot(2, 10.0, revision="r2")], boot(3, None)) == (
        None, "for how long is not known: no boot of this model is in the history"
    )  # fmt: skip

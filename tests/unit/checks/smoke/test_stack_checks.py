"""The checks of what stands around the engine: identity, services, Prometheus, Grafana."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from stack.checks.smoke import check_grafana, check_identity, check_prometheus
from stack.checks.smoke.check import SmokeContext
from stack.checks.smoke.target import IdentityFacts, ModelFacts, RuleState, SmokeTarget, TargetState

COMMIT = "dee37d891" + "0" * 31
DIGEST = "sha256:" + "1" * 64


def context(version="0.32.0", **changes):
    engine = SimpleNamespace(fetch_version=lambda: version)
    target = SmokeTarget(engine=engine, served_name="demo", model=ModelFacts("demo", "r"))
    seconds = iter(range(1000))
    return SmokeContext(replace(target, **changes), clock=lambda: float(next(seconds)), sleep=lambda _: None)


def identity(**changes):
    known = IdentityFacts(
        expected_commit=COMMIT,
        found_commit=COMMIT,
        found_level="verified",
        expected_digest=DIGEST,
        found_digest=DIGEST,
        expected_version="0.32.0",
    )
    return replace(known, **changes)


def test_the_engine_of_the_lock_passes():
    outcome = check_identity.run(context(identity=identity()))

    assert outcome.status == "pass"
    assert outcome.message == f"commit {COMMIT[:12]} (verified), version 0.32.0"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"found_commit": "f" * 40}, "commit is"),
        ({"found_commit": None}, "commit is unknown"),
        ({"found_level": "claimed"}, "only claimed, verified is asked for"),
        ({"found_digest": "sha256:" + "2" * 64}, "image digest is"),
        ({"expected_image_id": "sha256:a", "found_image_id": "sha256:b"}, "image ID is"),
        ({"expected_version": "0.31.0"}, "version 0.32.0, expected 0.31.0"),
    ],
)
def test_whatever_differs_from_the_lock_fails(changes, words):
    outcome = check_identity.run(context(identity=identity(**changes)))

    assert outcome.status == "fail"
    assert words in outcome.message


def test_a_claimed_commit_passes_where_that_is_accepted():
    accepted = identity(found_level="claimed", accepted_level="claimed")

    assert check_identity.run(context(identity=accepted)).status == "pass"


def test_a_version_that_names_another_commit_fails():
    named = identity(expected_version=None)

    assert check_identity.run(context("0.29.1rc1.dev347+gdee37d891.cu129", identity=named)).status == "pass"
    assert check_identity.run(context("0.29.1rc1.dev347+gabcdef012", identity=named)).status == "fail"


def test_a_build_suffix_is_the_same_version():
    assert check_identity.run(context("0.32.0+cpu", identity=identity())).status == "pass"


class FakePrometheus:
    def __init__(self, *looks, series=1):
        self.looks, self.series = list(looks), series

    def targets(self):
        return self.looks[0][0]

    def rules(self):
        return (self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])[1]

    def query(self, expression):
        assert expression == 'vllm:generation_tokens_total{model_name="demo"}'
        return [({}, 1.0)] * self.series


UP, DOWN = TargetState("vllm", "http://x", "up"), TargetState("vllm", "http://x", "down", "refused")
NEW = TargetState("vllm", "http://x", "unknown")
GOOD, BAD = RuleState("rates", "level:x", "ok"), RuleState("rates", "level:x", "err", "parse error")


def judge(prometheus):
    return check_prometheus.run(context(prometheus=prometheus))


def test_targets_up_and_rules_healthy_pass():
    assert judge(FakePrometheus(([UP], [GOOD]))).status == "pass"


def test_what_has_just_started_is_waited_for():
    prometheus = FakePrometheus(([NEW], []), ([DOWN], [GOOD]), ([UP], [GOOD]))

    assert judge(prometheus).status == "pass"


@pytest.mark.parametrize(
    ("look", "series", "words"),
    [
        (([DOWN], [GOOD]), 1, "target `vllm` is down (refused)"),
        (([UP], [BAD]), 1, "rule `rates/level:x` fails (parse error)"),
        (([], []), 1, "scrapes nothing"),
        (([UP], [GOOD]), 0, "has not arrived"),
    ],
)
def test_what_stays_broken_fails(look, series, words):
    outcome = judge(FakePrometheus(look, series=series))

    assert outcome.status == "fail"
    assert words in outcome.message


def test_a_rule_that_was_never_evaluated_is_a_warning():
    outcome = judge(FakePrometheus(([UP], [RuleState("rates", "level:x", "unknown")])))

    assert outcome.status == "warn"


def test_without_prometheus_or_grafana_the_reason_is_told():
    assert check_prometheus.run(context(prometheus_skip="switched off")).message == "switched off"
    outcome = check_grafana.run(context(grafana_skip="its image cannot be had here"))
    assert (outcome.status, outcome.message) == ("skip", "its image cannot be had here")


def grafana(health="ok", source=("OK", ""), dashboards=("overview",)):
    return SimpleNamespace(health=lambda: health, datasource_health=lambda: source, dashboards=lambda: dashboards)


def test_a_good_grafana_passes():
    outcome = check_grafana.run(context(grafana=grafana(), dashboard_uids=("overview",)))

    assert outcome.status == "pass"


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (grafana(health="failing"), "database is `failing`"),
        (grafana(source=("ERROR", "connection refused")), "connection refused"),
        (grafana(dashboards=()), "missing: overview"),
    ],
)
def test_a_broken_grafana_fails(broken, words):
    outcome = check_grafana.run(context(grafana=broken, dashboard_uids=("overview",)))

    assert outcome.status == "fail"
    assert words in outcome.message

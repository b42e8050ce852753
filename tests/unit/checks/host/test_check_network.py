"""Hub and registries, the wanted model, proxies, certificates, the clock."""

from __future__ import annotations

import json

import pytest

from stack.checks.host import check_certificates, check_clock, check_model_access, check_network, check_proxy
from stack.checks.host.target import EndpointNeed, ImageNeed, ModelNeed, StateNeed
from stack.checks.host.world import EndpointAnswer, ModelAnswer

HUB = EndpointNeed("the model hub", "hub", "https://hub.example", is_needed=True)
REGISTRY = EndpointNeed("docker.io", "registry", "docker.io")
NOW = 1_800_000_000.0


def answering(seconds=0.2, date=None):
    return {"ask_endpoint": lambda need: EndpointAnswer(True, "it answers", seconds, date)}


def silent(*names):
    return {"ask_endpoint": lambda need: EndpointAnswer(need.name not in names, "no route", 0.1)}


def test_nothing_is_asked_where_nothing_has_to_be(make_context):
    assert check_network.run(make_context()).status == "skip"


def test_answers_are_given_with_their_times(make_context):
    outcome = check_network.run(make_context(endpoints=(HUB, REGISTRY), world=answering()))
    assert outcome.status == "pass"
    assert outcome.message == "the model hub answers in 0.20 s, docker.io answers in 0.20 s"


def test_a_slow_answer_warns(make_context):
    assert check_network.run(make_context(endpoints=(REGISTRY,), world=answering(1.4))).status == "warn"


def test_what_up_cannot_do_without_fails_and_the_rest_warns(make_context):
    both = (HUB, REGISTRY)
    assert check_network.run(make_context(endpoints=both, world=silent("the model hub"))).status == "fail"
    outcome = check_network.run(make_context(endpoints=both, world=silent("docker.io")))
    assert (outcome.status, "docker.io does not answer (no route)" in outcome.message) == ("warn", True)


WANTED = ModelNeed("acme/gated", "hub")


def test_a_model_that_is_here_needs_no_hub(make_context):
    assert check_model_access.run(make_context(model=ModelNeed("acme/x", "hub", is_here=True))).status == "pass"


def test_a_model_of_another_kind_is_not_asked_for(make_context):
    assert check_model_access.run(make_context(model=ModelNeed("demo", "demo"))).status == "skip"
    assert check_model_access.run(make_context()).status == "skip"


def test_a_gated_model_fails_with_the_hubs_reason(make_context):
    world = {"ask_model": lambda: ModelAnswer("acme/gated is gated, and no token was sent", "set HF_TOKEN")}
    outcome = check_model_access.run(make_context(model=WANTED, world=world))
    assert (outcome.status, outcome.hint) == ("fail", "set HF_TOKEN")


def test_a_model_that_the_hub_gives_passes_with_its_size(make_context):
    world = {"ask_model": lambda: ModelAnswer(size_bytes=3 * 1024**3)}
    outcome = check_model_access.run(make_context(model=WANTED, world=world))
    assert (outcome.status, outcome.message) == ("pass", "the hub gives acme/gated, 3.0 GiB to fetch")


def test_a_hub_that_does_not_answer_is_not_the_models_fault(make_context):
    assert check_model_access.run(make_context(model=WANTED)).status == "skip"


PROXY = {"HTTPS_PROXY": "http://me:secret@proxy.example:3128"}
PULLED = ImageNeed("engine", "pull", "vllm", registry="docker.io")


def judge_proxy(make_context, environ=None, info=None, **target):
    return check_proxy.run(make_context(info=info, world={"environ": environ or {}}, **target))


def test_no_proxy_passes(make_context):
    assert judge_proxy(make_context).message == "no proxy is set"


def test_a_proxy_without_exceptions_for_this_machine_warns_and_shows_no_password(make_context):
    outcome = judge_proxy(make_context, PROXY | {"NO_PROXY": ".corp"})
    assert outcome.status == "warn"
    assert outcome.hint == "export NO_PROXY=.corp,localhost,127.0.0.1"
    assert "secret" not in str(outcome)
    assert outcome.data["environment"] == {"HTTPS_PROXY": "http://***@proxy.example:3128"}


@pytest.mark.parametrize("exceptions", ["*", "localhost,127.0.0.1", "localhost, 127.0.0.0/8"])
def test_exceptions_are_understood_in_their_forms(make_context, exceptions):
    assert judge_proxy(make_context, PROXY | {"no_proxy": exceptions}).status == "pass"


def test_a_daemon_without_the_proxy_that_this_shell_has_cannot_pull(make_context):
    environ = PROXY | {"NO_PROXY": "localhost,127.0.0.1"}
    outcome = judge_proxy(make_context, environ, images=(PULLED,))
    assert "the Docker daemon, which pulls the images, has none" in outcome.message
    assert judge_proxy(make_context, environ, {"HttpsProxy": "http://proxy:3128"}, images=(PULLED,)).status == "pass"


def test_a_registry_of_this_machine_must_not_go_through_the_daemons_proxy(make_context):
    local = ImageNeed("engine", "pull", "vllm", registry="127.0.0.1:5000")
    info = {"HttpProxy": "http://proxy:3128"}
    assert judge_proxy(make_context, info=info, images=(local,)).status == "warn"
    assert judge_proxy(make_context, info=info | {"NoProxy": "127.0.0.1"}, images=(local,)).status == "pass"


def test_proxies_that_docker_puts_into_containers_are_found(make_context, tmp_path):
    config = tmp_path / "home/.docker/config.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"proxies": {"default": {"httpProxy": "http://proxy:3128"}}}))
    outcome = judge_proxy(make_context)
    assert (outcome.status, "gives every container a proxy" in outcome.message) == ("warn", True)
    config.write_text("damaged")
    assert judge_proxy(make_context).status == "pass"


def judge_certificates(make_context, **environ):
    return check_certificates.run(make_context(world={"environ": environ}))


def test_the_systems_certificates_need_nothing(make_context):
    assert judge_certificates(make_context).status == "pass"


def test_a_bundle_that_is_missing_or_none_warns(make_context, tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root/ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "root/notes.txt").write_text("hello")
    assert judge_certificates(make_context, SSL_CERT_FILE="/ca.pem").status == "pass"
    outcome = judge_certificates(make_context, SSL_CERT_FILE="/gone.pem", REQUESTS_CA_BUNDLE="/notes.txt")
    assert outcome.status == "warn"
    assert outcome.message == (
        "SSL_CERT_FILE names /gone.pem, which does not exist; "
        "REQUESTS_CA_BUNDLE names /notes.txt, which holds no certificate in PEM form"
    )
    assert judge_certificates(make_context, SSL_CERT_DIR="/ca.pem").status == "warn"


@pytest.mark.parametrize(("skew", "status"), [(0, "pass"), (59, "pass"), (61, "warn"), (-3600, "warn")])
def test_the_clock_is_held_against_what_answers(make_context, skew, status):
    context = make_context(endpoints=(HUB,), world=answering(date=NOW - skew))
    assert check_clock.run(context).status == status


def test_the_direction_of_a_skew_is_said(make_context):
    context = make_context(endpoints=(HUB,), world=answering(date=NOW - 7200))
    assert check_clock.run(context).message == "this machine's clock is 2 hours ahead of the model hub"


def test_the_daemons_clock_counts_with_its_nanoseconds(make_context):
    info = {"SystemTime": "2027-01-15T07:00:00.123456789Z"}
    outcome = check_clock.run(make_context(info=info))
    assert (outcome.status, outcome.data["skew_seconds"]) == ("warn", {"the Docker daemon": 3599.9})


def test_a_clock_before_the_tool_was_installed_is_wrong(make_context):
    outcome = check_clock.run(make_context(world={"now": lambda: 1_600_000_000.0}))
    assert (outcome.status, "before this tool was installed" in outcome.message) == ("warn", True)


def test_a_clock_before_the_last_run_was_set_back(make_context, tmp_path):
    facts = tmp_path / "state.json"
    facts.write_text("{}")
    state = StateNeed(tmp_path, tmp_path / "lock", facts, tmp_path / "volume", tmp_path / "cache")
    outcome = check_clock.run(make_context(state=state, world={"now": lambda: 1_750_000_000.0}))
    assert "before state.json was written" in outcome.message


def test_with_nothing_to_compare_it_with_the_clock_passes(make_context):
    assert check_clock.run(make_context()).message == "nothing to compare it with answers"

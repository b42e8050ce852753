"""What `up` would do, and why, from what runs and what should."""

from __future__ import annotations

import errno
import json
from types import SimpleNamespace

import pytest

from stack.errors import HostError
from stack.operations.images.needs import ImageNeed
from stack.operations.project import ProjectFacts, container_stamp
from stack.operations.up import missing as plan_up
from stack.operations.up.missing import build_plan, describe_change
from stack.operations.up.plan import render_plan

DIGEST = "docker.io/acme/{}@sha256:" + "d" * 64
BASE = SimpleNamespace(tag="localhost/stack/base:bookworm-01")


class FakeCompose:
    """Gives the same hash for every service whose definition is wanted."""

    def __init__(self, names):
        self._names = names

    def read_hashes(self):
        return dict.fromkeys(self._names, "c0ffee")


@pytest.fixture
def plan(make_session, make_snapshot, monkeypatch):
    """A function: what runs, what is needed and what is known give the plan's text."""

    def call(running=(), *, device="cpu", tried=None, needs=None, snapshot="here", ready=True, override=None):
        session = make_session()
        needs = needs or {"engine": "none", "prometheus": "none"}
        states = {state.name: state for state in running}
        resolved = SimpleNamespace(
            needs={
                name: ImageNeed(
                    name, action, DIGEST.format(name), "its digest is not known yet", "registry",
                    recipe=SimpleNamespace(base=BASE) if action == "build" else None,
                    image_id="sha256:abc" if action == "none" else None,
                )
                for name, action in needs.items()
            },
            snapshot=make_snapshot() if snapshot == "here" else None,
            reference=SimpleNamespace(id="acme/tiny"),
            device=SimpleNamespace(device=device),
            running=states,
            facts=ProjectFacts(
                ready_container=container_stamp(states["engine"]) if ready and "engine" in states else None,
                gpu_test=tried,
            ),
        )  # fmt: skip
        services = {name: {"image": "x"} for name in needs}
        layout = SimpleNamespace(services=services)
        monkeypatch.setattr(plan_up, "decide_layout", lambda *arguments: (layout, []))
        monkeypatch.setattr(plan_up, "render_override", lambda layout: {"services": services})
        monkeypatch.setattr(plan_up, "build_project", lambda session, layout, path: FakeCompose(services))
        if override is not None:
            session.paths.rendered.mkdir(parents=True)
            session.paths.override.write_text(json.dumps(override))
        return render_plan(build_plan(session, resolved))

    return call


def test_where_everything_runs_as_it_should_nothing_is_to_do(plan, make_state):
    assert plan([make_state(), make_state("prometheus")]) == (
        "nothing to do: everything is as the configuration wants it"
    )


def test_a_fresh_machine_gets_everything(plan):
    assert plan(needs={"engine": "build", "prometheus": "pull"}, snapshot=None) == (
        "#1 image base: make localhost/stack/base:bookworm-01, because images are built from packages\n"
        f"#2 image engine: build {DIGEST.format('engine')} after #1, because its digest is not known yet\n"
        f"#3 image prometheus: pull {DIGEST.format('prometheus')}, because its digest is not known yet\n"
        "#4 model: fetch acme/tiny, because its files are not on the shared volume, or not as they were\n"
        "#5 page cache: read the weights into memory after #4, because the engine is about to load them\n"
        "#6 services: start engine, prometheus after #1, #2, #3, #4, because engine is not running; "
        "prometheus is not running\n"
        "#7 boot: wait for the first token and warm the engine after #6, because the engine is started"
    )


def test_after_down_only_services_and_boot_are_left(plan):
    assert plan() == (
        "#1 page cache: read the weights of acme/tiny into memory, because the engine is about to load them\n"
        "#2 services: start engine, prometheus, because engine is not running; prometheus is not running\n"
        "#3 boot: wait for the first token and warm the engine after #2, because the engine is started"
    )


def test_a_changed_service_is_told_with_what_changed_and_the_engine_is_left_alone(plan, make_state):
    running = [make_state(), make_state("prometheus", config_hash="other")]
    text = plan(running, override={"services": {"prometheus": {"image": "y"}}})
    assert text == "#1 services: change prometheus, because prometheus has other image"


@pytest.mark.parametrize("override", [{"services": {"engine": 7}}, {"services": [1]}, [], {"services": None}])
def test_a_damaged_override_is_as_good_as_none(plan, make_state, override):
    running = [make_state(config_hash="other"), make_state("prometheus", config_hash="c0ffee")]
    assert "engine has other" in plan(running, override=override)


def test_a_full_disk_for_temporary_files_is_named(plan, make_state, monkeypatch, tmp_path):
    def refuse(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(plan_up.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(plan_up.tempfile, "mkdtemp", refuse)
    with pytest.raises(HostError, match="the disk is full") as caught:
        plan([make_state()])
    assert str(tmp_path) in caught.value.message


def test_a_service_that_is_not_wanted_any_more_is_stopped(plan, make_state):
    text = plan([make_state(), make_state("prometheus"), make_state("grafana")])
    assert text == "#1 services: stop grafana, because grafana is not part of the stack any more"


@pytest.mark.parametrize("state", ["exited", "restarting", "created"])
def test_an_engine_that_is_not_running_is_started_whatever_it_is(plan, make_state, state):
    text = plan([make_state(state=state), make_state("prometheus")])
    assert f"because engine is {state}\n" in text
    assert text.splitlines()[-1].startswith("#3 boot: ")


def test_an_engine_that_gave_no_token_yet_is_waited_for(plan, make_state):
    text = plan([make_state(), make_state("prometheus")], ready=False)
    assert text == (
        "#1 boot: wait for the first token and warm the engine, because the engine has not given a token yet"
    )


def test_what_runs_is_not_compared_before_its_image_is_known(plan, make_state):
    text = plan([make_state(), make_state("prometheus")], needs={"engine": "none", "prometheus": "pull"})
    assert "services: change prometheus after #1, because prometheus gets another image" in text
    assert "boot" not in text


def test_another_model_is_another_engine(plan, make_state):
    text = plan([make_state(), make_state("prometheus")], snapshot=None)
    assert "services: change engine after #1, because engine gets another model" in text
    assert "boot: wait for the first token" in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"command": ["a"]}, {"command": ["b"]}, "has other arguments"),
        ({"labels": {"x": "1"}}, {"labels": {"x": "2"}}, "has other mounted configuration"),
        ({"ports": ["a"], "image": "x"}, {"image": "y"}, "has other image, ports"),
        ({}, {}, "has another definition"),
    ],
)
def test_a_change_is_told_in_words(old, new, said):
    assert describe_change(old, new) == said


def test_one_start_of_one_container_has_one_stamp(make_state):
    assert container_stamp(make_state()) == "engine-0123456789abcdef@2026-11-21T22:00:00+00:00"
    assert container_stamp(make_state(started_at=None)) == "engine-0123456789abcdef@"


@pytest.fixture
def driver(monkeypatch):
    monkeypatch.setattr("stack.operations.doctor.gpu_test.read_gpus", lambda: SimpleNamespace(driver="590.48"))


def test_a_gpu_is_tried_in_the_engines_image_before_the_engine_starts(plan, driver):
    text = plan(device="cuda", needs={"engine": "pull"})
    assert (
        "gpu test: allocate memory on the GPU, in the engine's image after #1, "
        "because it has not been tried with this image and driver\n"
    ) in text
    number = next(line.split()[0] for line in text.splitlines() if " gpu test:" in line)
    services = next(line for line in text.splitlines() if " services:" in line)
    assert number in services.partition(", because")[0]


@pytest.mark.parametrize(("tried", "is_tried_again"), [("sha256:abc@590.48", False), ("sha256:abc@580.95", True)])
def test_a_gpu_that_was_well_with_this_image_and_driver_is_not_tried_again(plan, driver, tried, is_tried_again):
    assert ("gpu test" in plan(device="cuda", tried=tried)) is is_tried_again


def test_a_cpu_engine_tries_no_gpu(plan, driver):
    assert "gpu test" not in plan()


def test_beside_a_running_engine_no_gpu_is_tried(plan, driver, make_state):
    assert "gpu test" not in plan([make_state(config_hash="other"), make_state("prometheus")], device="cuda")


def test_after_down_compose_is_not_asked_for_hashes(plan, monkeypatch):
    monkeypatch.setattr(FakeCompose, "read_hashes", lambda self: pytest.fail("there is nothing to compare"))
    assert "services: start engine, prometheus" in plan()

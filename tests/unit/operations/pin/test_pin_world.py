"""Whom a pin asks, and what is built where nobody is to be asked."""

import pytest

from stack.checks.gpus import GpuReport
from stack.config.lock import load_lock
from stack.errors import ConfigError, ImageError
from stack.images.reference import parse_reference
from stack.images.references import load_published_images
from stack.images.registry_errors import MissingImageError
from stack.operations.doctor.no_daemon import NoDaemon
from stack.operations.offline import OfflineError
from stack.operations.pin import world as pin_world
from stack.operations.pin.lock import find_pin, use_pin
from stack.operations.pin.run import run_pin
from stack.operations.pin.target import PinTarget
from stack.operations.pin.world import RegistryDesk, build_world

PACKAGES = '[images]\nsource = "packages"\n[engine]\ndevice = "cpu"\n'
RELEASE = PinTarget("0.30.0", "version", version="0.30.0")


@pytest.fixture
def asked(monkeypatch):
    """Whom registries were asked for; they say that they have nothing."""
    found = []

    def answer(references, ask, *, timeout_seconds):
        found.extend(map(str, references))
        return {reference: MissingImageError("no") for reference in references}

    monkeypatch.setattr(pin_world, "ask_references", answer)
    return found


def test_a_release_is_pinned_from_packages_where_every_image_is_built_and_no_registry_is_asked(make_session, asked):
    session = make_session(PACKAGES, connect=NoDaemon)
    result = run_pin(session, "0.30.0", gpus=GpuReport())
    lock = load_lock(session.lock_path)
    assert (result.entry.source, result.entry.found_by, lock.engine.version) == ("packages", "packages", "0.30.0")
    assert asked == [] and find_pin(session.config, lock) is not None
    assert use_pin(session.config, lock).engine.version == "0.30.0"


def test_what_can_only_be_pulled_is_refused_where_every_image_is_built(make_session, asked):
    session = make_session(PACKAGES, connect=NoDaemon)
    with pytest.raises(ConfigError) as caught:
        run_pin(session, "nightly", gpus=GpuReport())
    assert caught.value.problems[0].message == "builds every image, and `nightly` is pulled; take it away"
    assert asked == [] and not session.lock_path.exists()


@pytest.mark.parametrize(
    ("config", "error", "why"),
    [
        (f"offline = true\n{PACKAGES}", OfflineError, "every package index is out of reach"),
        ('[images]\nsource = "registry"\n', ImageError, "lets nothing be built"),
    ],
)
def test_no_release_is_built_where_that_is_forbidden(make_session, config, error, why):
    world = build_world(make_session(config), None, "cpu", load_published_images(), lambda step: None)
    with pytest.raises(error, match=why):
        world.find_recipe(RELEASE)


def test_a_question_ends_with_its_answer_so_that_nothing_is_waited_for_any_more(make_session, asked, events):
    session = make_session("")
    with pytest.raises(MissingImageError):
        RegistryDesk(session.config, session.report).fetch_digest(parse_reference("docker.io/a/b:c"))
    assert [(event.text, event.state) for event in events] == [
        ("asking docker.io", "running"), ("docker.io was asked", "done")
    ]  # fmt: skip

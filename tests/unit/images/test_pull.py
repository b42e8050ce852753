from types import SimpleNamespace

import docker.errors
import pytest
import requests

from stack.errors import ImageError
from stack.images.manifests import ImageConfig, RemoteImage
from stack.images.pull import MovedTagError, PulledImage, Puller, check_tag, find_local_image
from stack.images.reference import parse_reference
from stack.images.registry_errors import MissingImageError

DIGEST, MOVED, CHILD = ("sha256:" + letter * 64 for letter in "de0")
LAYER_A, LAYER_B = ("sha256:" + letter * 64 for letter in "ab")
IMAGE_ID = "sha256:" + "f" * 64
WANTED = parse_reference("prom/prometheus:v3.15.0")
PINNED = WANTED.with_digest(DIGEST)
EVENTS = (
    {"status": "Pulling from prom/prometheus", "id": "x"},
    {"status": "Already exists", "id": "b" * 12},
    {"status": "Downloading", "id": "a" * 12, "progressDetail": {"current": 40, "total": 100}},
    {"status": "Extracting", "id": "a" * 12, "progressDetail": {"current": 1, "total": 100}},
    {"status": "Pull complete", "id": "a" * 12},
)


class FakeRegistry:
    def __init__(self, digests):
        self.digests = digests
        self.asked = []

    def fetch_digest(self, reference):
        self.asked.append(str(reference))
        found = self.digests.get(str(reference))
        if found is None:
            raise MissingImageError(f"no `{reference}`")
        return found

    def fetch_image(self, reference, *, platform):
        self.asked.append(f"{reference} {platform}")
        return RemoteImage(reference.digest, CHILD, IMAGE_ID, ImageConfig(), {LAYER_A: 100, LAYER_B: 50})


class FakeEngine:
    """The parts of the Docker SDK's client that a pull uses; each attempt takes the next of `attempts`."""

    def __init__(self, attempts=(), here=()):
        self.attempts = list(attempts)
        self.have = set(here)
        self.pulls = []
        self.api = SimpleNamespace(pull=self._pull)
        self.images = SimpleNamespace(get=self._get)

    def _pull(self, repository, *, tag, stream, decode):
        assert stream
        assert decode
        self.pulls.append((repository, tag))
        attempt = self.attempts.pop(0)
        if isinstance(attempt, Exception):
            raise attempt
        for event in attempt:
            if isinstance(event, Exception):
                raise event
            yield event
        if not any("error" in event for event in attempt):
            self.have.add(f"{repository}@{tag}")

    def _get(self, name):
        if isinstance(self.have, Exception):
            raise self.have
        if name not in self.have:
            raise docker.errors.ImageNotFound("no such image")
        return SimpleNamespace(id=IMAGE_ID)


def run(engine, registry=None, wanted=PINNED, **options):
    events, pauses = [], []
    pull_options = {key: options.pop(key) for key in ("image_id", "moved_tag") if key in options}
    registry = registry or FakeRegistry({str(WANTED): DIGEST})
    puller = Puller(engine, registry, sleep=pauses.append, **options)
    try:
        result = puller.pull(wanted, report=events.append, **pull_options)
    except ImageError as err:
        result = err
    return result, events, pauses


def test_a_pull_compares_the_tag_then_pulls_by_digest():
    engine, registry = FakeEngine([EVENTS]), FakeRegistry({str(WANTED): DIGEST})
    result, _, _ = run(engine, registry)
    assert result == PulledImage(PINNED, DIGEST, IMAGE_ID, "registry")
    assert registry.asked == [str(WANTED), f"{PINNED} linux/amd64"]
    assert engine.pulls == [("docker.io/prom/prometheus", DIGEST)]


def test_a_tag_without_a_known_digest_is_pinned_by_the_registrys_answer():
    result, _, _ = run(FakeEngine([EVENTS]), wanted=WANTED)
    assert result.digest == DIGEST
    assert str(result.reference) == f"docker.io/prom/prometheus:v3.15.0@{DIGEST}"


def test_bytes_are_told_over_all_layers():
    _, events, _ = run(FakeEngine([EVENTS]))
    assert {event.task for event in events} == {"pull prom/prometheus"}
    told = [(event.completed_bytes, event.total_bytes, event.text) for event in events]
    assert told == [
        (None, None, "asking docker.io"),
        (50, 150, ""),
        (90, 150, ""),
        (150, 150, "extracting"),
        (150, 150, ""),
        (150, 150, DIGEST),
    ]
    assert [event.state for event in events] == ["running"] * 5 + ["done"]


def test_a_moved_tag_stops_the_pull():
    engine = FakeEngine([EVENTS])
    error, events, _ = run(engine, FakeRegistry({str(WANTED): MOVED}))
    assert isinstance(error, MovedTagError)
    assert DIGEST in error.message
    assert MOVED in error.message
    assert f"{WANTED}@{MOVED}" in error.hint
    assert engine.pulls == []
    assert events[-1].state == "failed"


def test_a_moved_tag_can_be_told_and_the_locked_digest_pulled():
    engine = FakeEngine([EVENTS])
    result, events, _ = run(engine, FakeRegistry({str(WANTED): MOVED}), moved_tag="tell")
    assert result.digest == DIGEST
    assert engine.pulls == [("docker.io/prom/prometheus", DIGEST)]
    assert any(f"v3.15.0 is {MOVED} by now" in event.text for event in events)


def test_a_locked_digest_outlives_its_tag():
    engine = FakeEngine([EVENTS])
    result, events, _ = run(engine, FakeRegistry({}), moved_tag="tell")
    assert result.digest == DIGEST
    assert any("v3.15.0 is gone from docker.io" in event.text for event in events)


@pytest.mark.parametrize(("wanted", "moved_tag"), [(PINNED, "stop"), (WANTED, "tell")])
def test_a_tag_that_is_gone_is_an_error_without_a_lock(wanted, moved_tag):
    error, _, _ = run(FakeEngine(), FakeRegistry({}), wanted=wanted, moved_tag=moved_tag)
    assert isinstance(error, MissingImageError)


def test_a_reference_by_digest_alone_is_asked_for_by_digest():
    wanted = PINNED.with_tag(None)
    registry = FakeRegistry({str(wanted): DIGEST})
    result, _, _ = run(FakeEngine([EVENTS]), registry, wanted=wanted)
    assert result.digest == DIGEST
    assert registry.asked[0] == str(wanted)


def test_a_mirror_is_asked_and_pulled_from_instead():
    mirrored = "mirror.example/hub/prom/prometheus"
    engine, registry = FakeEngine([EVENTS]), FakeRegistry({f"{mirrored}:v3.15.0": DIGEST})
    result, _, _ = run(engine, registry, mirror={"docker.io": "mirror.example/hub"})
    assert engine.pulls == [(mirrored, DIGEST)]
    assert (str(result.reference), result.source) == (f"{mirrored}:v3.15.0@{DIGEST}", "mirror")


def test_a_mirror_with_another_digest_stops_with_the_name_the_user_knows():
    registry = FakeRegistry({"mirror.example/prom/prometheus:v3.15.0": MOVED})
    error, _, _ = run(FakeEngine(), registry, mirror={"docker.io": "mirror.example"})
    assert error.message.startswith(f"`{WANTED}` should be {DIGEST}, but mirror.example serves {MOVED}")


def test_an_image_that_is_here_by_digest_is_not_asked_for():
    engine, registry = FakeEngine(here={f"docker.io/prom/prometheus@{DIGEST}"}), FakeRegistry({})
    result, events, _ = run(engine, registry)
    assert result == PulledImage(PINNED, DIGEST, IMAGE_ID, "here")
    assert (registry.asked, engine.pulls) == ([], [])
    assert [(event.text, event.state) for event in events] == [("already here", "done")]


def test_an_image_that_came_from_upstream_serves_behind_a_mirror_too():
    engine = FakeEngine(here={f"docker.io/prom/prometheus@{DIGEST}"})
    result, _, _ = run(engine, FakeRegistry({}), mirror={"docker.io": "mirror.example"})
    assert (result.source, result.reference) == ("here", PINNED)


def test_an_image_that_is_here_by_its_recorded_id_is_not_asked_for():
    result, _, _ = run(FakeEngine(here={IMAGE_ID}), FakeRegistry({}), image_id=IMAGE_ID)
    assert result == PulledImage(PINNED, None, IMAGE_ID, "here")


def test_a_tag_that_is_here_without_a_digest_is_not_taken_for_the_image():
    engine = FakeEngine([EVENTS], here={str(WANTED)})
    result, _, _ = run(engine, wanted=WANTED)
    assert result.source == "registry"


def test_another_image_under_the_recorded_id_does_not_count():
    other = "sha256:" + "9" * 64
    engine = FakeEngine(here={other})  # answers with IMAGE_ID
    assert find_local_image(engine, PINNED, other) is None


def test_a_pull_that_breaks_off_is_taken_up_again():
    broken = [*EVENTS[:3], {"error": "unexpected EOF"}]
    lost = [requests.exceptions.ChunkedEncodingError("cut")]
    result, events, pauses = run(FakeEngine([broken, lost, EVENTS]))
    assert result.digest == DIGEST
    assert pauses == [1.0, 2.0]
    assert any("broke off (unexpected EOF); again in 1 s" in event.text for event in events)


def test_a_pull_that_keeps_breaking_off_is_given_up():
    broken = [{"error": "unexpected EOF"}]
    error, events, pauses = run(FakeEngine([broken] * 3), retries=2)
    assert "broke off 3 times: unexpected EOF" in error.message
    assert "whole layers are kept" in error.hint
    assert pauses == [1.0, 2.0]
    assert events[-1].state == "failed"


@pytest.mark.parametrize(
    "attempt",
    [
        [{"error": "write /x: no space left on device"}],
        docker.errors.APIError("500", explanation="write /x: no space left on device"),
    ],
)
def test_a_full_disk_is_told_at_once(attempt):
    error, _, pauses = run(FakeEngine([attempt]))
    assert "no space left on device" in error.message
    assert "docker system df" in error.hint
    assert pauses == []


def test_a_docker_engine_that_cannot_be_asked_is_an_error():
    error, _, _ = run(FakeEngine([docker.errors.InvalidVersion("too old")]))
    assert "the Docker engine cannot be asked for" in error.message


def test_an_engine_that_does_not_answer_at_all_is_an_error():
    engine = FakeEngine()
    engine.have = requests.exceptions.ConnectionError("refused")
    with pytest.raises(ImageError, match="cannot be asked"):
        find_local_image(engine, PINNED)


def test_an_engine_that_lost_what_it_pulled_is_an_error():
    engine = FakeEngine([EVENTS])
    engine._get = None
    engine.images = SimpleNamespace(get=lambda name: (_ for _ in ()).throw(docker.errors.ImageNotFound("x")))
    error, _, _ = run(engine)
    assert "does not have it" in error.message


def test_a_tag_is_checked_without_pulling():
    registry = FakeRegistry({str(WANTED): DIGEST})
    assert check_tag(registry, WANTED) == DIGEST
    assert check_tag(registry, PINNED) == DIGEST
    with pytest.raises(MovedTagError):
        check_tag(registry, WANTED.with_digest(MOVED))

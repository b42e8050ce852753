"""Which vLLM an engine image is, and whether that is what was asked for."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from stack.config.lock import Lock, LockedEngine, LockedImage
from stack.errors import ImageError
from stack.images.reference import parse_reference
from stack.images.references import PublishedImage, WantedImage
from stack.operations.choices import Choice, DeviceChoice
from stack.operations.images import identify
from stack.operations.images.identify import check_known_identity, identify_engine
from stack.operations.images.needs import ImageNeed
from stack.operations.project import ProjectFacts

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "89abcdef0123456789abcdef0123456789abcdef"
DIGEST = "sha256:" + "d" * 64
IMAGE_ID = "sha256:" + "1" * 64
UPSTREAM = f"docker.io/vllm/vllm-openai@{DIGEST}"
LABEL = "org.opencontainers.image.revision"


@pytest.fixture
def ask(make_session, monkeypatch):
    """A function: an image with these labels, and how it was come by, give session and decisions."""

    def call(
        toml="",
        *,
        name=UPSTREAM,
        labels=None,
        source="registry",
        action="none",
        recipe=None,
        recorded=None,
        image_ids=None,
    ):
        document = {"Id": IMAGE_ID, "Config": {"Labels": labels or {}, "Env": [], "Entrypoint": ["vllm"]}}
        monkeypatch.setattr(identify, "read_image", lambda client, image: document if image == name else None)
        images = {}
        if recorded is not None:
            entry = LockedImage(reference="a/b", digest=DIGEST, source="registry", recorded_from=recorded)
            images["engine/cuda"] = entry
        resolved = SimpleNamespace(
            device=DeviceChoice(Choice("engine.device", "cuda", "x")),
            needs={"engine": ImageNeed("engine", action, name, "why", source, recipe=recipe)},
            lock=Lock(images=images),
            facts=ProjectFacts(image_ids=image_ids or {}),
            published={
                "engine.cuda": PublishedImage("docker.io/vllm/vllm-openai", "v0.31.0", "0.31.0", DIGEST, COMMIT)
            },
        )
        return make_session(toml), resolved

    return call


def find(session, resolved, name=UPSTREAM):
    return identify_engine(session, None, resolved, name)


def test_a_label_reached_through_upstreams_digest_is_verified(ask):
    found = find(*ask(labels={LABEL: COMMIT}))
    assert (found.identity.commit, found.identity.level, found.digest) == (COMMIT, "verified", DIGEST)


def test_a_label_of_whoever_built_it_here_is_a_claim(ask):
    name = "localhost/stack/engine:cpu-01"
    found = find(*ask(name=name, labels={LABEL: COMMIT}, source="packages"), name)
    assert (found.identity.commit, found.identity.level, found.digest) == (COMMIT, "claimed", None)


def test_an_image_without_a_word_is_unknown(ask):
    found = find(*ask(name=IMAGE_ID, source="registry"), IMAGE_ID)
    assert (found.identity.commit, found.identity.level) == (None, "unknown")


def test_an_image_that_went_meanwhile_is_told(ask):
    with pytest.raises(ImageError) as caught:
        find(*ask(), "docker.io/other/image:x")
    assert "is not here any more" in caught.value.message
    assert caught.value.hint == "run `stack up` again"


PINNED = f'[engine]\ncommit = "{COMMIT}"\n'


def test_the_pinned_commit_must_be_the_images(ask):
    assert find(*ask(PINNED, labels={LABEL: COMMIT})).identity.level == "verified"
    with pytest.raises(ImageError, match=f"commit {COMMIT} was asked for, but the image is commit {OTHER}"):
        find(*ask(PINNED, labels={LABEL: OTHER}))


def test_a_claim_is_refused_for_a_pinned_commit_unless_it_is_accepted(ask):
    name = "localhost/stack/engine:cpu-01"
    built = {"name": name, "labels": {LABEL: COMMIT}, "source": "packages"}
    with pytest.raises(ImageError) as caught:
        find(*ask(PINNED, **built), name)
    assert "--accept claimed" in caught.value.hint
    assert find(*ask(PINNED + 'accept = "claimed"\n', **built), name).identity.level == "claimed"


def test_without_a_pin_nothing_is_refused_beforehand(ask):
    check_known_identity(ask(labels={LABEL: OTHER})[0], None, ask(labels={LABEL: OTHER})[1])


def test_a_wrong_image_that_is_here_is_refused_before_anything_is_started(ask):
    session, resolved = ask(PINNED, labels={LABEL: OTHER})
    with pytest.raises(ImageError):
        check_known_identity(session, None, resolved)


@pytest.mark.parametrize(("built", "accept", "refused"), [
    (COMMIT, "claimed", False), (COMMIT, "verified", True), (OTHER, "claimed", True),
])  # fmt: skip
def test_what_will_be_built_is_judged_before_it_is_built(ask, built, accept, refused):
    recipe = SimpleNamespace(arguments=(("COMMIT", built), ("VERSION", "0.31.0")))
    toml = PINNED + f'accept = "{accept}"\n'
    session, resolved = ask(toml, name="localhost/x:y", source="packages", action="build", recipe=recipe)
    if refused:
        with pytest.raises(ImageError):
            check_known_identity(session, None, resolved)
    else:
        check_known_identity(session, None, resolved)


def test_what_is_still_to_be_pulled_is_judged_when_it_is_here(ask):
    session, resolved = ask(PINNED, name="docker.io/a/b:c", action="pull")
    check_known_identity(session, None, resolved)


def test_an_image_without_a_label_is_of_the_commit_whose_tag_upstream_served_when_it_was_pinned(ask):
    session, resolved = ask()
    tag = f"nightly-{OTHER}"
    entry = LockedImage(
        reference=f"docker.io/vllm/vllm-openai:{tag}",
        tag=tag,
        digest=DIGEST,
        source="registry",
        recorded_from="upstream",
    )
    pin = LockedEngine(commit=OTHER, commit_level="verified", pinned=OTHER)
    resolved.lock = Lock(engine=pin, images={"engine/cuda": entry})
    resolved.published = {}
    found = find(session, resolved)
    assert (found.identity.commit, found.identity.level) == (OTHER, "verified")
    resolved.lock = Lock(engine=pin.model_copy(update={"commit": COMMIT}), images={"engine/cuda": entry})
    with pytest.raises(ImageError, match=f"commit {COMMIT} was asked for"):
        find(session, resolved)


def test_a_tag_that_the_configuration_puts_beside_a_digest_proves_nothing(ask):
    session, resolved = ask(f'[engine]\nimage = "vllm/vllm-openai:nightly-{OTHER}@{DIGEST}"\ncommit = "{OTHER}"')
    resolved.published = {}
    wanted = WantedImage("engine", parse_reference(f"docker.io/vllm/vllm-openai:nightly-{OTHER}@{DIGEST}"), None)
    resolved.needs["engine"] = replace(resolved.needs["engine"], wanted=wanted)
    with pytest.raises(ImageError, match="does not say which commit it is"):
        find(session, resolved)


def name_digest(resolved):
    wanted = WantedImage("engine", parse_reference(f"docker.io/vllm/vllm-openai:v0.31.0@{DIGEST}"), None)
    resolved.needs["engine"] = replace(resolved.needs["engine"], wanted=wanted)


def test_an_image_that_lost_its_digest_is_verified_by_the_id_that_was_seen_behind_it(ask):
    session, resolved = ask(PINNED, name=IMAGE_ID, labels={LABEL: COMMIT}, image_ids={UPSTREAM: IMAGE_ID})
    name_digest(resolved)
    found = find(session, resolved, IMAGE_ID)
    assert (found.identity.commit, found.identity.level, found.digest) == (COMMIT, "verified", DIGEST)


def test_the_id_that_a_load_has_just_shown_counts_as_much(ask):
    session, resolved = ask(PINNED, name=IMAGE_ID, labels={LABEL: COMMIT})
    name_digest(resolved)
    found = identify_engine(session, None, resolved, IMAGE_ID, {UPSTREAM: IMAGE_ID})
    assert (found.identity.level, found.digest) == ("verified", DIGEST)


@pytest.mark.parametrize("image_ids", [{}, {UPSTREAM: "sha256:" + "2" * 64}, {"docker.io/a/b@" + DIGEST: IMAGE_ID}])
def test_an_image_whose_id_was_seen_behind_another_digest_is_only_a_claim(ask, image_ids):
    session, resolved = ask(name=IMAGE_ID, labels={LABEL: COMMIT}, image_ids=image_ids)
    name_digest(resolved)
    found = find(session, resolved, IMAGE_ID)
    assert (found.identity.level, found.digest) == ("claimed", None)

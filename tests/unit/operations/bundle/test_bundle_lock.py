"""What a bundle's lock is worth here."""

import pytest

from stack.bundles.problem import BundleError
from stack.config.lock import Lock, LockedBuild, LockedEngine, LockedImage
from stack.images.references import PublishedImage
from stack.operations.bundle.lock import (
    build_received_lock,
    check_locked_model,
    demand_acceptance,
    names_model,
    names_same,
)
from tests.unit.bundles.conftest import MODEL, build_bundle

COMMIT, DIGEST = "0123456789abcdef0123456789abcdef01234567", "sha256:" + "d" * 64
NAME = "docker.io/vllm/vllm-openai:v9"
PUBLISHED = {
    "engine.cpu": PublishedImage("docker.io/vllm/vllm-openai", "v9", "9", digest=DIGEST, commit=COMMIT),
}


def build_lock(digest=DIGEST, recorded="upstream", level="verified", **engine):
    image = LockedImage(reference=NAME, digest=digest, device="cpu", source="registry", recorded_from=recorded)
    values = {"commit": COMMIT, "commit_level": level, "pinned": COMMIT, "rests_on": "label"} | engine
    return Lock(engine=LockedEngine(**values), images={"engine/cpu": image})


BUNDLE = build_bundle(images=(build_bundle().images[0].model_copy(update={"name": NAME, "digest": DIGEST}),))


def receive(lock, own=None, published=None, bundle=BUNDLE, **more):
    return build_received_lock(lock, own or Lock(), published or {}, bundle, **more)


def test_upstreams_word_that_only_the_bundle_repeats_is_a_claim():
    lock = receive(build_lock())
    assert lock.images["engine/cpu"].recorded_from == "bundle"
    assert (lock.engine.commit_level, lock.engine.pinned) == ("claimed", COMMIT)
    assert lock.engine.rests_on.startswith("a bundle of project mine, saved 2026-11-22")


def test_a_digest_of_the_shipped_table_is_verified_whoever_hands_it_over():
    lock = receive(build_lock(), published=PUBLISHED)
    assert lock.images["engine/cpu"].recorded_from == "public records"
    assert lock.engine.commit_level == "verified"


def test_a_digest_of_the_table_with_another_commit_is_a_claim():
    other = {"engine.cpu": PublishedImage("docker.io/vllm/vllm-openai", "v9", "9", digest=DIGEST, commit="f" * 40)}
    assert receive(build_lock(), published=other).engine.commit_level == "claimed"


def test_what_ones_own_lock_says_of_the_same_digest_counts():
    lock = receive(build_lock(recorded="registry", level="claimed"), own=build_lock())
    assert lock.images["engine/cpu"].recorded_from == "upstream"
    assert lock.engine.commit_level == "verified"
    other = receive(build_lock(), own=build_lock(digest="sha256:" + "e" * 64))
    assert (other.images["engine/cpu"].recorded_from, other.engine.commit_level) == ("bundle", "claimed")


def test_what_was_built_from_packages_has_nobody_behind_it():
    image = LockedImage(reference="localhost/stack/engine:x", source="packages", recorded_from="upstream")
    lock = receive(Lock(images={"engine/cpu": image}))
    assert lock.images["engine/cpu"].recorded_from is None


def test_a_pinned_claim_must_be_accepted_here():
    lock = receive(build_lock())
    with pytest.raises(BundleError, match=f"pins commit {COMMIT}") as caught:
        demand_acceptance(lock, None, is_accepted=False)
    assert "--accept claimed" in caught.value.hint
    demand_acceptance(lock, None, is_accepted=True)
    demand_acceptance(receive(build_lock(), published=PUBLISHED), None, is_accepted=False)


def test_a_commit_that_nobody_asked_for_needs_no_acceptance_and_one_of_the_configuration_does():
    lock = receive(build_lock(pinned=None))
    demand_acceptance(lock, None, is_accepted=False)
    with pytest.raises(BundleError):
        demand_acceptance(lock, COMMIT, is_accepted=False)


def test_locks_are_the_same_by_what_they_name():
    assert names_same(build_lock(), receive(build_lock(), is_model_known=False))
    assert not names_same(build_lock(), receive(build_lock()))
    assert not names_same(build_lock(), build_lock(digest="sha256:" + "e" * 64))


@pytest.mark.parametrize(
    "override", ["localhost/stack/bundle:x", "docker.io/vllm/vllm-openai:v8", "sha256:" + "d" * 64]
)
def test_nothing_is_verified_of_an_engine_that_another_image_takes_the_place_of(override):
    assert receive(build_lock(), published=PUBLISHED, override=override).engine.commit_level == "claimed"
    assert receive(build_lock(), own=build_lock(), override=override).engine.commit_level == "claimed"
    assert receive(build_lock(), published=PUBLISHED, override="vllm/vllm-openai:v9").engine.commit_level == "verified"


@pytest.mark.parametrize("digest", [None, "sha256:" + "e" * 64])
def test_nothing_is_verified_where_the_bundles_image_is_not_proved_to_be_the_locked_one(digest):
    bundle = build_bundle(images=(BUNDLE.images[0].model_copy(update={"digest": digest}),))
    assert receive(build_lock(), published=PUBLISHED, bundle=bundle).engine.commit_level == "claimed"
    assert receive(build_lock(), own=build_lock(), bundle=bundle).engine.commit_level == "claimed"


def test_a_lock_without_a_commit_has_nothing_that_is_verified():
    assert receive(build_lock(commit=None)).engine.commit_level == "unknown"


def test_of_a_stranger_no_image_is_locked_that_is_neither_here_nor_in_the_bundle():
    entry = LockedImage(reference="docker.io/evil/prometheus:1", digest="sha256:" + "e" * 64, source="registry")
    build = LockedBuild(distribution="vllm", version="1", wheel="https://evil.example/v.whl", machine="x", python="3")
    lock = build_lock().model_copy(update={"builds": {"engine/cpu": build}})
    lock = lock.model_copy(update={"images": lock.images | {"prometheus": entry}})
    assert set(receive(lock).images) == {"engine/cpu"} and receive(lock).builds == {}
    assert set(receive(lock, own=lock).images) == {"engine/cpu", "prometheus"} == set(receive(lock, trust=True).images)
    assert receive(lock, own=lock).builds == lock.builds == receive(lock, trust=True).builds


def test_the_model_is_locked_as_the_bundle_has_it_where_it_goes_under_its_own_name():
    said = Lock(model={"id": "evil/other", "revision": "1" * 40})
    assert receive(said, is_model_known=False).model is None
    model = receive(said).model
    assert (model.id, model.revision, set(model.files)) == ("acme/tiny", "0" * 40, set(MODEL))
    assert names_model(Lock(model=model), BUNDLE) and not names_model(said, BUNDLE)


def test_a_model_that_is_not_the_locked_one_is_refused():
    locked = {"id": "acme/tiny", "revision": "0" * 40, "files": {"config.json": {"size_bytes": 1, "sha256": "0" * 64}}}
    with pytest.raises(BundleError, match="not the one that x/stack.lock names: acme/tiny .* another config.json"):
        check_locked_model(Lock(model=locked), BUNDLE, "x/stack.lock")
    check_locked_model(Lock(), BUNDLE, "x/stack.lock")
    check_locked_model(receive(Lock()), BUNDLE, "x/stack.lock")

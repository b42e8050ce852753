"""From what is to be pinned to an image: who is asked, in which order, and what stops it."""

import pytest

from stack.config.lock import LockedImage
from stack.errors import ImageError
from stack.images.manifests import ImageConfig, RemoteImage
from stack.images.pull import MovedTagError
from stack.images.recipe import build_base_recipe, build_engine_recipe
from stack.images.references import load_published_images
from stack.images.registry_errors import MissingImageError, UnreachableRegistryError
from stack.images.sources import Variant, load_sources
from stack.operations.pin.found import PinWorld
from stack.operations.pin.resolve import PinResolver
from stack.operations.pin.target import PinTarget, read_target

COMMIT, OTHER = "0123456789abcdef0123456789abcdef01234567", "f" * 40
DIGEST, SECOND = "sha256:" + "a" * 64, "sha256:" + "b" * 64
HUB, ECR = "docker.io/vllm/vllm-openai", "public.ecr.aws/q9t5s3a7"
NIGHTLY = f"{HUB}:nightly-{COMMIT}"
PUBLISHED = load_published_images()
LABEL = "org.opencontainers.image.revision"


def describe(digest=DIGEST, commit=COMMIT, cuda="13.0.2", **labels):
    environment = {"CUDA_VERSION": cuda} if cuda else {}
    labels = labels | ({LABEL: commit} if commit else {})
    return RemoteImage(digest, digest, DIGEST, ImageConfig(labels, environment), {SECOND: 7})


class World:
    """Registries as a table of references, and what they were asked."""

    def __init__(self, images=None, *, local=(), wheel=None):
        self.images, self.local, self.wheel, self.asked = images or {}, local, wheel, []

    def fetch(self, reference):
        self.asked.append(str(reference))
        found = self.images.get(str(reference), MissingImageError("no"))
        if isinstance(found, Exception):
            raise found
        return found

    def find_recipe(self, target):
        base = build_base_recipe("bookworm", "http://deb.example")
        if target.kind == "version":
            return build_engine_recipe("cpu", base, version=target.version)
        if self.wheel is None:
            raise ImageError("no wheel")
        return build_engine_recipe(
            "cuda", base, version=self.wheel, commit=target.commit, wheel="https://wheels.example/x.whl"
        )

    def resolve(self, text=COMMIT, *, cuda=None, device="cuda", accept="verified", mirror=None, locked=None, **sources):
        table, variant = load_sources(sources), Variant(device, cuda)
        target = text if isinstance(text, PinTarget) else read_target(text, table, variant, None)
        world = PinWorld(
            self.fetch, lambda name: self.fetch(name).digest, lambda target: self.local, self.find_recipe,
            lambda step: None,
        )  # fmt: skip
        self.resolver = PinResolver(table, variant, PUBLISHED, mirror or {}, accept, world, locked)
        return self.resolver.resolve(target)

    @property
    def outcomes(self):
        return [(step.source, step.outcome) for step in self.resolver.steps]


def test_a_commit_that_docker_hub_serves_is_verified_and_nobody_else_is_asked():
    world = World({NIGHTLY: describe()})
    found = world.resolve()
    assert (str(found.reference), found.digest, found.size_bytes) == (NIGHTLY, DIGEST, 7)
    assert (found.identity.commit, found.identity.level) == (COMMIT, "verified")
    assert found.identity.rests_on == f"label {LABEL}; {HUB} served {DIGEST}"
    assert world.asked == [NIGHTLY]
    assert world.outcomes == [("local", "missing"), ("nightly", "found")]


def test_a_cpu_image_that_carries_no_label_is_verified_by_the_tag_that_upstream_served():
    name = f"docker.io/vllm/vllm-openai-cpu:nightly-{COMMIT}"
    found = World({name: describe(commit=None, cuda=None)}).resolve(device="cpu")
    assert (found.identity.commit, found.identity.level) == (COMMIT, "verified")


def test_the_same_tag_at_a_mirror_is_only_claimed():
    world = World({f"mirror.example/vllm/vllm-openai:nightly-{COMMIT}": describe()})
    with pytest.raises(ImageError, match="not verified"):
        world.resolve(mirror={"docker.io": "mirror.example"})
    found = world.resolve(mirror={"docker.io": "mirror.example"}, accept="claimed")
    assert (str(found.reference), found.identity.level) == (NIGHTLY, "claimed")
    locked = LockedImage(reference=NIGHTLY, digest=DIGEST, source="registry", recorded_from="upstream")
    assert world.resolve(mirror={"docker.io": "mirror.example"}, locked=locked).identity.level == "verified"


def test_the_sources_are_asked_in_their_order_and_the_ci_last():
    world = World({f"{ECR}/vllm-ci-postmerge-repo:{COMMIT}": describe()})
    found = world.resolve()
    assert world.outcomes == [
        ("local", "missing"), ("nightly", "missing"), ("release-repository", "missing"), ("ci", "found")
    ]  # fmt: skip
    assert "it is made for tests" in found.source.warning


def test_a_commit_that_is_a_known_release_is_looked_for_under_its_tag():
    entry = PUBLISHED["engine.cuda"]
    world = World({str(entry.reference.with_digest(None)): describe(entry.digest, entry.commit)})
    found = world.resolve(entry.commit)
    assert (found.digest, found.source.name) == (entry.digest, "release")


def test_a_registry_that_does_not_answer_is_asked_once():
    commit = PUBLISHED["engine.cuda"].commit
    world = World({f"{HUB}:nightly-{commit}": UnreachableRegistryError("docker.io is not reachable: refused")})
    with pytest.raises(ImageError) as caught:
        world.resolve(commit)
    assert ("release", "skipped") in world.outcomes
    assert [name for name in world.asked if name.startswith(HUB)] == [f"{HUB}:nightly-{commit}"]
    assert "not asked: docker.io does not answer" in caught.value.message
    assert "check the network" in caught.value.hint


def test_a_wrong_label_stops_though_other_places_are_left():
    world = World({NIGHTLY: describe(commit=OTHER), f"{ECR}/vllm-release-repo:{COMMIT}": describe()})
    with pytest.raises(ImageError, match=f"the image is commit {OTHER}"):
        world.resolve(accept="claimed")


def test_a_releases_tag_with_another_digest_than_the_recorded_one_stops():
    entry = PUBLISHED["engine.cuda"]
    world = World({str(entry.reference.with_digest(None)): describe(SECOND, entry.commit)})
    with pytest.raises(MovedTagError):
        world.resolve(entry.version)


def test_a_release_with_the_label_of_another_stops():
    world = World({f"{HUB}:v9.9.9": describe(**{"org.opencontainers.image.version": "vllm/vllm-openai:v9.9.8"})})
    with pytest.raises(ImageError, match="release 9.9.9 was asked for"):
        world.resolve("v9.9.9")


def test_another_cuda_than_the_variant_stops():
    name = f"{HUB}:cu129-nightly-{COMMIT}"
    assert World({name: describe(cuda="12.9.1")}).resolve(cuda="cu129").digest == DIGEST
    with pytest.raises(ImageError, match="has CUDA 13.0"):
        World({name: describe()}).resolve(cuda="cu129")


def test_nightly_is_pinned_under_the_tag_of_its_commit_where_that_is_the_same_image():
    world = World({f"{HUB}:nightly": describe(), NIGHTLY: describe()})
    found = world.resolve("nightly")
    assert (str(found.reference), found.source.name) == (NIGHTLY, "nightly")
    moved = World({f"{HUB}:nightly": describe(), NIGHTLY: describe(SECOND)}).resolve("nightly")
    assert str(moved.reference) == f"{HUB}:nightly" and moved.digest == DIGEST


def describe_local(name=f"{HUB}@{DIGEST}", tags=(NIGHTLY,), cuda="13.0.2"):
    config = {"Labels": {LABEL: COMMIT}, "Env": [f"CUDA_VERSION={cuda}"]}
    return {"RepoDigests": [name] if name else [], "RepoTags": list(tags), "Config": config}


def test_an_image_that_is_here_by_upstreams_digest_is_taken_and_nobody_is_asked():
    world = World(local=[describe_local()])
    found = world.resolve()
    assert (found.digest, found.identity.level, found.size_bytes) == (DIGEST, "verified", None)
    assert world.asked == []


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (describe_local(None), "has no digest of a repository"),
        (describe_local(f"someone.example/vllm@{DIGEST}"), "has no digest of a repository"),
        (describe_local(tags=()), "nothing tells whether it is of this variant"),
    ],
)
def test_an_image_here_of_which_too_little_is_known_is_passed_over(document, said):
    world = World({NIGHTLY: describe(SECOND)}, local=[document])
    assert world.resolve().digest == SECOND
    assert said in world.resolver.steps[0].said


def test_the_variant_of_an_image_here_is_known_from_its_cuda_or_from_the_lock():
    image = describe_local(tags=(), cuda="12.9.1")
    assert World(local=[image]).resolve(cuda="cu129").source.name == "local"
    locked = LockedImage(reference=NIGHTLY, digest=DIGEST, source="registry")
    found = World(local=[describe_local(tags=())]).resolve(locked=locked)
    assert found.source.name == "local" and str(found.reference) == NIGHTLY, "the lock's name has the tag too"


def test_upstreams_wheel_is_the_last_way_and_only_ever_claimed():
    world = World(wheel="0.32.1.dev7+g012345678")
    with pytest.raises(ImageError, match="--accept claimed"):
        world.resolve()
    found = world.resolve(accept="claimed")
    assert (found.digest, found.identity.level, found.source.name) == (None, "claimed", "wheel")
    assert str(found.reference).startswith("localhost/stack/engine:cuda-0123456789ab-")


def test_a_digest_is_looked_for_in_every_known_repository():
    world = World({f"{ECR}/vllm-release-repo@{DIGEST}": describe()})
    assert world.resolve(DIGEST).identity.commit == COMMIT
    assert world.asked == [f"{HUB}@{DIGEST}", f"{ECR}/vllm-release-repo@{DIGEST}"]


HUB_CPU = "docker.io/vllm/vllm-openai-cpu:v0.30.0"


def test_a_release_is_built_where_no_registry_answers_and_needs_no_acceptance():
    world = World({HUB_CPU: UnreachableRegistryError("docker.io is not reachable")})
    found = world.resolve("0.30.0", device="cpu")
    assert (found.digest, found.identity.version, found.identity.commit) == (None, "0.30.0", None)
    assert found.identity.level == "unknown" and ":cpu-0.30.0-" in str(found.reference)
    assert world.outcomes == [("release", "failed"), ("packages", "found")]


def test_a_release_that_a_registry_says_it_has_not_is_not_built_instead():
    world = World()
    with pytest.raises(ImageError, match=r"no image of `0\.30\.0` was found for cpu"):
        world.resolve("0.30.0", device="cpu")
    assert world.outcomes == [("release", "missing")]


def test_a_release_is_built_where_the_sources_name_no_registry():
    world = World()
    found = world.resolve("0.30.0", device="cpu", nightly="", release="", ci="", **{"release-repository": ""})
    assert found.source.name == "packages" and world.asked == []

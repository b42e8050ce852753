"""What every service's image needs, by configuration and lock; whoever would be asked is a function here."""

import pytest

from stack.config.lock import Lock, LockedEngine, LockedImage
from stack.config.schema import StackConfig
from stack.errors import ImageError
from stack.images.recipe import build_base_recipe, build_engine_recipe
from stack.images.reference import parse_reference
from stack.images.references import WantedImage, load_published_images
from stack.images.wheels import CommitWheel, MissingWheelError
from stack.operations.images.pinned_engine import NoCommitImageError
from stack.operations.images.resolve import read_locked, resolve_images

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "sha256:" + "a" * 64
PLACE = f"docker.io/vllm/vllm-openai-cpu:nightly-{COMMIT}"
WHEEL = CommitWheel("https://wheels.example/vllm.whl", "0.32.1.dev7+g012345678.cpu")
PUBLISHED = load_published_images()
RELEASE = PUBLISHED["engine.cpu"]


def configure(**engine):
    """A configuration whose only service is the engine."""
    images = {"source": engine.pop("source", "auto")}
    off = {name: {"enabled": False} for name in ("prometheus", "grafana", "node-exporter", "dcgm-exporter")}
    return StackConfig.model_validate({"engine": {"device": "cpu"} | engine, "images": images, "services": off})


def lock_engine(reference, source, digest=None):
    entry = LockedImage(reference=reference, digest=digest, device="cpu", source=source)
    return Lock(images={"engine/cpu": entry})


class World:
    """Who could be asked, what they answer, and what they were asked."""

    def __init__(self, *, here=None, image=None, wheel=WHEEL):
        self.here, self.image, self.wheel, self.asked = here or {}, image, wheel, []

    def find_pinned(self, commit, device, config):
        self.asked.append(f"registries for {commit}")
        if self.image is None:
            raise NoCommitImageError("no registry gives it", hint="another way")
        return self.image

    def find_wheel(self, commit, device, config, image):
        self.asked.append(f"wheels for {commit}" + (" with the image here" if image else ""))
        if self.wheel is None:
            raise MissingWheelError("no wheel")
        return self.wheel

    def resolve(self, config, lock=None):
        return resolve_images(
            config, "cpu", lock or Lock(), PUBLISHED, {}, self.here.get,
            find_pinned=self.find_pinned, find_wheel=self.find_wheel,
        )  # fmt: skip


def test_a_pinned_release_is_the_shipped_one_and_nobody_is_asked():
    world = World()
    need = world.resolve(configure(commit=RELEASE.commit, source="registry")).needs["engine"]
    assert (need.action, need.wanted.reference, need.wanted.published) == ("pull", RELEASE.reference, RELEASE)
    assert world.asked == []


def test_where_every_place_is_taken_out_a_pinned_wheel_is_built_and_an_open_commit_is_refused():
    sources = dict.fromkeys(("nightly", "release-repository", "release", "ci"), "")
    config = configure(commit=COMMIT, accept="claimed")
    config = config.model_copy(update={"images": config.images.model_copy(update={"sources": sources})})
    tag = f"localhost/stack/engine:cpu-{COMMIT[:12]}-x"
    entry = LockedImage(reference=tag, device="cpu", source="packages")
    pin = LockedEngine(commit=COMMIT, commit_level="claimed", pinned=COMMIT)
    world = World()
    need = world.resolve(config, Lock(engine=pin, images={"engine/cpu": entry})).needs["engine"]
    assert (need.action, dict(need.recipe.arguments)["WHEEL"]) == ("build", WHEEL.url)
    registry = config.model_copy(update={"images": config.images.model_copy(update={"source": "registry"})})
    with pytest.raises(NoCommitImageError):
        world.resolve(registry)


def test_the_image_of_a_pinned_commit_is_pulled_by_the_digest_that_was_found():
    reference = parse_reference(PLACE).with_digest(DIGEST)
    world = World(image=WantedImage("engine", reference, None))
    need = world.resolve(configure(commit=COMMIT, source="registry")).needs["engine"]
    assert (need.action, need.name) == ("pull", f"docker.io/vllm/vllm-openai-cpu@{DIGEST}")
    assert not need.is_locked
    assert world.asked == [f"registries for {COMMIT}"]


def test_a_locked_image_of_the_commit_is_taken_without_asking():
    world = World()
    need = world.resolve(configure(commit=COMMIT), lock_engine(PLACE, "registry", DIGEST)).needs["engine"]
    assert need.name == f"docker.io/vllm/vllm-openai-cpu@{DIGEST}" and need.is_locked
    assert world.asked == []


def test_a_locked_image_of_another_commit_is_not_taken():
    reference = parse_reference(PLACE).with_digest(DIGEST)
    world = World(image=WantedImage("engine", reference, None))
    lock = lock_engine(PLACE.replace(COMMIT, "f" * 40), "registry", "sha256:" + "b" * 64)
    assert world.resolve(configure(commit=COMMIT), lock).needs["engine"].name.endswith(DIGEST)
    assert world.asked == [f"registries for {COMMIT}"]


@pytest.mark.parametrize("more", [{"source": "registry", "accept": "claimed"}, {"source": "registry"}])
def test_an_explicit_registry_is_never_replaced_by_a_wheel(more):
    world = World()
    with pytest.raises(NoCommitImageError):
        world.resolve(configure(commit=COMMIT, **more))
    assert world.asked == [f"registries for {COMMIT}"]


def test_auto_does_not_build_what_would_be_refused_as_a_claim():
    lock = lock_engine("docker.io/vllm/vllm-openai-cpu:v0.31.0", "registry", DIGEST)
    with pytest.raises(NoCommitImageError):
        World().resolve(configure(commit=COMMIT), lock)


def test_auto_builds_from_the_wheel_where_claims_are_accepted_and_says_so():
    world = World()
    lock = lock_engine("docker.io/vllm/vllm-openai-cpu:v0.31.0", "registry", DIGEST)
    found = world.resolve(configure(commit=COMMIT, accept="claimed"), lock)
    need = found.needs["engine"]
    assert (need.action, need.source) == ("build", "packages")
    arguments = dict(need.recipe.arguments)
    assert (arguments["WHEEL"], arguments["COMMIT"]) == (WHEEL.url, COMMIT)
    assert found.source.source == "registry"
    assert "upstream's wheel, because no registry has an image" in found.source.reason
    assert world.asked == [f"registries for {COMMIT}", f"wheels for {COMMIT}"]


def test_packages_build_a_commit_that_is_no_release_from_its_wheel():
    world = World()
    need = world.resolve(configure(commit=COMMIT, source="packages")).needs["engine"]
    arguments = dict(need.recipe.arguments)
    assert (arguments["DISTRIBUTION"], arguments["VERSION"]) == ("vllm", WHEEL.version)
    assert (arguments["TORCH"], arguments["TORCH_INDEX"]) == ("", "https://download.pytorch.org/whl/cpu")
    assert f"cpu-{COMMIT[:12]}-" in need.name
    assert world.asked == [f"wheels for {COMMIT}"]


def test_packages_build_a_commit_that_is_a_release_from_the_release():
    world = World()
    need = world.resolve(configure(commit=RELEASE.commit, source="packages")).needs["engine"]
    arguments = dict(need.recipe.arguments)
    assert (arguments["WHEEL"], arguments["VERSION"]) == ("", RELEASE.version)
    assert world.asked == []


def test_a_commit_without_a_wheel_is_an_error():
    with pytest.raises(ImageError, match="no wheel"):
        World(wheel=None).resolve(configure(commit=COMMIT, source="packages"))


def test_an_engine_that_was_built_from_the_wheel_is_found_again_without_asking_a_registry():
    base = build_base_recipe("bookworm", "http://deb.debian.org/debian")
    recipe = build_engine_recipe("cpu", base, version=WHEEL.version, commit=COMMIT, wheel=WHEEL.url)
    labels = {"org.opencontainers.image.revision": COMMIT, "dev.stack.wheel": WHEEL.url}
    world = World(here={recipe.tag: {"Id": DIGEST, "Config": {"Labels": labels}}})
    lock = lock_engine(recipe.tag, "packages")
    # Everything else comes from a registry, as the lock has it.
    lock = Lock(
        images=lock.images
        | {"prometheus": LockedImage(reference="docker.io/prom/prometheus:v3", digest=DIGEST, source="registry")}
    )
    config = configure(commit=COMMIT, accept="claimed")
    config = config.model_copy(
        update={
            "services": config.services.model_copy(
                update={"prometheus": config.services.prometheus.model_copy(update={"enabled": True})}
            )
        }
    )
    found = world.resolve(config, lock)
    assert found.source.source == "registry"
    assert (found.needs["engine"].action, found.needs["engine"].name) == ("none", recipe.tag)
    assert found.needs["prometheus"].source == "registry"
    assert world.asked == [f"wheels for {COMMIT} with the image here"]


def test_a_commit_beside_a_named_image_asks_nobody():
    world = World()
    need = world.resolve(configure(commit=COMMIT, image="127.0.0.1:5000/team/engine:1")).needs["engine"]
    assert (need.action, need.name) == ("pull", "127.0.0.1:5000/team/engine:1")
    assert world.asked == []


def test_a_named_engine_is_not_built_where_the_others_are():
    config = configure(commit=COMMIT, image="127.0.0.1:5000/team/engine:1")
    services = config.services.model_copy(
        update={"prometheus": config.services.prometheus.model_copy(update={"enabled": True})}
    )
    lock = Lock(images={"prometheus": LockedImage(reference="localhost/stack/prometheus:x", source="packages")})
    world = World()
    needs = world.resolve(config.model_copy(update={"services": services}), lock).needs
    assert {name: need.action for name, need in needs.items()} == {"engine": "pull", "prometheus": "build"}
    assert world.asked == []


def test_a_lock_gives_each_image_with_its_digest():
    found = read_locked(lock_engine(PLACE, "registry", DIGEST), ["engine", "prometheus"], "cpu")
    assert list(found) == ["engine"]
    assert str(found["engine"].reference) == f"{PLACE}@{DIGEST}"
    assert read_locked(lock_engine(PLACE, "registry", DIGEST), ["engine"], "cuda") == {}

"""What the image of a CUDA engine was built for, and what that rests on: the image here, the lock, a name, the pin."""

from __future__ import annotations

import pytest

from stack.checks.cuda_support import DEFAULT_IMAGE
from stack.config.lock import Lock
from stack.config.schema import StackConfig
from stack.images.references import load_published_images
from stack.operations.images.engine_image import describe_cuda_image, find_cuda_image

PUBLISHED = load_published_images()
DIGEST = "sha256:" + "d" * 64
COMMIT = "c" * 40
ENVIRONMENT = [
    "CUDA_VERSION=12.9.1",
    "NVIDIA_REQUIRE_CUDA=cuda>=12.9 brand=tesla,driver>=535,driver<536",
    "TORCH_CUDA_ARCH_LIST=8.0 9.0",
]


def configure(**engine):
    return StackConfig.model_validate({"engine": engine})


def lock(variant=None, version="0.31.0", pinned="0.31.0", **entry):
    image = {"reference": "docker.io/vllm/vllm-openai:v0.31.0-cu129", "digest": DIGEST, "source": "registry"}
    engine = {"commit": COMMIT, "version": version, "pinned": pinned}
    return Lock.model_validate({"engine": engine, "images": {"engine/cuda": image | {"variant": variant} | entry}})


def find(config, locked, *here, environment=ENVIRONMENT, image_ids=None):
    """Find with these names at the daemon."""
    document = {"Id": "sha256:1", "Config": {"Env": environment}}
    return find_cuda_image(config, locked, PUBLISHED, lambda name: document if name in here else None, image_ids or {})


@pytest.mark.parametrize(
    ("config", "locked", "cuda", "source"),
    [
        (configure(), Lock(), (13, 0), "upstream's images of vLLM 0.31.0"),
        (configure(commit=COMMIT), Lock(), (13, 0), DEFAULT_IMAGE.source),
        (configure(version="0.19.0"), Lock(), None, "upstream's images of vLLM 0.19.0"),
        (configure(), lock("cu129"), (12, 9), "stack.lock, variant cu129"),
        (configure(), lock("cu128"), (12, 8), "stack.lock, variant cu128"),
        (configure(), lock("ubuntu2404"), (13, 0), "stack.lock, vLLM 0.31.0"),
        (configure(), lock(version=None), (13, 0), "stack.lock"),
        (configure(), lock(version="0.18.1"), None, "stack.lock, vLLM 0.18.1"),
        (configure(commit=COMMIT), lock("cu129"), (12, 9), "stack.lock, variant cu129"),
        (configure(version="0.31.0"), lock("cu129"), (12, 9), "stack.lock, variant cu129"),
        (configure(version="0.30.0"), lock("cu129"), (13, 0), "upstream's images of vLLM 0.30.0"),
        (configure(image="acme/vllm:cu128"), lock("cu129"), (12, 8), "the tag of `engine.image`, cu128"),
        (configure(image="vllm/vllm-openai:v0.31.0"), Lock(), (13, 0), "the tag of `engine.image`, v0.31.0"),
        (configure(image="vllm/vllm-openai:v0.12.0"), Lock(), None, "the tag of `engine.image`, v0.12.0"),
        (configure(image="acme/vllm:v0.31.0"), Lock(), None, "`engine.image`, which is not here yet"),
        (configure(image=DIGEST), Lock(), None, "unknown"),
    ],
)
def test_without_the_image_the_lock_or_a_name_tells_and_says_so(config, locked, cuda, source):
    found = find(config, locked)
    assert (found.cuda, found.source) == (cuda, source)
    assert found == describe_cuda_image(config, locked, PUBLISHED)


@pytest.mark.parametrize(
    ("config", "locked", "name"),
    [
        (configure(), Lock(), f"docker.io/vllm/vllm-openai@{PUBLISHED['engine.cuda'].digest}"),
        (configure(), lock(), f"docker.io/vllm/vllm-openai@{DIGEST}"),
        (configure(image="acme/vllm:mine"), lock(), "docker.io/acme/vllm:mine"),
        (configure(image=DIGEST), lock(), DIGEST),
    ],
)
def test_an_image_that_is_here_speaks_for_itself(config, locked, name):
    found = find(config, locked, name)
    assert (found.cuda, found.demanded, found.spared) == ((12, 9), (12, 9), (535,))
    assert (found.arches, found.source) == (("8.0", "9.0"), "the image that is here")


def test_a_loaded_image_is_known_by_its_recorded_id():
    name = f"docker.io/vllm/vllm-openai@{DIGEST}"
    assert find(configure(), lock(), "sha256:1").source == "stack.lock, vLLM 0.31.0"
    assert find(configure(), lock(), "sha256:1", image_ids={name: "sha256:1"}).cuda == (12, 9)


def test_a_mirrors_copy_is_the_image_too():
    config = StackConfig.model_validate({"images": {"mirror": {"docker.io": "mirror.example/hub"}}})
    assert find(config, lock(), f"mirror.example/hub/vllm/vllm-openai@{DIGEST}").cuda == (12, 9)


def test_another_image_than_the_one_that_would_run_says_nothing():
    assert find(configure(commit="a" * 40), lock(), f"docker.io/vllm/vllm-openai@{DIGEST}").cuda == (13, 0)


@pytest.mark.parametrize("here", [("localhost/stack/engine:cuda-0.31.0",), ()])
def test_an_image_built_from_packages_demands_nothing_of_the_driver(here):
    locked = lock(reference="localhost/stack/engine:cuda-0.31.0", digest=None, source="packages")
    found = find(configure(), locked, *here, environment=["PATH=/opt/vllm/bin"])
    assert (found.cuda, found.demanded, found.spared) == ((13, 0), None, ())
    assert found.source == "stack.lock, vLLM 0.31.0"

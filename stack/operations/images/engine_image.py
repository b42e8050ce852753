"""What a CUDA engine's image was built for: read from the image that is here, else what the lock or a name tells."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from stack.checks.cuda_support import DEFAULT_IMAGE, CudaImage, build_variant
from stack.config.lock import Lock, LockedImage
from stack.config.schema import StackConfig
from stack.errors import ImageError
from stack.images.fit import EngineFacts, read_engine_facts
from stack.images.identity import is_upstream
from stack.images.manifests import parse_image_config
from stack.images.reference import apply_mirror, is_digest, parse_reference
from stack.images.references import PublishedImage
from stack.operations.pin.lock import find_pin

FindImage = Callable[[str], Mapping[str, Any] | None]

LOCK_KEY = "engine/cuda"
# Since then upstream's default images have CUDA 13 (.buildkite/release-pipeline.yaml).
_FIRST_WITH_CUDA_13 = (0, 20)


def find_cuda_image(
    config: StackConfig,
    lock: Lock,
    published: Mapping[str, PublishedImage],
    find_image: FindImage,
    image_ids: Mapping[str, str],
) -> CudaImage:
    """Give what the image of a CUDA engine was built for, and what that rests on; asks nobody but the daemon.

    Args:
        config: The configuration.
        lock: The lock as it is.
        published: The shipped table of images.
        find_image: Gives the daemon's inspect document of a name, or None.
        image_ids: The image ID behind each reference when it was accepted.
    """
    told = describe_cuda_image(config, lock, published)
    for name in _list_names(config, lock, published, image_ids):
        document = find_image(name)
        if document is not None:
            facts = read_engine_facts(parse_image_config(document.get("Config") or {}), None)
            here = build_cuda_image(facts, "the image that is here")
            return here if here.cuda else _demand_nothing(told)
    return told


def build_cuda_image(facts: EngineFacts, source: str) -> CudaImage:
    """Give what an image says of itself."""
    return CudaImage(
        cuda=facts.cuda or facts.required_cuda,
        demanded=facts.required_cuda,
        spared=facts.spared_drivers,
        spared_consumer=facts.spared_consumer_drivers,
        arches=facts.arches,
        source=source,
    )


def describe_cuda_image(config: StackConfig, lock: Lock, published: Mapping[str, PublishedImage]) -> CudaImage:
    """Give what is known of the image of a CUDA engine by its name alone: from the configuration, the lock, the pin."""
    asked = config.engine
    if asked.image is not None:
        return _describe_reference(asked.image)
    entry = find_entry(config, lock)
    if entry is not None:
        variant = build_variant(entry.variant)
        if variant is not None:
            return replace(variant, source=f"stack.lock, variant {entry.variant}")
        version = lock.engine.version if lock.engine else None
        locked = _describe_release(version, f"stack.lock, vLLM {version}" if version else "stack.lock")
        return _demand_nothing(locked) if entry.source == "packages" else locked
    version = asked.version or (None if asked.commit else published["engine.cuda"].version)
    return _describe_release(version, f"upstream's images of vLLM {version}" if version else DEFAULT_IMAGE.source)


def find_entry(config: StackConfig, lock: Lock) -> LockedImage | None:
    """Give the lock's image of a CUDA engine, where the configuration asks for no other."""
    asked, locked = config.engine, lock.engine
    is_asked = asked.commit is not None or asked.version is not None
    is_same = locked is not None and asked.commit in (None, locked.commit) and asked.version in (None, locked.version)
    is_used = asked.image is None and (not is_asked or is_same or find_pin(config, lock) is not None)
    return lock.images.get(LOCK_KEY) if is_used else None


def _list_names(
    config: StackConfig, lock: Lock, published: Mapping[str, PublishedImage], image_ids: Mapping[str, str]
) -> list[str]:
    """List the names under which the image may be here; a tag alone counts where no digest is known."""
    asked, entry = config.engine, find_entry(config, lock)
    if asked.image is not None and is_digest(asked.image):
        return [asked.image]
    if asked.image is not None:
        reference = parse_reference(asked.image)
    elif entry is not None:
        reference = parse_reference(entry.reference)
        reference = reference.with_digest(entry.digest) if entry.digest else reference
    elif asked.commit is None and asked.version is None:
        reference = published["engine.cuda"].reference
    else:
        return []
    places = dict.fromkeys((reference, apply_mirror(reference, config.images.mirror)))
    if reference.digest is None:
        return [str(place) for place in places]
    names = [f"{place.name}@{reference.digest}" for place in places]
    return [*names, *(image_ids[name] for name in names if name in image_ids)]


def _describe_reference(text: str) -> CudaImage:
    """Give what a named image's tag tells."""
    try:
        reference = parse_reference(text)
    except ImageError:
        return CudaImage()
    variant = build_variant(reference.tag)
    if variant is not None:
        return replace(variant, source=f"the tag of `engine.image`, {reference.tag}")
    match = re.match(r"v(\d+\.\d+)", reference.tag or "")
    if match is None or not is_upstream(reference):
        return CudaImage(source="`engine.image`, which is not here yet")
    return _describe_release(match[1], f"the tag of `engine.image`, {reference.tag}")


def _describe_release(version: str | None, source: str) -> CudaImage:
    """Give what upstream's default image of a release was built for; nothing is said of those before CUDA 13."""
    match = re.match(r"(\d+)\.(\d+)", version or "")
    if match is not None and (int(match[1]), int(match[2])) < _FIRST_WITH_CUDA_13:
        return CudaImage(source=source)
    return replace(DEFAULT_IMAGE, source=source)


def _demand_nothing(image: CudaImage) -> CudaImage:
    """Give the facts of an image that is built from packages: without NVIDIA's base nothing is demanded at start."""
    return replace(image, demanded=None, spared=(), spared_consumer=())

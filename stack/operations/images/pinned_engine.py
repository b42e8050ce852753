"""A pinned commit that the shipped table does not have: upstream's image of it, or upstream's wheel.

Registries and the wheel host are asked within the configuration's time limits, and only where neither the
lock nor an image that is here tells.
"""

from __future__ import annotations

import platform
import queue
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import httpx2

from stack.config.schema import StackConfig
from stack.errors import ImageError
from stack.images.reference import ImageReference, apply_mirror
from stack.images.references import Device, WantedImage
from stack.images.registry import Registry
from stack.images.registry_auth import read_docker_login
from stack.images.registry_errors import MissingImageError
from stack.images.wheels import CommitWheel, fetch_commit_wheel, load_wheel_host
from stack.operations.images.wanted import list_commit_places
from stack.operations.offline import demand_online

Said = TypeVar("Said")

# A registry that wants a token is asked three times: without one, for one, and with it.
_REQUESTS_PER_ANSWER = 3
_COMMIT_LABEL = "org.opencontainers.image.revision"
_VERSION_LABEL = "org.opencontainers.image.version"
_WHEEL_LABEL = "dev.stack.wheel"


class NoCommitImageError(ImageError):
    """No registry that upstream publishes to gives an engine image of a commit."""


def open_http(config: StackConfig) -> httpx2.Client:
    """Open a client that trusts `images.ca-bundle` beside what this machine trusts.

    Raises:
        OfflineError: `offline` lets nobody out.
    """
    demand_online(config, "every registry")
    bundle = config.images.ca_bundle
    if bundle is None:
        return httpx2.Client()
    trusted = ssl.create_default_context()
    trusted.load_verify_locations(cafile=str(bundle))
    return httpx2.Client(verify=trusted)


def find_commit_image(commit: str, device: Device, config: StackConfig) -> WantedImage:
    """Find upstream's engine image of a commit, pinned by the digest that its registry or mirror serves now.

    Raises:
        NoCommitImageError: None of the places where upstream may have it gives it.
    """
    images = config.images

    def ask(reference: ImageReference) -> str:
        with open_http(config) as http:
            registry = Registry(
                http,
                timeout_seconds=images.timeout_seconds,
                retries=min(1, images.retries),
                credentials=read_docker_login,
            )
            return registry.fetch_digest(apply_mirror(reference, images.mirror))

    limit = images.timeout_seconds * _REQUESTS_PER_ANSWER
    answers = ask_references(list_commit_places(images, commit, device), ask, timeout_seconds=limit)
    return select_image(commit, device, answers)


def ask_references(
    references: Sequence[ImageReference],
    ask: Callable[[ImageReference], Said],
    *,
    timeout_seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> dict[ImageReference, Said | ImageError]:
    """Ask for something of each reference side by side; what says nothing in time is an error too.

    Args:
        references: What to ask for; the answers keep their order.
        ask: Gives the answer, or raises ImageError.
        timeout_seconds: How long to wait in all. A name server that does not answer cannot be interrupted,
            so such a question is left behind in a daemon thread.
        clock: Seconds that only grow.
    """
    said: queue.SimpleQueue[tuple[ImageReference, Said | ImageError]] = queue.SimpleQueue()

    def answer(reference: ImageReference) -> None:
        try:
            said.put((reference, ask(reference)))
        except ImageError as err:
            said.put((reference, err))

    for reference in references:
        threading.Thread(target=answer, args=(reference,), name=f"ask for {reference}", daemon=True).start()
    found: dict[ImageReference, Said | ImageError] = {}
    deadline = clock() + timeout_seconds
    while len(found) < len(references):
        try:
            reference, result = said.get(timeout=max(0.0, deadline - clock()))
        except queue.Empty:
            break
        found[reference] = result
    silent = ImageError(f"no answer within {timeout_seconds:g} s")
    return {reference: found.get(reference, silent) for reference in references}


def select_image(commit: str, device: Device, answers: Mapping[ImageReference, str | ImageError]) -> WantedImage:
    """Take the first reference that has a digest.

    Raises:
        NoCommitImageError: None has; the message says what each place answered.
    """
    for reference, answer in answers.items():
        if isinstance(answer, str):
            return WantedImage("engine", reference.with_digest(answer), None)
    lines = [f"no registry gives an engine image of commit {commit} for {device}:"]
    for reference, answer in answers.items():
        said = "it has no such tag" if isinstance(answer, MissingImageError) else str(answer)
        lines.append(f"- {reference}: {said}")
    hint = (
        "name an image of the commit with `engine.image`, or build one from upstream's wheel: "
        "`--images packages --accept claimed`"
    )
    if any(isinstance(answer, MissingImageError) for answer in answers.values()):
        hint += "\nupstream has images of releases and nightlies only, and deletes nightly tags after two weeks"
    else:
        hint += "\nwhere a registry could not be asked, check the network, or name a mirror in `images.mirror`"
    raise NoCommitImageError("\n".join(lines), hint=hint)


def find_commit_wheel(commit: str, device: Device, config: StackConfig, image: Mapping[str, Any] | None) -> CommitWheel:
    """Find upstream's wheel of a commit: by the image that was built from it, else by asking upstream.

    Args:
        commit: 40 hex digits.
        device: `cpu` or `cuda`.
        config: Certificates and time limits, and whether anybody may be asked.
        image: The inspect document of the locked image, where it is here.

    Raises:
        ImageError: There is none, or upstream's host cannot be reached.
    """
    known = read_wheel(image, commit)
    if known is not None:
        return known
    with open_http(config) as http:
        return fetch_commit_wheel(
            http,
            commit,
            device,
            platform.machine(),
            host=load_wheel_host(config.images.sources),
            timeout_seconds=config.images.timeout_seconds,
            retries=min(1, config.images.retries),
        )


def read_wheel(image: Mapping[str, Any] | None, commit: str) -> CommitWheel | None:
    """Give the wheel that an image was built from, or None where it was not, or is of another commit."""
    labels = (image or {}).get("Config", {}).get("Labels") or {}
    if labels.get(_COMMIT_LABEL) != commit or not labels.get(_WHEEL_LABEL):
        return None
    return CommitWheel(labels[_WHEEL_LABEL], labels.get(_VERSION_LABEL, ""))

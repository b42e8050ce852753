"""Whom `stack pin` asks: registries within time limits, the Docker daemon where there is one, this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import docker

from stack.config.schema import StackConfig
from stack.containers.daemon import read_image, translated
from stack.errors import HostError, ImageError
from stack.images.archive_store import Archive
from stack.images.manifests import RemoteImage
from stack.images.recipe import ImageRecipe
from stack.images.reference import ImageReference
from stack.images.references import Device, PublishedImage
from stack.images.registry import Registry
from stack.images.registry_auth import read_docker_login
from stack.images.registry_errors import UnreachableRegistryError
from stack.operations.images.pinned_engine import ask_references, find_commit_wheel, open_http
from stack.operations.images.wanted import build_recipes
from stack.operations.offline import demand_online
from stack.operations.pin.found import PinWorld, Step
from stack.operations.pin.target import PinTarget
from stack.operations.resolve import machine_platform
from stack.operations.session import Session
from stack.progress import ProgressEvent

_COMMIT_LABEL = "org.opencontainers.image.revision"
_RETRIES = 2
# Questions, answers and pauses of one image: a registry that wants a token is asked five times.
_REQUESTS = 5
_PAUSES_SECONDS = 60.0

Said = TypeVar("Said")


class RegistryDesk:
    """Asks registries, each question within a limit that a name server which does not answer cannot stretch.

    Args:
        config: Certificates, time limits and retries, and whether anybody may be asked.
        report: Told whom we wait for.
    """

    def __init__(self, config: StackConfig, report: Callable[[ProgressEvent], None]) -> None:
        self._config = config
        self._report = report

    def fetch_image(self, reference: ImageReference) -> RemoteImage:
        """Describe an image.

        Raises:
            ImageError: It cannot be had.
        """
        return self._ask(reference, lambda registry: registry.fetch_image(reference, platform=machine_platform()))

    def fetch_digest(self, reference: ImageReference) -> str:
        """Give what a reference points at now.

        Raises:
            ImageError: The registry does not tell.
        """
        return self._ask(reference, lambda registry: registry.fetch_digest(reference))

    def _ask(self, reference: ImageReference, question: Callable[[Registry], Said]) -> Said:
        config = self._config.images
        demand_online(self._config, reference.registry)
        limit = config.timeout_seconds * _REQUESTS + _PAUSES_SECONDS

        def ask(asked: ImageReference) -> Said:
            with open_http(self._config) as http:
                registry = Registry(
                    http,
                    timeout_seconds=config.timeout_seconds,
                    retries=min(_RETRIES, config.retries),
                    credentials=read_docker_login,
                )
                return question(registry)

        self._report(ProgressEvent("pin", f"asking {reference.registry}"))
        answer = ask_references([reference], ask, timeout_seconds=limit)[reference]
        self._report(ProgressEvent("pin", f"{reference.registry} was asked", state="done"))
        if not isinstance(answer, ImageError):
            return answer
        if str(answer).startswith("no answer within"):
            raise UnreachableRegistryError(f"{reference.registry} is not reachable: {answer}") from answer
        raise answer


def build_world(
    session: Session,
    client: docker.DockerClient | None,
    device: Device,
    published: Mapping[str, PublishedImage],
    tell: Callable[[Step], None],
) -> PinWorld:
    """Give whom a pin asks."""
    desk = RegistryDesk(session.config, session.report)

    def find_local(target: PinTarget) -> Iterator[Mapping[str, Any]]:
        yield from _find_local(client, target)
        yield from find_archived(Archive(session.config.images.archive_dir), target)

    def find_recipe(target: PinTarget) -> ImageRecipe:
        is_commit = target.kind == "commit"
        if not is_commit:
            demand_online(session.config, "every package index")
        if not is_commit and session.config.images.source == "registry":
            raise ImageError('`images.source = "registry"` lets nothing be built')
        asked = {"commit": target.commit if is_commit else None, "version": None if is_commit else target.version}
        config = session.config.model_copy(update={"engine": session.config.engine.model_copy(update=asked)})
        return _build_recipe(config, device, published)

    return PinWorld(desk.fetch_image, desk.fetch_digest, find_local, find_recipe, tell)


def connect_if_there(session: Session) -> docker.DockerClient | None:
    """Give a connection to the Docker daemon, or None: a pin can be written where none runs."""
    try:
        return session.connect()
    except HostError:
        return None


def _find_local(client: docker.DockerClient | None, target: PinTarget) -> Iterator[Mapping[str, Any]]:
    if client is None:
        return
    with translated("listing images"):
        if target.digest is not None:
            listed = [image for image in client.images.list() if _has_digest(image.attrs, target.digest)]
        else:
            listed = client.images.list(filters={"label": f"{_COMMIT_LABEL}={target.commit}"})
    for image in listed:
        document = read_image(client, str(image.id))
        if document is not None:
            yield document


def find_archived(archive: Archive, target: PinTarget) -> Iterator[Mapping[str, Any]]:
    """Give the images of the archive that say they are of a commit, or have a digest, as a daemon would show them.

    Each goes by the name that was asked for it when it came: that is who vouched for the digest.
    """
    try:
        images = archive.read_images()
    except ImageError:
        return
    for image in images.values():
        is_it = image.digest == target.digest if target.digest else image.commit == target.commit
        if not is_it or image.commit is None and target.digest is None or archive.find(image.digest) is None:
            continue
        try:
            archive.read_manifest(image)
            config = json.loads(archive.read_small(image.image_id)).get("config") or {}
        except (ImageError, ValueError, AttributeError):
            continue
        yield {"Config": config, "RepoDigests": [image.served_by], "RepoTags": [image.reference]}


def _has_digest(document: Mapping[str, Any], digest: str) -> bool:
    return any(name.endswith(f"@{digest}") for name in document.get("RepoDigests") or [])


def _build_recipe(config: StackConfig, device: Device, published: Mapping[str, PublishedImage]) -> ImageRecipe:
    recipes, _ = build_recipes(
        config, ["engine"], device, published, lambda commit: find_commit_wheel(commit, device, config, None)
    )
    return recipes["engine"]

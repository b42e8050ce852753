"""Pulls: the tag compared with the digest first, then by digest, with bytes told as they come."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import docker.errors
import requests

from stack.errors import ImageError
from stack.images.layer_progress import LayerProgress
from stack.images.pull_failures import BrokenPullError, build_pull_error
from stack.images.reference import ImageReference, apply_mirror
from stack.images.registry import Registry
from stack.images.registry_errors import MissingImageError
from stack.progress import ProgressEvent, Report

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

log = logging.getLogger(__name__)

Found = Literal["here", "registry", "mirror"]
MovedTag = Literal["stop", "tell"]

_LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True)
class PulledImage:
    """An image that is here now.

    Attributes:
        reference: What it is called on this machine, with the digest; a mirror's name if a mirror served it.
        digest: The digest it was pulled by, None where only the recorded image ID tells that it is the one.
        image_id: Docker's ID of it.
        source: `here` already, or from a `registry`, or a `mirror` of one.
    """

    reference: ImageReference
    digest: str | None
    image_id: str
    source: Found


def find_local_image(
    client: DockerClient, reference: ImageReference, image_id: str | None = None
) -> PulledImage | None:
    """Look for an image that is here already and is exactly the wanted one: by digest, or by its recorded ID.

    Args:
        client: The Docker engine.
        reference: The wanted image; found by its digest, if it has one.
        image_id: The ID recorded for it here, for an image that came without a digest (`docker load`).

    Raises:
        ImageError: The Docker engine does not answer.
    """
    if reference.digest:
        image = _get_image(client, f"{reference.name}@{reference.digest}")
        if image is not None:
            return PulledImage(reference, reference.digest, str(image.id), "here")
    if image_id:
        image = _get_image(client, image_id)
        if image is not None and image.id == image_id:
            return PulledImage(reference, None, image_id, "here")
    return None


@dataclass(frozen=True)
class Puller:
    """Brings images here.

    Attributes:
        client: The Docker engine.
        registry: Asked what a tag points at before anything is moved.
        mirror: `images.mirror`.
        platform: This machine's, as `os/architecture`.
        retries: How often a pull that broke off is taken up again; layers that are whole stay.
        sleep: Waits for seconds.
    """

    client: DockerClient
    registry: Registry
    mirror: Mapping[str, str] = field(default_factory=dict)
    platform: str = "linux/amd64"
    retries: int = 4
    sleep: Callable[[float], None] = time.sleep

    def pull(
        self,
        wanted: ImageReference,
        *,
        report: Report,
        image_id: str | None = None,
        moved_tag: MovedTag = "stop",
    ) -> PulledImage:
        """Bring one image here, by its digest; one that is here already is not asked for.

        Args:
            wanted: The tag, and the digest that is recorded or locked for it, if any.
            report: Told the bytes.
            image_id: The ID recorded for the image on this machine.
            moved_tag: What to do where the tag points at another digest by now or is gone: `stop`, or `tell`
                and pull the digest, as a lock wants it.

        Raises:
            ImageError: It cannot be had, or the tag does not point at the digest.
        """
        asked = apply_mirror(wanted, self.mirror)
        task = f"pull {wanted.repository.removeprefix('library/')}"
        for name in dict.fromkeys((asked, wanted)):
            here = find_local_image(self.client, name, image_id)
            if here is not None:
                report(ProgressEvent(task, "already here", state="done"))
                return here
        try:
            digest = self._choose_digest(wanted, asked, moved_tag, task, report)
            return self._pull_missing(wanted, asked.with_digest(digest), task, report)
        except ImageError as err:
            report(ProgressEvent(task, err.message, state="failed"))
            raise

    def _choose_digest(
        self, wanted: ImageReference, asked: ImageReference, moved_tag: MovedTag, task: str, report: Report
    ) -> str:
        report(ProgressEvent(task, f"asking {asked.registry}"))
        try:
            return check_tag(self.registry, asked, name=wanted)
        except MovedTagError as err:
            if moved_tag == "stop":
                raise
            report(ProgressEvent(task, f"{asked.tag} is {err.served} by now; the locked digest is pulled"))
            return err.expected
        except MissingImageError:
            if moved_tag == "stop" or not (asked.tag and asked.digest):
                raise
            # Upstream deletes nightly tags; the digest may outlive them for a while.
            report(ProgressEvent(task, f"{asked.tag} is gone from {asked.registry}; the locked digest is pulled"))
            return asked.digest

    def _pull_missing(self, wanted: ImageReference, pinned: ImageReference, task: str, report: Report) -> PulledImage:
        remote = self.registry.fetch_image(pinned, platform=self.platform)
        for attempt in range(self.retries + 1):
            try:
                _run_pull(self.client, pinned, LayerProgress(remote.layer_sizes_bytes), task, report)
                break
            except BrokenPullError as err:
                if attempt == self.retries:
                    raise ImageError(
                        f"the pull of `{pinned}` broke off {attempt + 1} times: {err}",
                        hint="run the command again: whole layers are kept",
                    ) from err
                pause = min(_LONGEST_PAUSE_SECONDS, 2.0**attempt)
                report(ProgressEvent(task, f"broke off ({err}); again in {pause:.0f} s"))
                self.sleep(pause)
        image = _get_image(self.client, f"{pinned.name}@{pinned.digest}")
        if image is None:
            raise ImageError(f"the Docker engine says to have pulled `{pinned}`, but does not have it")
        report(ProgressEvent(task, str(pinned.digest), remote.size_bytes, remote.size_bytes, "done"))
        source: Found = "registry" if pinned.name == wanted.name else "mirror"
        return PulledImage(pinned, pinned.digest, str(image.id), source)


class MovedTagError(ImageError):
    """A tag points at another digest than the one recorded or locked for it.

    Args:
        wanted: The image by the name that the user knows.
        registry: Who said so.
        expected: The digest on record.
        served: The digest that the registry gives now.
    """

    def __init__(self, wanted: ImageReference, registry: str, expected: str, served: str) -> None:
        self.expected = expected
        self.served = served
        tag, new = wanted.with_digest(None), wanted.with_digest(served)
        super().__init__(
            f"`{tag}` should be {expected}, but {registry} serves {served}: the tag was moved, "
            "or something in between is not honest",
            hint=f'if upstream moved it on purpose, name the new one in the config: "{new}"',
        )


def check_tag(registry: Registry, reference: ImageReference, *, name: ImageReference | None = None) -> str:
    """Ask what the tag points at and compare it with the digest known for it; gives the digest.

    Args:
        registry: The client.
        reference: What to ask for; its digest is what the tag should point at.
        name: What to call it in the error, where a mirror is asked instead.

    Raises:
        MovedTagError: The tag points at another digest.
        ImageError: The registry does not tell.
    """
    served = registry.fetch_digest(reference.with_digest(None) if reference.tag else reference)
    if reference.digest and served != reference.digest:
        raise MovedTagError(name or reference, reference.registry, reference.digest, served)
    return served


def _run_pull(client: DockerClient, pinned: ImageReference, progress: LayerProgress, task: str, report: Report) -> None:
    for event in _stream_pull(client, pinned):
        error = event.get("error")
        if error:
            raise build_pull_error(str(error), pinned)
        if progress.add(event):
            text = "extracting" if event.get("status") == "Extracting" else ""
            report(ProgressEvent(task, text, progress.completed_bytes, progress.total_bytes))


def _stream_pull(client: DockerClient, pinned: ImageReference) -> Iterator[Mapping[str, Any]]:
    try:
        yield from client.api.pull(pinned.name, tag=pinned.digest, stream=True, decode=True)
    except docker.errors.APIError as err:
        raise build_pull_error(err.explanation or str(err), pinned) from err
    except docker.errors.DockerException as err:
        raise ImageError(f"the Docker engine cannot be asked for `{pinned}`: {err}") from err
    except (requests.RequestException, ConnectionError) as err:
        raise BrokenPullError(f"the connection to the Docker engine was lost: {err}") from err


def _get_image(client: DockerClient, name: str) -> Image | None:
    try:
        return client.images.get(name)
    except docker.errors.ImageNotFound:
        return None
    except (docker.errors.DockerException, requests.RequestException) as err:
        raise ImageError(f"the Docker engine cannot be asked for `{name}`: {err}") from err

"""Have the images here: pulls by digest, builds from packages, and what the lock learns from them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import docker

from stack.errors import ImageError
from stack.images.archive_layout import ArchivedImage
from stack.images.archive_load import load_image
from stack.images.archive_store import Archive
from stack.images.pull import MovedTag, PulledImage, Puller, find_local_image
from stack.images.reference import ImageReference, apply_mirror, parse_reference
from stack.images.registry import Registry
from stack.images.registry_auth import read_docker_login
from stack.operations.images.build import ImageBuilder
from stack.operations.images.build_records import keep_record
from stack.operations.images.keep import note_lock, open_archiver
from stack.operations.images.needs import ImageNeed
from stack.operations.images.pinned_engine import open_http
from stack.operations.resolve import Resolved, machine_platform
from stack.operations.session import Session


@dataclass(frozen=True)
class FetchedImage:
    """An image that is here now.

    Attributes:
        need: What was needed.
        name: What Compose is told.
        image_id: The image's ID here.
        pulled: What the pull said, or None for an image that was here, was built or was loaded.
        record: What a build wrote down, or None for an image that was not built now.
    """

    need: ImageNeed
    name: str
    image_id: str
    pulled: PulledImage | None
    record: bytes | None = None


class ImageFetcher:
    """Fetches images for one `up`; its methods may run side by side.

    Args:
        session: The run.
        client: The daemon.
        resolved: The decisions.
        sleep: Waits for seconds before a failed build is tried again.
    """

    def __init__(
        self,
        session: Session,
        client: docker.DockerClient,
        resolved: Resolved,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._session = session
        self._client = client
        self._resolved = resolved
        self._fetched: dict[str, FetchedImage] = {}
        self._builder = ImageBuilder(session, client, sleep=sleep)
        for service, need in resolved.needs.items():
            if need.action == "none" and need.image_id is not None:
                self._fetched[service] = FetchedImage(need, need.name, need.image_id, None)

    def fetch(self, need: ImageNeed) -> str:
        """Have one image here, and give the name that Compose is told; the archive stands in for a failed pull.

        Raises:
            ImageError: It cannot be had.
            CommandError: A build failed.
        """
        fetched = self._fetch(need)
        self._fetched[need.service] = fetched
        return fetched.name

    def build_base(self) -> None:
        """Make the Debian base that builds start from."""
        self._builder.build_base()

    def stop(self) -> None:
        """End the builds that run, for whoever is interrupted; pulls end with our process."""
        self._builder.stop()

    def fetched(self, service: str) -> FetchedImage:
        """Give what is known of a service's image."""
        return self._fetched[service]

    def read_record(self, service: str) -> dict[str, Any] | None:
        """Give the record of a service's image; None for one that was not built here from packages.

        An image that came from elsewhere runs as well without: a record of it that is none is said, and left alone.

        Raises:
            ImageError: The record of what was just built cannot be read.
        """
        fetched = self._fetched[service]
        if fetched.need.recipe is None:
            return None
        try:
            return keep_record(self._session.paths, self._client, service, fetched.image_id, fetched.record)
        except ImageError as err:
            if fetched.record is not None:
                raise
            self._session.say(f"warning: {err.message}; {service} goes without one")
            return None

    def services(self) -> list[str]:
        """List the services whose images are here."""
        return list(self._fetched)

    def image_ids(self) -> dict[str, str]:
        """Give the image ID behind each image that Compose is told."""
        known = dict(self._resolved.facts.image_ids)
        fetched = list(self._fetched.values())
        exact = {item.need.archived.name: item.image_id for item in fetched if item.need.archived is not None}
        return known | {item.name: item.image_id for item in fetched} | exact

    def _fetch(self, need: ImageNeed) -> FetchedImage:
        if need.action == "build":
            return self._build(need)
        if need.action == "load" and need.archived is not None:
            return self._load(need, need.archived)
        if need.is_kept and need.wanted is not None:
            try:
                return self._load(need, self._keep(need.wanted.reference))
            except ImageError as err:
                self._session.say(f"warning: the archive cannot be used: {err.message}; the image is pulled without it")
        try:
            return self._pull(need)
        except ImageError as err:
            image = self._resolved.archived.get(need.wanted.reference.digest or "") if need.wanted else None
            if image is None:
                raise
            self._session.say(f"warning: {err.message}; the archive has it")
            return self._load(need, image)

    def _keep(self, reference: ImageReference) -> ArchivedImage:
        config, lock = self._session.config.images, str(self._session.lock_path.absolute())
        archive, asked = Archive(config.archive_dir), apply_mirror(reference, config.mirror)
        found = archive.find(reference.digest or "")
        if found is not None:
            note_lock(archive, found, lock)
            return found
        with open_archiver(self._session, archive) as archiver:
            return archiver.keep(reference, asked, lock=lock)

    def _load(self, need: ImageNeed, image: ArchivedImage) -> FetchedImage:
        archive = Archive(self._session.config.images.archive_dir)
        image_id = load_image(self._client, archive, image, self._session.report)
        # Containerd's store keeps the digest, and then the next `up` finds the image by it: one name for both.
        exact = find_local_image(self._client, parse_reference(image.served_by))
        name = f"{exact.reference.name}@{exact.digest}" if exact is not None else image_id
        return FetchedImage(replace(need, archived=image), name, image_id, None)

    def _pull(self, need: ImageNeed) -> FetchedImage:
        assert need.wanted is not None
        config = self._session.config.images
        with open_http(self._session.config) as http:
            registry = Registry(
                http, timeout_seconds=config.timeout_seconds, retries=config.retries, credentials=read_docker_login
            )
            puller = Puller(self._client, registry, config.mirror, machine_platform(), config.retries)
            moved_tag: MovedTag = "tell" if need.is_locked else "stop"
            pulled = puller.pull(
                need.wanted.reference,
                report=self._session.report,
                image_id=need.image_id,
                moved_tag=moved_tag,
            )
        name = f"{pulled.reference.name}@{pulled.digest}" if pulled.digest else pulled.image_id
        return FetchedImage(need, name, pulled.image_id, pulled)

    def _build(self, need: ImageNeed) -> FetchedImage:
        assert need.recipe is not None
        record = self._builder.build(need.recipe, need.name)
        image = self._client.images.get(need.name)
        return FetchedImage(need, need.name, str(image.id), None, record)

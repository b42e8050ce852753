"""From configuration, lock and machine to everything that `up` needs to know, changing nothing."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import docker

from stack.checks.cuda_support import CudaImage
from stack.checks.gpus import read_gpus
from stack.config.lock import Lock
from stack.config.places import resolve_home
from stack.config.schema import StackConfig
from stack.containers.daemon import ServiceState, read_image, read_services
from stack.images.archive_layout import ArchivedImage
from stack.images.archive_store import Archive
from stack.images.references import PublishedImage, load_published_images
from stack.images.source import SourceChoice
from stack.models.facts import ModelFacts, build_model_facts
from stack.models.find import find_snapshot
from stack.models.hub import is_commit
from stack.models.hub_access import is_hub_reachable
from stack.models.reference import ModelReference, parse_model_reference
from stack.models.snapshot import Snapshot
from stack.operations.choices import Choice, DeviceChoice, choose_device, choose_model, narrow_to_one_gpu
from stack.operations.images.archived import ask_registry, find_archived_ids, mark_kept, read_archived, use_archive
from stack.operations.images.engine_image import find_cuda_image
from stack.operations.images.needs import ImageNeed
from stack.operations.images.resolve import resolve_images
from stack.operations.pin.lock import describe_pin
from stack.operations.ports import choose_ports
from stack.operations.project import ProjectFacts, load_facts
from stack.operations.session import Session, has_gpu_runtime, load_project_lock


@dataclass(frozen=True)
class Resolved:
    """What `up` will work with.

    Attributes:
        device: Where the engine runs.
        source: Where images come from.
        model: Which model, with the reason.
        reference: The model as a reference.
        locked_revision: The model's revision in the lock, where it is of this model.
        snapshot: The model's files, where they are on the volume already.
        model_facts: What the model's own files say, where they are here.
        needs: What each service's image needs.
        left_out: Services that do not run, with the reason.
        ports: The host's port of each published service.
        published: The shipped table of images.
        lock: The lock as it is.
        facts: This machine's small facts.
        running: The project's containers now.
        pin: What `stack pin` has to do with the engine; None where nothing is pinned.
        archived: What the archive has, by digest.
        cuda_image: What the image of a CUDA engine was built for, and what that rests on.
        is_offline: Whether nobody outside of this machine was asked, nor may be.
    """

    device: DeviceChoice
    source: SourceChoice
    model: Choice
    reference: ModelReference
    locked_revision: str | None
    snapshot: Snapshot | None
    model_facts: ModelFacts | None
    needs: Mapping[str, ImageNeed]
    left_out: Mapping[str, str]
    ports: Mapping[str, int]
    published: Mapping[str, PublishedImage]
    lock: Lock
    facts: ProjectFacts
    running: Mapping[str, ServiceState]
    pin: Choice | None = None
    archived: Mapping[str, ArchivedImage] = field(default_factory=dict)
    cuda_image: CudaImage = CudaImage()
    is_offline: bool = False

    @property
    def choices(self) -> list[Choice]:
        """Give every decision with its reason."""
        source = Choice("images.source", self.source.source, self.source.reason)
        pin = [self.pin] if self.pin is not None else []
        offline = [Choice("offline", "true", "as asked", is_automatic=False)] if self.is_offline else []
        return [*offline, self.device.choice, *pin, source, self.model]


def resolve(
    session: Session, client: docker.DockerClient, *, ask_hub: Callable[[], tuple[bool, str]] | None = None
) -> Resolved:
    """Find out everything that `up` needs to know; asks the network only where nothing here tells.

    Args:
        session: The session.
        client: A connection to the daemon.
        ask_hub: Tells whether the model hub answers; None asks it.

    Raises:
        StackError: What was asked for cannot be had here.
    """
    config = session.config
    lock = load_project_lock(session)
    archived, facts = _read_facts(session, lock)
    running = read_services(client, session.project)
    published = load_published_images()
    find_image = partial(read_image, client)
    cuda_image = find_cuda_image(config, lock, published, find_image, facts.image_ids)
    device = choose_device(config, read_gpus(), cuda_image, lambda: has_gpu_runtime(client))
    images = resolve_images(config, device.device, lock, published, facts.image_ids, find_image)
    needs = use_archive(images.needs, archived, config.images.mirror, ask_registry(config))
    if not config.offline:
        needs = mark_kept(needs, config.images, lock.images.get(f"engine/{device.device}"))
    model = choose_model(config, _locked_model(lock), device, ask_hub or (lambda: _ask_hub(config)))
    base = session.loaded.path.parent if session.loaded.path else None
    reference = parse_model_reference(model.value, home=resolve_home(session.environ), base=base)
    locked_revision = lock.model.revision if lock.model is not None and lock.model.id == model.value else None
    if config.model.revision is not None and is_commit(config.model.revision):
        locked_revision = config.model.revision
    snapshot = find_snapshot(reference, revision=locked_revision or config.model.revision, volume=config.model.volume)
    model_facts = build_model_facts(snapshot.path) if snapshot else None
    if model_facts is not None:
        device = narrow_to_one_gpu(device, model_facts.attention_heads, config)
    ports = choose_ports(config, list(needs), facts.ports, running)
    return Resolved(
        device, images.source, model, reference, locked_revision, snapshot, model_facts, needs,
        images.left_out, ports, published, lock, facts, running, _choose_pin(config, lock, device.device), archived,
        cuda_image, config.offline,
    )  # fmt: skip


def _read_facts(session: Session, lock: Lock) -> tuple[dict[str, ArchivedImage], ProjectFacts]:
    """Read what the archive has, and this machine's small facts with what it knows of image IDs."""
    archive = Archive(session.config.images.archive_dir)
    archived, facts = read_archived(archive, session.say), load_facts(session.paths.facts)
    return archived, replace(facts, image_ids={**find_archived_ids(archive, archived, lock), **facts.image_ids})


def _choose_pin(config: StackConfig, lock: Lock, device: str) -> Choice | None:
    found = describe_pin(config, lock, device)
    return Choice("engine", *found, is_automatic=False) if found is not None else None


def _locked_model(lock: Lock) -> str | None:
    return lock.model.id if lock.model is not None else None


def _ask_hub(config: StackConfig) -> tuple[bool, str]:
    return is_hub_reachable(config.model.endpoint, config.images.timeout_seconds)


def machine_platform() -> str:
    """Give this machine's platform as registries spell it."""
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    return f"linux/{names.get(platform.machine(), platform.machine())}"

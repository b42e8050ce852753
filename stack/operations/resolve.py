"""From configuration, lock and machine to everything that `up` needs to know, changing nothing."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import docker
import httpx2

from stack.checks.gpus import read_gpus
from stack.config.lock import Lock
from stack.config.places import resolve_home
from stack.config.schema import StackConfig
from stack.containers.daemon import ServiceState, read_image, read_services
from stack.images.reference import apply_mirror, parse_reference
from stack.images.references import PublishedImage, load_published_images
from stack.images.registry import is_registry_reachable
from stack.images.source import SourceChoice, choose_source, probe_registries
from stack.models.ensure import find_snapshot
from stack.models.facts import ModelFacts, build_model_facts
from stack.models.hub import is_commit
from stack.models.hub_access import is_hub_reachable
from stack.models.reference import ModelReference, parse_model_reference
from stack.models.snapshot import Snapshot
from stack.operations.choices import Choice, DeviceChoice, choose_device, choose_model, narrow_to_one_gpu
from stack.operations.needs import (
    ImageNeed,
    LockedImage,
    build_recipes,
    build_wanted,
    is_image_id,
    list_services,
    read_overrides,
    resolve_image_id,
    resolve_packages_need,
    resolve_registry_need,
)
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

    @property
    def choices(self) -> list[Choice]:
        """Give every decision with its reason."""
        source = Choice("images.source", self.source.source, self.source.reason)
        return [self.device.choice, source, self.model]


def resolve(session: Session, client: docker.DockerClient) -> Resolved:
    """Find out everything that `up` needs to know; asks the network only where nothing here tells.

    Raises:
        StackError: What was asked for cannot be had here.
    """
    config = session.config
    lock = load_project_lock(session)
    facts = load_facts(session.paths.facts)
    running = read_services(client, session.project)
    device = choose_device(config, read_gpus(), lambda: has_gpu_runtime(client))
    published = load_published_images()
    source, needs, left_out = _resolve_images(session, client, device.device, lock, facts, published)
    model = choose_model(config, _locked_model(lock), device, lambda: _ask_hub(config))
    base = session.loaded.path.parent if session.loaded.path else None
    reference = parse_model_reference(model.value, home=resolve_home(session.environ), base=base)
    locked_revision = lock.model.revision if lock.model is not None and lock.model.id == model.value else None
    if config.model.revision is not None and is_commit(config.model.revision):
        locked_revision = config.model.revision
    snapshot = find_snapshot(
        reference, revision=locked_revision or config.model.revision, volume=config.model.volume
    )
    model_facts = build_model_facts(snapshot.path) if snapshot else None
    if model_facts is not None:
        device = narrow_to_one_gpu(device, model_facts.attention_heads, config)
    ports = choose_ports(config, list(needs), facts.ports, running)
    return Resolved(
        device, source, model, reference, locked_revision, snapshot, model_facts, needs, left_out, ports,
        published, lock, facts, running,
    )  # fmt: skip


def build_lock_key(service: str, device: str) -> str:
    """Give the lock's key of a service's image: the engine has one for each device."""
    return f"engine/{device}" if service == "engine" else service


def _resolve_images(
    session: Session,
    client: docker.DockerClient,
    device: str,
    lock: Lock,
    facts: ProjectFacts,
    published: Mapping[str, PublishedImage],
) -> tuple[SourceChoice, dict[str, ImageNeed], dict[str, str]]:
    config = session.config
    services = list_services(config, device)
    wanted = build_wanted(config, services, device, published)
    overrides = read_overrides(config)
    named = {service for service, image in overrides.items() if image}
    open_services = [service for service in services if service not in named]
    source = _choose_source(
        session, device, lock, {name: wanted[name].reference.registry for name in open_services}
    )
    recipes, left_out = (
        build_recipes(config, services, device, published) if source.source == "packages" else ({}, {})
    )

    def find_image(name: str) -> Mapping[str, Any] | None:
        return read_image(client, name)

    needs: dict[str, ImageNeed] = {}
    for service in services:
        override = overrides.get(service) or ""
        if is_image_id(override):
            left_out.pop(service, None)
            needs[service] = resolve_image_id(service, override, find_image)
        elif service in recipes and service not in named:
            needs[service] = resolve_packages_need(service, recipes[service], find_image)
        elif service not in left_out or service in named:
            left_out.pop(service, None)
            entry = lock.images.get(build_lock_key(service, device))
            locked = LockedImage(parse_reference(entry.reference), entry.source) if entry else None
            if locked is not None and entry is not None and entry.digest:
                locked = replace(locked, reference=locked.reference.with_digest(entry.digest))
            needs[service] = resolve_registry_need(
                service, wanted[service], find_image, locked, facts.image_ids
            )
    return source, needs, left_out


def _choose_source(session: Session, device: str, lock: Lock, registries: Mapping[str, str]) -> SourceChoice:
    """Choose where images come from that the configuration does not name, given their registries."""
    config = session.config.images
    if config.source != "auto":
        return choose_source(config.source, {})
    entries = [lock.images.get(build_lock_key(service, device)) for service in registries]
    locked = next((entry for entry in entries if entry is not None), None)
    if locked is not None:
        return SourceChoice(locked.source, "as stack.lock has it from an earlier `up`")
    hosts = [
        apply_mirror(parse_reference(f"{host}/any/any"), config.mirror).registry
        for host in registries.values()
    ]
    timeout = config.timeout_seconds
    with httpx2.Client() as http:
        answers = probe_registries(
            hosts, lambda host: is_registry_reachable(host, timeout, client=http), timeout_seconds=timeout
        )
    return choose_source("auto", answers)


def _locked_model(lock: Lock) -> str | None:
    return lock.model.id if lock.model is not None else None


def _ask_hub(config: StackConfig) -> tuple[bool, str]:
    return is_hub_reachable(config.model.endpoint, config.images.timeout_seconds)


def machine_platform() -> str:
    """Give this machine's platform as registries spell it."""
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    return f"linux/{names.get(platform.machine(), platform.machine())}"

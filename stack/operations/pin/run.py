"""`stack pin`: from a commit, a release or a tag to a digest in stack.lock, with a verdict before any pull."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.checks.cuda_support import DEFAULT_IMAGE, CudaImage, build_variant
from stack.checks.gpus import GpuReport, find_unfit_reason, read_gpus
from stack.config.lock import LockedEngine, LockedImage, write_lock
from stack.config.schema import StackConfig
from stack.errors import ConfigError, Problem
from stack.images.fit import HostFacts, Judgement, read_engine_facts
from stack.images.identity import is_upstream
from stack.images.references import Device, load_published_images
from stack.images.sources import SourceTable, Variant, load_sources
from stack.operations.images.resolve import build_lock_key
from stack.operations.pin.fit import demand_fit, judge_fit, read_host
from stack.operations.pin.found import PinnedImage, Step
from stack.operations.pin.lock import describe_expiry, keep_found, merge_pin
from stack.operations.pin.resolve import PinResolver
from stack.operations.pin.target import PinTarget, read_target
from stack.operations.pin.world import build_world, connect_if_there
from stack.operations.session import Session, hold_project, load_project_lock


@dataclass(frozen=True)
class PinResult:
    """What was pinned.

    Attributes:
        target: What was asked for.
        device: For which device.
        image: What it came to.
        engine: What the lock says of the engine now.
        entry: What the lock says of its image now.
        steps: The sources that were asked, in order.
        verdict: Whether the image fits this machine, and why.
        expiry: When upstream is expected to delete the tag, or None.
        lock_path: The lock.
        is_changed: Whether the lock was written.
        dropped: Entries of the lock that were of another commit.
    """

    target: PinTarget
    device: Device
    image: PinnedImage
    engine: LockedEngine
    entry: LockedImage
    steps: Sequence[Step]
    verdict: Sequence[Judgement]
    expiry: str | None
    lock_path: Path
    is_changed: bool
    dropped: Sequence[str]


def run_pin(
    session: Session,
    text: str | None,
    *,
    cuda: str | None = None,
    repository: Path | None = None,
    anyway: bool = False,
    command: str = "stack pin",
    gpus: GpuReport | None = None,
    now: datetime.datetime | None = None,
) -> PinResult:
    """Resolve what is to be pinned, judge it against this machine, and write the lock.

    Args:
        session: The run.
        text: A commit, release, tag, reference, digest, `nightly` or `latest`; None takes what is configured.
        cuda: The CUDA variant (`cu129`).
        repository: A local clone of vLLM, for abbreviated commits.
        anyway: Write the lock though the image does not fit this machine.
        command: What was called, for what is said of `--anyway`.
        gpus: What the driver says; None asks it.
        now: The time; None takes the clock's.

    Raises:
        ImageError: It cannot be had, or is not what was asked for.
        HostError: It does not fit this machine.
        ConfigError: The configuration asks for another engine.
    """
    config = session.config
    report = gpus or read_gpus()
    device = choose_pin_device(config, report, build_variant(cuda) or DEFAULT_IMAGE, is_variant_asked=cuda is not None)
    variant = Variant(device, cuda, platform.machine())
    table, published = load_sources(config.images.sources), load_published_images()
    target = read_target(_choose_text(session, text), table, variant, repository)
    if config.images.source == "packages":
        table = SourceTable(())
    _check_configuration(session, target)
    client = connect_if_there(session)
    world = build_world(session, client, device, published, lambda step: session.say(str(step)))
    locked = load_project_lock(session).images.get(build_lock_key("engine", device))
    resolver = PinResolver(table, variant, published, config.images.mirror, config.engine.accept, world, locked)
    image = resolver.resolve(target)
    verdict = _judge(image, read_host(config, device, report, client, platform.machine()), config.engine.env)
    demand_fit(verdict, anyway, f"{command} {target.text} --anyway")
    engine, entry = _build_entries(session, target, image, locked, device, cuda)
    is_changed, dropped = _write(session, engine, build_lock_key("engine", device), entry)
    expiry = describe_expiry(entry, now or datetime.datetime.now(datetime.UTC))
    return PinResult(
        target, device, image, engine, entry, resolver.steps, verdict, expiry, session.lock_path, is_changed, dropped
    )


def choose_pin_device(
    config: StackConfig, report: GpuReport, image: CudaImage, *, is_variant_asked: bool = False
) -> Device:
    """Choose the device whose image is pinned: the one asked for, else what this machine has.

    Args:
        config: The configuration.
        report: What the driver says of the GPUs.
        image: What a CUDA image of the pin is built for.
        is_variant_asked: Whether a CUDA variant was named.
    """
    asked = config.engine.device
    if asked in ("cuda", "cpu"):
        return "cuda" if asked == "cuda" else "cpu"
    return "cuda" if is_variant_asked or find_unfit_reason(report, image, config.engine.env) is None else "cpu"


def _judge(image: PinnedImage, host: HostFacts, environ: Mapping[str, str]) -> list[Judgement]:
    # What is built here is built for this machine.
    return judge_fit(read_engine_facts(image.config, image.size_bytes), host, environ) if image.digest else []


def build_document(result: PinResult) -> dict[str, Any]:
    """Give the result as a JSON document."""
    return {
        "schema_version": 1,
        "target": result.target.text,
        "device": result.device,
        **describe_entry(result.engine, result.entry),
        "size_bytes": result.image.size_bytes,
        "warning": result.image.source.warning,
        "expiry": result.expiry,
        "steps": [vars(step) for step in result.steps],
        "verdict": [vars(item) for item in result.verdict],
        "lock": str(result.lock_path),
        "changed": result.is_changed,
        "dropped": list(result.dropped),
    }


def describe_entry(engine: LockedEngine, entry: LockedImage) -> dict[str, Any]:
    """Give what the lock says of a pinned engine."""
    return {
        "commit": engine.commit,
        "commit_level": engine.commit_level,
        "accepted": engine.accepted,
        "version": engine.version,
        "rests_on": engine.rests_on,
        "reference": entry.reference,
        "digest": entry.digest,
        "variant": entry.variant,
        "source": entry.found_by or entry.source,
        "created": entry.created,
    }


def _choose_text(session: Session, text: str | None) -> str:
    engine = session.config.engine
    chosen = text or engine.commit or engine.version
    if chosen is None:
        raise ConfigError(
            [Problem("", "nothing says what to pin")],
            hint="`stack pin COMMIT`, or a release, a tag, a digest, `nightly` or `latest`",
        )
    return chosen


def _check_configuration(session: Session, target: PinTarget) -> None:
    """Refuse a pin that the configuration would keep `up` from using."""
    engine, images = session.config.engine, session.config.images
    problems = []
    if engine.image is not None:
        problems.append(Problem("engine.image", f"names {engine.image}, which a pin cannot change; take it away"))
    if engine.commit is not None and target.commit != engine.commit:
        problems.append(Problem("engine.commit", f"asks for {engine.commit}; take it away, or pin that commit"))
    if engine.version is not None and target.version != engine.version:
        problems.append(Problem("engine.version", f"asks for {engine.version}; take it away, or pin that release"))
    if images.source == "packages" and target.kind not in ("commit", "version"):
        problems.append(Problem("images.source", f"builds every image, and `{target.text}` is pulled; take it away"))
    if problems:
        raise ConfigError(problems)


def _build_entries(
    session: Session, target: PinTarget, image: PinnedImage, old: LockedImage | None, device: Device, cuda: str | None
) -> tuple[LockedEngine, LockedImage]:
    identity = image.identity
    engine = LockedEngine(
        commit=identity.commit,
        commit_level=identity.level,
        version=identity.version or target.version,
        accepted=session.config.engine.accept,
        pinned=target.text,
        rests_on=identity.rests_on,
    )
    if image.digest is None:
        entry = LockedImage(
            reference=str(image.reference), device=device, source="packages", found_by=image.source.name
        )
        return engine, entry
    served = image.served_by
    recorded = "upstream" if served is not None and is_upstream(served) else "registry"
    if old is not None and (old.reference, old.digest) == (str(image.reference), image.digest):
        # Who said so once is not forgotten because a mirror serves the same bytes today.
        recorded = old.recorded_from or recorded
    entry = LockedImage(
        reference=str(image.reference),
        tag=image.reference.tag,
        digest=image.digest,
        device=device,
        source="registry",
        recorded_from=recorded,
        found_by=image.source.name,
        variant=cuda,
        created=image.config.created,
    )
    # What is here does not say where it was found, nor when it was built.
    return engine, keep_found(old, entry) if image.source.name == "local" else entry


def _write(session: Session, engine: LockedEngine, key: str, entry: LockedImage) -> tuple[bool, list[str]]:
    with hold_project(session, "pin"):
        merged, dropped = merge_pin(load_project_lock(session), engine, key, entry)
        return write_lock(session.lock_path, merged), dropped

"""Size a model without its weights: `stack doctor --estimate`, and the verdict that doctor's checks rest on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stack.checks.gpus import Gpu, GpuReport, read_gpus
from stack.checks.host.memory_verdict import JudgeMemory, MemoryVerdict
from stack.config.places import resolve_home
from stack.errors import ConfigError, HostError, ModelError, Problem
from stack.images.references import load_published_images
from stack.models.demo import DEMO_KEY
from stack.models.facts import parse_model_facts
from stack.models.hub import build_hub_client, is_commit
from stack.models.hub_access import is_offline, load_token
from stack.models.hub_headers import fetch_sizing_files
from stack.models.reference import DEFAULT_REVISION, ModelReference, parse_model_reference
from stack.models.sizing import Budget, Sizing, Verdict, build_sizing, judge
from stack.models.sizing_engine import parse_engine_number
from stack.models.sizing_files import SizingFiles, build_demo_files, load_sizing_files
from stack.models.snapshot import SnapshotKey, build_snapshot_folder, load_snapshot
from stack.operations.choices import choose_device
from stack.operations.doctor.host_memory import read_total_memory_bytes
from stack.operations.engine_defaults import choose_engine_defaults
from stack.operations.images.engine_image import describe_cuda_image
from stack.operations.offline import REASON
from stack.operations.session import Session, load_project_lock

_KV_SIZES = ("kv-cache-memory-bytes", "kv-cache-memory")
_UTILIZATIONS = ("gpu-memory-utilization", "device-memory-utilization")


@dataclass(frozen=True)
class Estimate:
    """What a model would take on this machine.

    Attributes:
        model: The model as it was asked for.
        files: Where its config and headers came from.
        sizing: What it takes of one device.
        budget: What the engine may take of that device.
        verdict: Whether it fits.
        device: `cpu` or `cuda`, with the reason.
        gpus: The GPUs that the engine would get.
        args: The engine args that count here, the user's and the tool's.
    """

    model: str
    files: SizingFiles
    sizing: Sizing
    budget: Budget
    verdict: Verdict
    device: str
    device_reason: str
    gpus: tuple[Gpu, ...]
    args: Mapping[str, Any]


def run_estimate(session: Session, model: str, *, ask_gpus: Callable[[], GpuReport] = read_gpus) -> Estimate:
    """Size a model from its config and safetensors headers; nothing is stored, and no weights are fetched.

    Args:
        session: The session.
        model: `demo`, a directory, or a hub id, with `@revision` behind it where wanted.
        ask_gpus: Reads this machine's GPUs.

    Raises:
        ConfigError: It names a directory that is not there.
        ModelError: The model cannot be had.
    """
    text, revision = split_revision(model)
    base = session.loaded.path.parent if session.loaded.path else None
    reference = parse_model_reference(text, home=resolve_home(session.environ), base=base)
    if reference.path is not None and not reference.path.is_dir():
        raise ConfigError([Problem("--estimate", f"`{reference.path}` is no directory")])
    files = load_files(session, reference, revision)
    device, reason, gpus = _choose_device(session, ask_gpus())
    args = build_engine_args(session, device, gpus, files.config)
    sizing = build_sizing(files.config, files.headers, args, device=device, device_bytes=_find_least(gpus))
    tightest = min(gpus, key=lambda gpu: gpu.free_bytes, default=None)
    budget = build_budget(args, tightest.total_bytes if tightest else None, tightest.free_bytes if tightest else None)
    return Estimate(model, files, sizing, budget, judge(sizing, budget), device, reason, gpus, args)


def split_revision(model: str) -> tuple[str, str | None]:
    """Part `org/name@revision`; a directory's name may hold an @."""
    if model[:1] in ("/", ".", "~"):
        return model, None
    text, separator, revision = model.partition("@")
    return text, (revision or None) if separator else None


def load_files(session: Session, reference: ModelReference, revision: str | None) -> SizingFiles:
    """Give a model's config and headers, from this machine where they are here.

    Raises:
        ModelError: The model cannot be had.
    """
    if revision is not None and reference.kind != "hub":
        raise ModelError(f"`{reference.id}` has no revisions", hint="leave out what stands behind the @")
    volume = session.config.model.volume
    if reference.kind == "directory":
        return load_sizing_files((reference.path or Path(reference.id)).absolute())
    if reference.kind == "demo":
        found = load_snapshot(build_snapshot_folder(volume, DEMO_KEY))
        return load_sizing_files(found.path, revision=found.revision) if found else build_demo_files()
    wanted = revision or session.config.model.revision or DEFAULT_REVISION
    if is_commit(wanted):
        found = load_snapshot(build_snapshot_folder(volume, SnapshotKey("hub", reference.id, wanted)))
        if found is not None:
            return load_sizing_files(found.path, revision=found.revision)
    return _fetch_files(session, reference.id, wanted)


def build_engine_args(session: Session, device: str, gpus: Sequence[Gpu], config: Mapping[str, Any]) -> dict[str, Any]:
    """Give the engine args that `up` would run with: the user's, and the tool's where they are silent."""
    asked = session.config.engine.args
    heads = parse_model_facts(config, dtype_bytes={}, chat_template=None).attention_heads
    defaults = choose_engine_defaults(device, asked, gpus=gpus, heads=heads, memory_bytes=read_total_memory_bytes())
    return {default.name: default.value for default in defaults} | dict(asked)


def build_budget(args: Mapping[str, Any], total_bytes: int | None, free_bytes: int | None) -> Budget:
    """Give what the engine may take of a device by its args."""
    kv = next((parse_engine_number(args[name]) for name in _KV_SIZES if name in args), None)
    asked = next((args[name] for name in _UTILIZATIONS if name in args), None)
    utilization = float(asked) if asked is not None else None
    return Budget(total_bytes, free_bytes, utilization, kv)


def build_memory_judge(
    directory: Path, args: Mapping[str, Any], *, device: str, gpus: Sequence[Gpu] = ()
) -> JudgeMemory:
    """Give what judges whether a model that is here fits a device; its headers are read when it is asked.

    Args:
        directory: The model's files.
        args: The engine args, the user's and the tool's.
        device: `cpu` or `cuda`.
        gpus: The GPUs that the engine gets.
    """

    @cache
    def read() -> Sizing:
        files = load_sizing_files(directory)
        return build_sizing(files.config, files.headers, args, device=device, device_bytes=_find_least(gpus))

    def judge_memory(total_bytes: int | None, free_bytes: int | None) -> MemoryVerdict:
        sizing = read()
        verdict = judge(sizing, build_budget(args, total_bytes, free_bytes))
        weights = sizing.weights
        return MemoryVerdict(
            fits=verdict.fits,
            reason=verdict.reason,
            weights=(weights.min_device_bytes, weights.max_device_bytes),
            kv_bytes=sizing.kv_bytes,
            total=(sizing.total.low, sizing.total.high),
            asked_context=sizing.asked_context,
            context=verdict.context,
            concurrency=verdict.concurrency,
        )

    return judge_memory


def _fetch_files(session: Session, model_id: str, revision: str) -> SizingFiles:
    if session.config.offline or is_offline(session.environ):
        reason = REASON if session.config.offline else "HF_HUB_OFFLINE is set"
        raise ModelError(
            f"`{model_id}` at `{revision}` is not on the volume, and {reason}",
            hint="leave that out, or name a commit that is on the volume: `org/name@commit`",
        )
    settings = session.config.model
    client = build_hub_client(
        model_id,
        revision,
        endpoint=settings.endpoint,
        token=load_token(settings.token_file, session.environ),
        report=session.report,
    )
    return fetch_sizing_files(client)


def _choose_device(session: Session, report: GpuReport) -> tuple[str, str, tuple[Gpu, ...]]:
    """Give the device of `up`; one that was asked for and is not here is sized all the same."""
    try:
        # Whether the daemon can give a GPU to a container changes nothing about its memory.
        image = describe_cuda_image(session.config, load_project_lock(session), load_published_images())
        choice = choose_device(session.config, report, image, lambda: True)
    except HostError as err:
        return "cuda", err.message, ()
    return choice.device, choice.choice.reason, choice.gpus


def _find_least(gpus: Sequence[Gpu]) -> int:
    return min((gpu.total_bytes for gpu in gpus), default=0)

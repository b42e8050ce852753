"""Write the stack's own run metrics where node-exporter's textfile collector reads them.

Cardinality is bounded: one identity, the last `BOOTS_KEPT` boots, one smoke run, the engine's GPUs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stack.errors import StackError
from stack.files import replace_file
from stack.telemetry.other_runs import build_gauge, build_run_name

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

FILE_NAME = "stack.prom"
# A file of its own: it is true from one boot to the next, while the other is written anew by every smoke run.
GPU_FILE_NAME = "stack-gpus.prom"
# There only while a boot is under way.
BOOT_FILE_NAME = "stack-boot.prom"
BOOTS_KEPT = 5

PASSED, FAILED, SKIPPED = 1, 0, -1


@dataclass(frozen=True)
class RunIdentity:
    """What runs.

    Attributes:
        commit: vLLM's commit, 40 hex digits, or an empty string.
        commit_level: `verified`, `claimed` or `unknown`.
        version: vLLM's version.
        model: The served model name.
        revision: The model's revision.
        image_digest: The engine image's digest or ID.
        device: `cuda` or `cpu`.
    """

    commit: str
    commit_level: str
    version: str
    model: str
    revision: str
    image_digest: str
    device: str


@dataclass(frozen=True)
class BootRun:
    """One boot.

    Attributes:
        started_at_seconds: Unix time at which it began.
        total_seconds: From then to the first token.
        phases: Seconds of each phase, in the order in which they passed.
        is_cache_warm: Whether the engine found its compile cache; None where it did not say.
        commit, version, model: What ran; empty where that is not known.
    """

    started_at_seconds: float
    total_seconds: float
    phases: Mapping[str, float] = field(default_factory=dict)
    is_cache_warm: bool | None = None
    commit: str = ""
    version: str = ""
    model: str = ""

    @property
    def name(self) -> str:
        """The `boot` label: its UTC time, so that names sort as the boots happened."""
        return build_run_name(self.started_at_seconds)


@dataclass(frozen=True)
class SmokeRun:
    """One smoke run.

    Attributes:
        finished_at_seconds: Unix time at which it ended.
        duration_seconds: How long it took.
        checks: What became of each check: `PASSED`, `FAILED` or `SKIPPED`.
        drift_nats: How far each fixed text's likelihood lies from the baseline, in nats a token, by the text's name.
    """

    finished_at_seconds: float
    duration_seconds: float
    checks: Mapping[str, int] = field(default_factory=dict)
    drift_nats: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_success(self) -> bool:
        """Whether no check failed."""
        return FAILED not in self.checks.values()


@dataclass(frozen=True)
class ImageExpiry:
    """When upstream is expected to delete the engine's image, of which nothing here keeps a copy.

    Attributes:
        reference: Where the image was found.
        expires_at_seconds: Unix time.
    """

    reference: str
    expires_at_seconds: float


@dataclass(frozen=True)
class ReadyGpu:
    """A GPU of the engine, when the engine was ready.

    Attributes:
        index: NVML's index.
        uuid: Its identity across reboots.
        name: The board's name.
        free_bytes: Memory that was free then. vLLM takes its share at start: whatever is missing later was taken by
            somebody else.
    """

    index: int
    uuid: str
    name: str
    free_bytes: int


def render_run_metrics(
    identity: RunIdentity | None = None,
    boots: Sequence[BootRun] = (),
    smoke: SmokeRun | None = None,
    expiry: ImageExpiry | None = None,
) -> str:
    """Give the run metrics in Prometheus' text format.

    Args:
        identity: What runs; None where nothing does.
        boots: The newest first, of which `BOOTS_KEPT` are kept; their times may not tell, as clocks are set back.
        smoke: The latest smoke run; None where there was none.
        expiry: When the engine's image expires; None where it does not.
    """
    # Imported here: an `up` with nothing to do writes no metrics, and this would be a tenth of its time.
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    if identity is not None:
        labels = vars(identity)
        build_gauge(registry, "stack_info", "What runs; always 1.", *labels).labels(**labels).set(1)
    _add_boots(registry, boots[:BOOTS_KEPT][::-1])
    if smoke is not None:
        _add_smoke(registry, smoke)
    if expiry is not None:
        about = "When upstream is expected to delete the engine's image, as Unix time."
        gauge = build_gauge(registry, "stack_image_expiry_timestamp_seconds", about, "reference")
        gauge.labels(reference=expiry.reference).set(expiry.expires_at_seconds)
    return generate_latest(registry).decode()


def render_gpu_metrics(gpus: Sequence[ReadyGpu]) -> str:
    """Give what the engine's GPUs were like when it was ready, with the labels that dcgm-exporter gives them."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    about = "GPU memory that was free when the engine was ready, in bytes."
    free = build_gauge(registry, "stack_gpu_ready_free_bytes", about, "gpu", "UUID", "modelName")
    for gpu in gpus:
        free.labels(gpu=str(gpu.index), UUID=gpu.uuid, modelName=gpu.name).set(gpu.free_bytes)
    return generate_latest(registry).decode()


def render_boot_deadline(deadline_seconds: float) -> str:
    """Give until when a boot that is under way may take, as Unix time: alerts wait for it, and no longer."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    about = "Until when the boot that is under way may take, as Unix time; absent where none is."
    build_gauge(registry, "stack_boot_deadline_timestamp_seconds", about).set(deadline_seconds)
    return generate_latest(registry).decode()


def write_run_metrics(folder: Path, text: str, *, name: str = FILE_NAME) -> Path:
    """Put the metrics into the folder that node-exporter reads, whole or not at all, and give their path.

    Folder and file are world-readable, because node-exporter runs as another user; they hold no secret.

    Raises:
        StackError: The folder cannot be written.
    """
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        replace_file(path, text.encode())
    except OSError as err:
        raise StackError(
            f"cannot write the run metrics to `{path}`: {err.strerror or err}",
            hint=f"check the owner of `{folder}` and the free space there",
        ) from err
    return path


def _add_boots(registry: CollectorRegistry, boots: Sequence[BootRun]) -> None:
    phase_seconds = build_gauge(
        registry, "stack_boot_phase_seconds", "How long a phase of a boot took.", "phase", "boot"
    )
    seconds = build_gauge(registry, "stack_boot_seconds", "From the start of a boot to its first token.", "boot")
    started = build_gauge(registry, "stack_boot_timestamp_seconds", "When a boot began, as Unix time.", "boot")
    warm = build_gauge(registry, "stack_boot_cache_warm", "Whether the engine found its compile cache, 1 or 0.", "boot")
    info = build_gauge(registry, "stack_boot_info", "What a boot ran; always 1.", "boot", "commit", "version", "model")
    for boot in boots:
        info.labels(boot=boot.name, commit=boot.commit, version=boot.version, model=boot.model).set(1)
        for phase, duration_seconds in boot.phases.items():
            phase_seconds.labels(phase=phase, boot=boot.name).set(duration_seconds)
        seconds.labels(boot=boot.name).set(boot.total_seconds)
        started.labels(boot=boot.name).set(boot.started_at_seconds)
        if boot.is_cache_warm is not None:
            warm.labels(boot=boot.name).set(int(boot.is_cache_warm))


def _add_smoke(registry: CollectorRegistry, smoke: SmokeRun) -> None:
    status = build_gauge(
        registry, "stack_smoke_check_status", "A smoke check: 1 passed, 0 failed, -1 skipped.", "check"
    )
    for check, result in smoke.checks.items():
        status.labels(check=check).set(result)
    drift = build_gauge(registry, "stack_smoke_drift_nats", "Distance from the baseline, in nats a token.", "text")
    for text, distance in smoke.drift_nats.items():
        drift.labels(text=text).set(distance)
    for name, about, value in (
        ("stack_smoke_success", "Whether no smoke check failed, 1 or 0.", int(smoke.is_success)),
        (
            "stack_smoke_timestamp_seconds",
            "When the smoke run ended, as Unix time.",
            smoke.finished_at_seconds,
        ),
        ("stack_smoke_seconds", "How long the smoke run took.", smoke.duration_seconds),
    ):
        build_gauge(registry, name, about).set(value)

"""What `auto` stands for on this machine: the device and the model, each with its reason.

What was asked for explicitly is obeyed or refused, never replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from stack.checks.cuda_support import CudaImage
from stack.checks.gpus import Gpu, GpuReport, describe_unfit, find_unfit_reason, is_fit, judge_report
from stack.config.schema import StackConfig
from stack.errors import HostError
from stack.models.defaults import DEMO_MODEL, choose_default_model
from stack.operations.engine_defaults import find_parallel_problem
from stack.operations.offline import REASON


@dataclass(frozen=True)
class Choice:
    """One decision.

    Attributes:
        key: What was decided, as the config's key.
        value: What it came to.
        reason: Why, in words.
        is_automatic: Whether the tool chose; False where the user did.
    """

    key: str
    value: str
    reason: str
    is_automatic: bool = True

    def __str__(self) -> str:
        return f"{self.key} = {self.value}: {self.reason}"


@dataclass(frozen=True)
class DeviceChoice:
    """Where the engine runs.

    Attributes:
        choice: `cpu` or `cuda`, with the reason.
        gpus: The GPUs that the engine gets.
        devices: What is reserved: `all`, a count, or ids.
        warnings: What the user should know about it.
    """

    choice: Choice
    gpus: tuple[Gpu, ...] = ()
    devices: str | int | tuple[str, ...] = "all"
    warnings: tuple[str, ...] = ()

    @property
    def device(self) -> str:
        """Give `cpu` or `cuda`."""
        return self.choice.value


def choose_device(
    config: StackConfig, report: GpuReport, image: CudaImage, has_gpu_runtime: Callable[[], bool]
) -> DeviceChoice:
    """Choose the device.

    Args:
        config: The configuration.
        report: What the driver says of the GPUs.
        image: What the image of a CUDA engine was built for.
        has_gpu_runtime: Tells whether the daemon can give a GPU to a container; asked only beside a fit GPU.

    Raises:
        HostError: CUDA was asked for and cannot be had.
    """
    asked = config.engine.device
    if asked == "cpu":
        return DeviceChoice(Choice("engine.device", "cpu", '`engine.device = "cpu"` asks for it', False))
    unfit = find_unfit_reason(report, image, config.engine.env, is_asked=asked == "cuda")
    problem = unfit
    if problem is None and not has_gpu_runtime():
        problem = "the Docker daemon has no NVIDIA runtime and no CDI device (install the NVIDIA container toolkit)"
    if problem is None:
        return _warn_of_doubt(_take_gpus(config, report, image, is_automatic=asked == "auto"), report, image, config)
    if asked == "cuda":
        raise HostError(
            f'`engine.device = "cuda"` cannot be had: {problem}',
            hint=_hint_at_cuda(config, report, image, is_toolkit_missing=unfit is None),
        )
    return DeviceChoice(Choice("engine.device", "cpu", problem))


def _hint_at_cuda(config: StackConfig, report: GpuReport, image: CudaImage, *, is_toolkit_missing: bool) -> str:
    """Give what helps: the toolkit only where nothing but the toolkit is missing, a driver only beside a GPU."""
    if is_toolkit_missing:
        return "`./scripts/up` installs the NVIDIA container toolkit; `--device cpu` serves without a GPU"
    if report.has_device and (not report.gpus or any(is_fit(gpu, image) for gpu in report.gpus)):
        needed = f" {image.needed} or newer" if image.needed else ""
        remedies = judge_report(report, image, config.engine.env).remedies if report.gpus else ()
        driver = f"install NVIDIA's driver{needed} and see that `nvidia-smi` lists the GPU"
        return "; or ".join([driver, *remedies]) + "; `--device cpu` serves without it"
    return "`--device cpu` serves on this machine"


def _warn_of_doubt(chosen: DeviceChoice, report: GpuReport, image: CudaImage, config: StackConfig) -> DeviceChoice:
    """Add what may keep a GPU that was asked for from working."""
    verdict = judge_report(report, image, config.engine.env)
    if verdict.runs != "perhaps":
        return chosen
    return replace(chosen, warnings=(*chosen.warnings, "; ".join([verdict.message, *verdict.remedies])))


def _take_gpus(config: StackConfig, report: GpuReport, image: CudaImage, *, is_automatic: bool) -> DeviceChoice:
    asked = config.engine.devices
    fit = tuple(gpu for gpu in report.gpus if is_fit(gpu, image))
    if isinstance(asked, (list, tuple)):
        gpus = tuple(_find_gpu(report, str(name), image) for name in asked)
        return DeviceChoice(_cuda(gpus, report, is_automatic), gpus, tuple(str(name) for name in asked))
    if isinstance(asked, int):
        if asked > len(fit):
            raise HostError(f"`engine.devices = {asked}`, but {len(fit)} GPUs of this machine are fit for vLLM")
        return _take(fit[:asked], report, is_automatic)
    problem = find_parallel_problem(fit, 0) if len(fit) > 1 else None
    if problem and "tensor-parallel-size" not in config.engine.args:
        best = max(fit, key=lambda gpu: gpu.free_bytes)
        warning = f"one GPU of {len(fit)} is used, because {problem}; `engine.devices` chooses"
        return _take((best,), report, is_automatic, (warning,))
    return _take(fit, report, is_automatic)


def _take(gpus: tuple[Gpu, ...], report: GpuReport, is_automatic: bool, warnings: tuple[str, ...] = ()) -> DeviceChoice:
    devices = tuple(str(gpu.index) for gpu in gpus)
    return DeviceChoice(_cuda(gpus, report, is_automatic), gpus, devices, warnings)


def _find_gpu(report: GpuReport, name: str, image: CudaImage) -> Gpu:
    found = next((gpu for gpu in report.gpus if name in (str(gpu.index), gpu.uuid)), None)
    if found is None:
        known = ", ".join(f"{gpu.index} ({gpu.name})" for gpu in report.gpus)
        raise HostError(f"`engine.devices` names GPU `{name}`, which is not here; there are: {known}")
    if not is_fit(found, image):
        raise HostError(f"`engine.devices` names GPU `{name}`, but {describe_unfit(found, image)}")
    return found


def _cuda(gpus: tuple[Gpu, ...], report: GpuReport, is_automatic: bool) -> Choice:
    names = ", ".join(gpu.name for gpu in gpus)
    reason = f"{names} with driver {report.driver}" if is_automatic else '`engine.device = "cuda"` asks for it'
    return Choice("engine.device", "cuda", reason, is_automatic)


def narrow_to_one_gpu(device: DeviceChoice, heads: int | None, config: StackConfig) -> DeviceChoice:
    """Give one GPU where several cannot serve this model together, and say so; devices asked for stay.

    Args:
        device: Where the engine runs.
        heads: The model's attention heads; None where they are not known.
        config: The configuration; with a tensor parallel size in it nothing is changed.
    """
    if len(device.gpus) < 2 or "tensor-parallel-size" in config.engine.args:
        return device
    problem = find_parallel_problem(device.gpus, heads)
    if problem is None:
        return device
    warning = f"one GPU of {len(device.gpus)} is used, because {problem}; `engine.devices` chooses"
    warnings = (*device.warnings, warning)
    if config.engine.devices != "all":
        return replace(device, warnings=warnings)
    best = max(device.gpus, key=lambda gpu: gpu.free_bytes)
    return DeviceChoice(device.choice, (best,), (str(best.index),), warnings)


def choose_model(
    config: StackConfig, locked: str | None, device: DeviceChoice, ask_hub: Callable[[], tuple[bool, str]]
) -> Choice:
    """Choose the model: the one asked for, else the one that the lock holds, else one that fits.

    Args:
        config: The configuration.
        locked: The model that an earlier `up` chose, from stack.lock.
        device: Where the engine runs.
        ask_hub: Tells whether the model hub answers, and how; asked only when it matters.
    """
    if config.model.id is not None:
        return Choice("model.id", config.model.id, "asked for", False)
    if locked is not None:
        return Choice("model.id", locked, "as stack.lock has it from an earlier `up`")
    if config.offline:
        return Choice("model.id", DEMO_MODEL, f"{REASON}, and the demo model needs no hub")
    reachable, reason = ask_hub()
    free = min((gpu.free_bytes for gpu in device.gpus), default=None)
    model, why = choose_default_model(free, None if reachable else reason)
    return Choice("model.id", model, why)

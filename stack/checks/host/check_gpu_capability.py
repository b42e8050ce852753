"""Whether the engine's image has kernels for the GPUs that it gets."""

from __future__ import annotations

from collections.abc import Sequence

from stack.checks.cuda_support import describe_version, is_arch_covered
from stack.checks.gpus import MIN_CAPABILITY, Gpu
from stack.checks.host.check import HostCheck, HostContext, Outcome


def run(context: HostContext) -> Outcome:
    """Judge the compute capability of each GPU against the image's list of architectures."""
    report, engine = context.read_gpus(), context.target.engine
    if not report.gpus:
        return Outcome("skip", "no GPU answers")
    gpus = [gpu for gpu in report.gpus if not engine.gpu_indexes or gpu.index in engine.gpu_indexes]
    arches = engine.image.arches
    data = {
        "capabilities": {str(gpu.index): describe_version(gpu.capability) for gpu in gpus},
        "arches": [describe_version(arch) for arch in arches] if arches else None,
    }
    unfit = [gpu for gpu in gpus if not _is_fit(gpu, arches)]
    if not unfit:
        said = ", ".join(f"{gpu.name}: {describe_version(gpu.capability)}" for gpu in gpus)
        return Outcome("pass", f"compute capability {said}", data=data)
    first = unfit[0]
    have = ", ".join(data["arches"]) if data["arches"] else f"{describe_version(MIN_CAPABILITY)} and newer"
    message = f"{first.name} has compute capability {describe_version(first.capability)}; the image has {have}"
    if engine.device_asked == "cpu":
        return Outcome("skip", message, data=data)
    rest = [gpu for gpu in report.gpus if gpu not in unfit and _is_fit(gpu, arches)]
    hint = "`stack up --device cpu`"
    if rest:
        hint = f'`devices = ["{rest[0].index}"]` under `[engine]` takes {rest[0].name}'
    why = "the engine would end with `no kernel image is available for execution on the device`"
    failing = engine.device == "cuda" or engine.device_asked == "cuda"
    return Outcome("fail" if failing else "warn", message, hint, data, why)


def _is_fit(gpu: Gpu, arches: Sequence[tuple[int, int]] | None) -> bool:
    if arches:
        return is_arch_covered(gpu.capability, arches)
    return gpu.capability >= MIN_CAPABILITY


CHECK = HostCheck("gpu-capability", run, order=110, is_quick=True)

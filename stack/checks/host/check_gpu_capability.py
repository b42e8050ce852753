"""Whether the engine's image has kernels for the GPUs that it gets."""

from __future__ import annotations

from stack.checks.cuda_support import describe_version
from stack.checks.gpus import describe_unfit, is_fit
from stack.checks.host.check import HostCheck, HostContext, Outcome


def run(context: HostContext) -> Outcome:
    """Judge the compute capability of each GPU against the image's list of architectures."""
    report, engine = context.read_gpus(), context.target.engine
    if not report.gpus:
        return Outcome("skip", "no GPU answers")
    gpus = [gpu for gpu in report.gpus if not engine.gpu_indexes or gpu.index in engine.gpu_indexes]
    image = engine.image
    data = {
        "capabilities": {str(gpu.index): describe_version(gpu.capability) for gpu in gpus},
        "arches": list(image.arches) or None,
        "image_facts_from": image.source,
    }
    unfit = [gpu for gpu in gpus if not is_fit(gpu, image)]
    if not unfit:
        said = ", ".join(f"{gpu.name}: {describe_version(gpu.capability)}" for gpu in gpus)
        return Outcome("pass", f"compute capability {said} ({image.source})", data=data)
    message = describe_unfit(unfit[0], image)
    if engine.device_asked == "cpu":
        return Outcome("skip", message, data=data)
    rest = [gpu for gpu in report.gpus if gpu not in unfit and is_fit(gpu, image)]
    hint = "`stack up --device cpu`"
    if rest:
        hint = f'`devices = ["{rest[0].index}"]` under `[engine]` takes {rest[0].name}'
    why = "the engine would end with `no kernel image is available for execution on the device`"
    failing = engine.device == "cuda" or engine.device_asked == "cuda"
    return Outcome("fail" if failing else "warn", message, hint, data, why)


CHECK = HostCheck("gpu-capability", run, order=110, is_quick=True)

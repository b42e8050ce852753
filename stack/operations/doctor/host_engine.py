"""How the engine is to run, as the host checks must know it: device, engine args, and what its image was built for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stack.checks.cuda_support import FORWARD_SWITCH, REQUIRE_SWITCH, CudaImage
from stack.checks.host.target import EngineNeed
from stack.config.quantities import parse_size_bytes
from stack.errors import StackError
from stack.images.references import load_published_images
from stack.operations.doctor.host_memory import read_total_memory_bytes
from stack.operations.engine_defaults import choose_engine_defaults
from stack.operations.images.engine_image import describe_cuda_image
from stack.operations.resolve import Resolved
from stack.operations.session import Session, load_project_lock


def build_engine_need(session: Session, resolved: Resolved | None) -> EngineNeed:
    """Say how the engine is to run, with the arguments that the tool would choose."""
    config = session.config.engine
    asked = tuple(config.devices) if isinstance(config.devices, list | tuple) else config.devices
    environ = {name: config.env[name] for name in (FORWARD_SWITCH, REQUIRE_SWITCH) if name in config.env}
    if resolved is None:
        return EngineNeed(device_asked=config.device, devices=asked, image=_describe_image(session), environ=environ)
    device, args = resolved.device, build_engine_args(session, resolved)
    utilization = read_number(args, "gpu-memory-utilization", "device-memory-utilization")
    context = args.get("max-model-len")
    return EngineNeed(
        device_asked=config.device,
        device=device.device,
        device_reason=device.choice.reason,
        devices=asked,
        gpu_indexes=tuple(gpu.index for gpu in device.gpus),
        utilization=utilization,
        is_utilization_asked=bool({"gpu-memory-utilization", "device-memory-utilization"} & set(config.args)),
        kv_cache_bytes=read_kv_cache_bytes(args),
        max_model_len=context if isinstance(context, int) and context > 0 else None,
        tensor_parallel=int(read_number(args, "tensor-parallel-size") or 1),
        image=resolved.cuda_image,
        environ=environ,
    )


def _describe_image(session: Session) -> CudaImage:
    try:
        lock = load_project_lock(replace(session, say=lambda text: None))
        return describe_cuda_image(session.config, lock, load_published_images())
    except StackError:
        return CudaImage()


def build_engine_args(session: Session, resolved: Resolved) -> dict[str, Any]:
    """Give the engine args: the user's, and the tool's where they are silent."""
    asked, facts = session.config.engine.args, resolved.model_facts
    defaults = choose_engine_defaults(
        resolved.device.device,
        asked,
        gpus=resolved.device.gpus,
        heads=facts.attention_heads if facts else None,
        memory_bytes=read_total_memory_bytes(),
    )
    return {default.name: default.value for default in defaults} | dict(asked)


def read_number(args: Mapping[str, Any], *names: str) -> float | None:
    """Give the first of these engine args that is a number."""
    for name in names:
        try:
            return float(args[name])
        except (KeyError, TypeError, ValueError):
            continue
    return None


def read_kv_cache_bytes(args: Mapping[str, Any]) -> int | None:
    """Give the KV cache's size where an engine arg sets it (`1G`, or bytes)."""
    for name in ("kv-cache-memory-bytes", "kv-cache-memory"):
        if name in args:
            try:
                return parse_size_bytes(str(args[name]))
            except ValueError:
                return None
    return None

"""The engine's service: its arguments, environment, mounts and user."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.assets import asset_path
from stack.config.engine_args import build_argv
from stack.config.schema import StackConfig
from stack.containers.layout import Limits, Mount, Service
from stack.containers.log_config import CONFIG_NAME
from stack.models.snapshot import Snapshot
from stack.operations.access import (
    API_KEY,
    demands_key,
    read_api_key,
)
from stack.operations.layout.decided import Decided, build_stamp

# Upstream's image has this user, and /home/vllm belongs to its group (docker/Dockerfile, since 2026-05-25).
ENGINE_UID_FOR_ROOT = 2000
_MODELS = "/models"
_CACHE = "/cache"
_OURS = "/opt/stack"

# Everything that vLLM and what it builds on would write under a home directory goes to the cache volume,
# nothing is looked up online (the weights are here), and nobody is told that it runs. Values must stay the
# same from boot to boot: most VLLM_* variables are part of the compile cache's key.
ENGINE_ENVIRONMENT = {
    "HOME": _CACHE,
    "USER": "vllm",
    "XDG_CACHE_HOME": _CACHE,
    "XDG_CONFIG_HOME": f"{_CACHE}/config",
    "VLLM_CACHE_ROOT": f"{_CACHE}/vllm",
    "HF_HOME": f"{_CACHE}/huggingface",
    "FLASHINFER_WORKSPACE_BASE": _CACHE,
    "CUDA_CACHE_PATH": f"{_CACHE}/nv",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "PROMETHEUS_DISABLE_CREATED_SERIES": "True",
}


@dataclass(frozen=True)
class EngineChoice:
    """What the engine is started with.

    Attributes:
        device: `cpu` or `cuda`.
        devices: GPUs to reserve: `all`, a count, or ids.
        args: Engine args, the user's and the tool's.
        served_name: What clients write as `model`.
    """

    device: str
    devices: str | int | tuple[str, ...]
    args: Mapping[str, Any]
    served_name: str


def engine_uid() -> int:
    """Give the uid that the engine runs as: the caller's, and upstream's own for root."""
    return os.geteuid() or ENGINE_UID_FOR_ROOT


def build_model_path(snapshot: Snapshot) -> str:
    """Give the model's path inside the engine; it decides the compile cache's key, so it must not change."""
    name = snapshot.id if snapshot.kind != "directory" else Path(snapshot.id).name
    flat = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name.replace("/", "--"))
    revision = snapshot.revision.removeprefix("sha256:")[:12]
    inside = str(snapshot.path_in_mount)
    return f"{_MODELS}/{flat}@{revision}" + ("" if inside == "." else f"/{inside}")


def build_engine(decided: Decided, choice: EngineChoice, snapshot: Snapshot, memory_bytes: int) -> Service:
    """Give the engine on a model."""
    config, paths = decided.config, decided.paths
    path = build_model_path(snapshot)
    inside = str(snapshot.path_in_mount)
    mount_target = path if inside == "." else path.removesuffix(f"/{inside}")
    mounts = [
        Mount(snapshot.mount_root, mount_target),
        Mount(paths.cache, _CACHE, read_only=False),
        Mount(paths.rendered / "engine", _OURS),
    ]
    mounts += [Mount(Path(source), target) for target, source in sorted(config.engine.mounts.items())]
    limits = config.services.engine
    return Service(
        name="engine",
        image=decided.images["engine"],
        command=(path, "--served-model-name", choice.served_name, *build_argv(choice.args)),
        environment=_build_engine_environment(config),
        mounts=tuple(mounts),
        secrets={API_KEY: paths.secrets / API_KEY} if demands_key(config) else {},
        address="127.0.0.1",
        port=decided.ports["engine"],
        user=f"{engine_uid()}:0",
        # A tenth of the memory stays with the host: an engine that grows must not take the desktop down.
        limits=Limits(limits.cpus, limits.memory or f"{memory_bytes * 9 // 10 // 1024**2}m"),
        stamp=build_stamp(
            asset_path("compose", "engine", "serve.sh").read_text(),
            read_api_key(config, paths) or "",
            *(text for text in [decided.files.get(f"engine/{CONFIG_NAME}")] if text is not None),
        ),
    )


def _build_engine_environment(config: StackConfig) -> dict[str, str]:
    json_log = {"VLLM_LOGGING_CONFIG_PATH": f"{_OURS}/{CONFIG_NAME}"} if config.engine.log_format == "json" else {}
    return ENGINE_ENVIRONMENT | json_log | dict(config.engine.env)

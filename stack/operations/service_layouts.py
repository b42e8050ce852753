"""Each service of a project, from the configuration and what was decided: the parts of the layout."""

from __future__ import annotations

import hashlib
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
    GATEWAY_CERTIFICATE,
    GATEWAY_CERTIFICATE_KEY,
    GATEWAY_KEY,
    GRAFANA_PASSWORD,
    demands_key,
    read_api_key,
)
from stack.operations.project import ProjectPaths

# Upstream's image has this user, and /home/vllm belongs to its group (docker/Dockerfile, since 2026-05-25).
ENGINE_UID_FOR_ROOT = 2000
GRAFANA_UID = 472
NOBODY = 65534
_MODELS = "/models"
_CACHE = "/cache"
_REPORTS = "/run/stack-reports"
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


@dataclass(frozen=True)
class Decided:
    """What every service is built from.

    Attributes:
        config: The configuration.
        images: The image of each service that runs.
        ports: The host's port of each published service.
        paths: The project's folders.
        files: The text of each mounted file; hashed into the services that mount it.
    """

    config: StackConfig
    images: Mapping[str, str]
    ports: Mapping[str, int]
    paths: ProjectPaths
    files: Mapping[str, str]


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


def build_prometheus(decided: Decided) -> Service:
    """Give Prometheus with its configuration, targets and rules; it also serves the reports of runs."""
    settings = decided.config.services.prometheus
    return Service(
        name="prometheus",
        image=decided.images["prometheus"],
        command=(
            "--config.file=/etc/prometheus/prometheus.yaml",
            "--storage.tsdb.path=/prometheus",
            f"--storage.tsdb.retention.time={settings.retention_time}",
            f"--storage.tsdb.retention.size={settings.retention_size}",
            "--web.listen-address=:9090",
            # Below `/user/`: what Grafana's annotations link to.
            f"--web.user-assets={_REPORTS}",
        ),
        mounts=(
            Mount(decided.paths.rendered / "prometheus", "/etc/prometheus"),
            Mount(decided.paths.reports, _REPORTS),
        ),
        address="127.0.0.1",
        port=decided.ports["prometheus"],
        limits=Limits(settings.cpus, settings.memory or "1g"),
        # Target files are watched by Prometheus itself; only its own configuration needs a new start.
        stamp=_hash_below(decided.files, "prometheus/", skip="prometheus/targets/"),
    )


def build_grafana(decided: Decided) -> Service:
    """Give Grafana with its data source and dashboards."""
    settings, paths, port = decided.config.services.grafana, decided.paths, decided.ports["grafana"]
    return Service(
        name="grafana",
        image=decided.images["grafana"],
        environment={
            "GF_SERVER_ROOT_URL": f"http://127.0.0.1:{port}/",
            # The provisioned data source takes it from here: `$__rate_interval` must know how far samples lie apart.
            "STACK_SCRAPE_INTERVAL": f"{decided.config.services.prometheus.scrape_interval_seconds}s",
        },
        mounts=(
            Mount(paths.rendered / "grafana/provisioning", "/etc/grafana/provisioning"),
            Mount(paths.rendered / "grafana/dashboards", "/etc/grafana/dashboards"),
        ),
        secrets={GRAFANA_PASSWORD: paths.secrets / GRAFANA_PASSWORD},
        address="127.0.0.1",
        port=port,
        user=None if os.geteuid() == 0 else f"{os.geteuid()}:0",
        limits=Limits(settings.cpus, settings.memory or "512m"),
        stamp=_hash_below(decided.files, "grafana/provisioning/"),
    )


def build_node_exporter(decided: Decided) -> Service:
    """Give node-exporter, which also reads the stack's own run metrics."""
    settings = decided.config.services.node_exporter
    return Service(
        name="node-exporter",
        image=decided.images["node-exporter"],
        mounts=(Mount(decided.paths.metrics, "/run/stack-metrics"),),
        limits=Limits(settings.cpus, settings.memory or "128m"),
    )


def build_dcgm_exporter(decided: Decided) -> Service:
    """Give dcgm-exporter with the list of what it exports."""
    return Service(
        name="dcgm-exporter",
        image=decided.images["dcgm-exporter"],
        mounts=(Mount(decided.paths.rendered / "dcgm-exporter", "/etc/stack"),),
        limits=Limits(None, "512m"),
        stamp=_hash_below(decided.files, "dcgm-exporter/"),
    )


def build_gateway(decided: Decided) -> Service:
    """Give the gateway, the one service that other machines can reach."""
    from stack.containers.gateway import build_nginx_argv

    settings, paths = decided.config.services.gateway, decided.paths
    names = [GATEWAY_KEY]
    if settings.certificate_file is not None:
        names += [GATEWAY_CERTIFICATE, GATEWAY_CERTIFICATE_KEY]
    # A renewed certificate must reach the gateway, which reads it only when it starts.
    certificate = [_read_text(path) for path in (settings.certificate_file, settings.certificate_key_file)]
    return Service(
        name="gateway",
        image=decided.images["gateway"],
        command=tuple(build_nginx_argv("/etc/stack/nginx.conf")),
        mounts=(Mount(paths.rendered / "gateway", "/etc/stack"),),
        secrets={name: paths.secrets / name for name in names},
        address=settings.address,
        port=decided.ports["gateway"],
        user=f"{NOBODY}:{NOBODY}" if os.geteuid() == 0 else f"{os.geteuid()}:0",
        limits=Limits(None, "256m"),
        stamp=build_stamp(
            decided.files["gateway/nginx.conf"], read_api_key(decided.config, paths) or "", *filter(None, certificate)
        ),
    )


def _read_text(path: Path | None) -> str:
    return path.read_text() if path is not None and path.is_file() else ""


def _hash_below(files: Mapping[str, str], prefix: str, *, skip: str = "\0") -> str:
    return build_stamp(
        *(f"{name}\0{files[name]}" for name in sorted(files) if name.startswith(prefix) and not name.startswith(skip))
    )


def build_stamp(*parts: str) -> str:
    """Give the stamp of what a service reads when it starts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

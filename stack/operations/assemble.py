"""Put a project's decisions together into the layout of its containers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.assets import asset_path
from stack.config.engine_args import build_argv
from stack.config.schema import StackConfig
from stack.containers.gateway import (
    GatewaySettings,
    build_nginx_argv,
    render_gateway_key,
    render_nginx_config,
)
from stack.containers.layout import Layout, Limits, Mount, Service
from stack.models.snapshot import Snapshot
from stack.operations.access import API_KEY, GATEWAY_KEY, GRAFANA_PASSWORD, demands_key, read_secret
from stack.operations.project import ProjectPaths, ensure_secret, write_whole
from stack.telemetry.scrape import render_prometheus_config, render_targets

# Upstream's image has this user, and /home/vllm belongs to its group (docker/Dockerfile, since 2026-05-25).
ENGINE_UID_FOR_ROOT = 2000
_GRAFANA_UID = 472
_NOBODY = 65534
_MODELS = "/models"
_CACHE = "/cache"


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


def build_layout(
    config: StackConfig,
    choice: EngineChoice,
    images: Mapping[str, str],
    left_out: Mapping[str, str],
    snapshot: Snapshot,
    ports: Mapping[str, int],
    paths: ProjectPaths,
    files: Mapping[str, str],
    memory_bytes: int,
) -> Layout:
    """Give the layout of everything that runs.

    Args:
        config: The configuration.
        choice: What the engine is started with.
        images: The image of each service that runs.
        left_out: Services that do not run, with the reason.
        snapshot: The model.
        ports: The host's port of each published service.
        paths: The project's folders.
        files: What `render_files` gave; hashed into the services that mount it.
        memory_bytes: This machine's memory.
    """
    builders = {
        "engine": lambda: _build_engine(
            config, choice, images["engine"], snapshot, ports, paths, memory_bytes
        ),
        "prometheus": lambda: _build_prometheus(config, images["prometheus"], ports, paths, files),
        "grafana": lambda: _build_grafana(config, images["grafana"], ports, paths, files),
        "node-exporter": lambda: _build_node_exporter(config, images["node-exporter"], paths),
        "dcgm-exporter": lambda: Service(
            "dcgm-exporter", images["dcgm-exporter"], limits=Limits(None, "512m")
        ),
        "gateway": lambda: _build_gateway(config, images["gateway"], ports, paths, files),
    }
    shm = config.engine.shm_size or ("1g" if choice.device == "cpu" else "8g")
    return Layout(
        project=config.project,
        device=choice.device,
        devices=choice.devices,
        services={name: builders[name]() for name in builders if name in images},
        left_out=dict(left_out),
        shm_size=shm,
    )


def render_files(config: StackConfig, services: Sequence[str]) -> dict[str, str]:
    """Give every file that is mounted into a container: path below the rendered folder -> text."""
    template = asset_path("prometheus", "prometheus.yaml").read_text()
    interval = config.services.prometheus.scrape_interval_seconds
    files = {
        "prometheus/prometheus.yaml": render_prometheus_config(template, scrape_interval_seconds=interval)
    }
    for name, text in render_targets(services).items():
        files[f"prometheus/targets/{name}"] = text
    for folder in ("prometheus/rules", "grafana/provisioning", "grafana/dashboards"):
        root = asset_path(*folder.split("/"))
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix in {".yaml", ".json"}:
                files[f"{folder}/{path.relative_to(root)}"] = path.read_text()
    files["engine/serve.sh"] = asset_path("compose", "engine", "serve.sh").read_text()
    if "gateway" in services:
        gateway = config.services.gateway
        settings = GatewaySettings(
            max_body=gateway.max_body,
            requests_per_second=gateway.requests_per_second,
            burst=gateway.burst,
            connections=gateway.connections,
            upstream="engine.serving:8000",
        )
        files["gateway/nginx.conf"] = render_nginx_config(settings)
    return files


def write_files(paths: ProjectPaths, files: Mapping[str, str]) -> None:
    """Write the mounted files in place, and remove those that are no longer part of them."""
    for name, text in files.items():
        write_whole(paths.rendered / name, text)
    wanted = {paths.rendered / name for name in files} | {paths.override}
    for path in paths.rendered.rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()
    for path in [paths.rendered, *paths.rendered.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)


def write_secrets(config: StackConfig, layout: Layout, paths: ProjectPaths) -> None:
    """Make the secret files that the layout names, readable for the user that each container runs as."""
    root = os.geteuid() == 0
    if demands_key(config):
        ensure_secret(paths, API_KEY, owner=engine_uid() if root else None)
    if "grafana" in layout.services:
        ensure_secret(paths, GRAFANA_PASSWORD, owner=_GRAFANA_UID if root else None)
    if "gateway" in layout.services:
        key = read_secret(paths.secrets / API_KEY)
        owner = _NOBODY if root else None
        write_whole(paths.secrets / GATEWAY_KEY, render_gateway_key(key), mode=0o600, owner=owner)


def build_model_path(snapshot: Snapshot) -> str:
    """Give the model's path inside the engine; it decides the compile cache's key, so it must not change."""
    name = snapshot.id if snapshot.kind != "directory" else Path(snapshot.id).name
    flat = "".join(
        letter if letter.isalnum() or letter in "._-" else "-" for letter in name.replace("/", "--")
    )
    revision = snapshot.revision.removeprefix("sha256:")[:12]
    inside = str(snapshot.path_in_mount)
    return f"{_MODELS}/{flat}@{revision}" + ("" if inside == "." else f"/{inside}")


def _build_engine(
    config: StackConfig,
    choice: EngineChoice,
    image: str,
    snapshot: Snapshot,
    ports: Mapping[str, int],
    paths: ProjectPaths,
    memory_bytes: int,
) -> Service:
    path = build_model_path(snapshot)
    inside = str(snapshot.path_in_mount)
    mount_target = path if inside == "." else path.removesuffix(f"/{inside}")
    mounts = [
        Mount(snapshot.mount_root, mount_target),
        Mount(paths.cache, _CACHE, read_only=False),
        Mount(paths.rendered / "engine", "/opt/stack"),
    ]
    mounts += [Mount(Path(source), target) for target, source in sorted(config.engine.mounts.items())]
    limits = config.services.engine
    return Service(
        name="engine",
        image=image,
        command=(path, "--served-model-name", choice.served_name, *build_argv(choice.args)),
        environment=_ENGINE_ENVIRONMENT | dict(config.engine.env),
        mounts=tuple(mounts),
        secrets={API_KEY: paths.secrets / API_KEY} if demands_key(config) else {},
        address="127.0.0.1",
        port=ports["engine"],
        user=f"{engine_uid()}:0",
        # A tenth of the memory stays with the host: an engine that grows must not take the desktop down.
        limits=Limits(limits.cpus, limits.memory or f"{memory_bytes * 9 // 10 // 1024**2}m"),
        stamp=_hash(asset_path("compose", "engine", "serve.sh").read_text()),
    )


# Everything that vLLM and what it builds on would write under a home directory goes to the cache volume, nothing is
# looked up online (the weights are here), and nobody is told that it runs. Values must stay the same from boot to
# boot: most VLLM_* variables are part of the compile cache's key.
_ENGINE_ENVIRONMENT = {
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


def _build_prometheus(
    config: StackConfig, image: str, ports: Mapping[str, int], paths: ProjectPaths, files: Mapping[str, str]
) -> Service:
    settings = config.services.prometheus
    return Service(
        name="prometheus",
        image=image,
        command=(
            "--config.file=/etc/prometheus/prometheus.yaml",
            "--storage.tsdb.path=/prometheus",
            f"--storage.tsdb.retention.time={settings.retention_time}",
            f"--storage.tsdb.retention.size={settings.retention_size}",
            "--web.listen-address=:9090",
        ),
        mounts=(Mount(paths.rendered / "prometheus", "/etc/prometheus"),),
        address="127.0.0.1",
        port=ports["prometheus"],
        limits=Limits(settings.cpus, settings.memory or "1g"),
        # Target files are watched by Prometheus itself; only its own configuration needs a new start.
        stamp=_hash_below(files, "prometheus/", skip="prometheus/targets/"),
    )


def _build_grafana(
    config: StackConfig, image: str, ports: Mapping[str, int], paths: ProjectPaths, files: Mapping[str, str]
) -> Service:
    settings = config.services.grafana
    return Service(
        name="grafana",
        image=image,
        environment={
            "GF_SERVER_ROOT_URL": f"http://127.0.0.1:{ports['grafana']}/",
            # The provisioned data source takes it from here: `$__rate_interval` must know how far samples lie apart.
            "STACK_SCRAPE_INTERVAL": f"{config.services.prometheus.scrape_interval_seconds}s",
        },
        mounts=(
            Mount(paths.rendered / "grafana/provisioning", "/etc/grafana/provisioning"),
            Mount(paths.rendered / "grafana/dashboards", "/etc/grafana/dashboards"),
        ),
        secrets={GRAFANA_PASSWORD: paths.secrets / GRAFANA_PASSWORD},
        address="127.0.0.1",
        port=ports["grafana"],
        user=None if os.geteuid() == 0 else f"{os.geteuid()}:0",
        limits=Limits(settings.cpus, settings.memory or "512m"),
        stamp=_hash_below(files, "grafana/provisioning/"),
    )


def _build_node_exporter(config: StackConfig, image: str, paths: ProjectPaths) -> Service:
    settings = config.services.node_exporter
    return Service(
        name="node-exporter",
        image=image,
        mounts=(Mount(paths.metrics, "/run/stack-metrics"),),
        limits=Limits(settings.cpus, settings.memory or "128m"),
    )


def _build_gateway(
    config: StackConfig, image: str, ports: Mapping[str, int], paths: ProjectPaths, files: Mapping[str, str]
) -> Service:
    settings = config.services.gateway
    return Service(
        name="gateway",
        image=image,
        command=tuple(build_nginx_argv("/etc/stack/nginx.conf")),
        mounts=(Mount(paths.rendered / "gateway", "/etc/stack"),),
        secrets={GATEWAY_KEY: paths.secrets / GATEWAY_KEY},
        address=settings.address,
        port=ports["gateway"],
        user=f"{_NOBODY}:{_NOBODY}" if os.geteuid() == 0 else f"{os.geteuid()}:0",
        limits=Limits(None, "256m"),
        stamp=_hash(files["gateway/nginx.conf"], _read_text(paths.secrets / GATEWAY_KEY)),
    )


def _read_text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def _hash_below(files: Mapping[str, str], prefix: str, *, skip: str = "\0") -> str:
    return _hash(
        *(
            f"{name}\0{files[name]}"
            for name in sorted(files)
            if name.startswith(prefix) and not name.startswith(skip)
        )
    )


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

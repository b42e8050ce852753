"""Put a project's decisions together into the layout of its containers."""

from __future__ import annotations

from collections.abc import Mapping

from stack.config.schema import StackConfig
from stack.containers.layout import Layout
from stack.models.snapshot import Snapshot
from stack.operations.layout.alerting import build_alertmanager
from stack.operations.layout.decided import Decided
from stack.operations.layout.engine import EngineChoice, build_engine
from stack.operations.layout.services import (
    build_dcgm_exporter,
    build_gateway,
    build_grafana,
    build_node_exporter,
    build_prometheus,
)
from stack.operations.project import ProjectPaths


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
    decided = Decided(config, images, ports, paths, files)
    builders = {
        "engine": lambda: build_engine(decided, choice, snapshot, memory_bytes),
        "prometheus": lambda: build_prometheus(decided),
        "alertmanager": lambda: build_alertmanager(decided),
        "grafana": lambda: build_grafana(decided),
        "node-exporter": lambda: build_node_exporter(decided),
        "dcgm-exporter": lambda: build_dcgm_exporter(decided),
        "gateway": lambda: build_gateway(decided),
    }
    return Layout(
        project=config.project,
        device=choice.device,
        devices=choice.devices,
        services={name: builders[name]() for name in builders if name in images},
        left_out=dict(left_out),
        shm_size=choose_shm_size(config, choice.device),
    )


def choose_shm_size(config: StackConfig, device: str) -> str:
    """Give the size of the engine's `/dev/shm`: the configured one, else one for its device."""
    return config.engine.shm_size or ("1g" if device == "cpu" else "8g")

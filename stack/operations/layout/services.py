"""Each service of a project, from the configuration and what was decided: the parts of the layout."""

from __future__ import annotations

import os
from pathlib import Path

from stack.containers.layout import Limits, Mount, Service
from stack.operations.access import (
    GATEWAY_CERTIFICATE,
    GATEWAY_CERTIFICATE_KEY,
    GATEWAY_KEY,
    GRAFANA_PASSWORD,
    read_api_key,
)
from stack.operations.layout.decided import Decided, build_stamp, hash_below

GRAFANA_UID = 472
NOBODY = 65534
_REPORTS = "/run/stack-reports"


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
        stamp=hash_below(decided.files, "prometheus/", skip="prometheus/targets/"),
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
        stamp=hash_below(decided.files, "grafana/provisioning/"),
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
        stamp=hash_below(decided.files, "dcgm-exporter/"),
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

"""The files and secrets that are mounted into the containers: their text, and how they come to lie in the state."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence

from stack.assets import asset_path
from stack.config.schema import StackConfig
from stack.containers.log_config import CONFIG_NAME, build_logging_config
from stack.containers.render import render_json
from stack.operations.access import (
    ALERTMANAGER_CONFIG,
    API_KEY,
    GATEWAY_CERTIFICATE,
    GATEWAY_CERTIFICATE_KEY,
    GATEWAY_KEY,
    GRAFANA_PASSWORD,
    demands_key,
    read_secret,
    read_webhook_url,
)
from stack.operations.engine_defaults import QUIET_ENDPOINTS
from stack.operations.layout.engine import engine_uid
from stack.operations.layout.services import (
    GRAFANA_UID,
    NOBODY,
)
from stack.operations.project import ProjectPaths, ensure_secret
from stack.operations.slo.objectives import build_objectives
from stack.operations.write import write_whole
from stack.telemetry.scrape import render_prometheus_config, render_targets
from stack.telemetry.slo_rules import render_slo_rules


def render_files(config: StackConfig, services: Sequence[str]) -> dict[str, str]:
    """Give every file that is mounted into a container: path below the rendered folder -> text."""
    template = asset_path("prometheus", "prometheus.yaml").read_text()
    interval = config.services.prometheus.scrape_interval_seconds
    text = render_prometheus_config(
        template, scrape_interval_seconds=interval, has_alertmanager="alertmanager" in services
    )
    files = {"prometheus/prometheus.yaml": text}
    for name, text in render_targets(services).items():
        files[f"prometheus/targets/{name}"] = text
    for folder in ("prometheus/rules", "grafana/provisioning", "grafana/dashboards"):
        root = asset_path(*folder.split("/"))
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix in {".yaml", ".json"}:
                files[f"{folder}/{path.relative_to(root)}"] = path.read_text()
    files.pop("prometheus/rules/slo.yaml")
    if config.slo.enabled:
        files["prometheus/rules/slo.yaml"] = render_slo_rules(build_objectives(config))
    files["engine/serve.sh"] = asset_path("compose", "engine", "serve.sh").read_text()
    if config.engine.log_format == "json":
        args = {"disable-access-log-for-endpoints": QUIET_ENDPOINTS} | dict(config.engine.args)
        files[f"engine/{CONFIG_NAME}"] = render_json(build_logging_config(args, config.engine.env))
    if "dcgm-exporter" in services:
        counters = asset_path("compose", "dcgm-exporter", "counters.csv")
        files["dcgm-exporter/counters.csv"] = counters.read_text()
    if "gateway" in services:
        files["gateway/nginx.conf"] = _render_gateway(config)
    return files


def _render_gateway(config: StackConfig) -> str:
    # Imported where there is a gateway: most stacks have none.
    from stack.containers.gateway import GatewaySettings, render_nginx_config

    gateway = config.services.gateway
    has_tls = gateway.certificate_file is not None
    settings = GatewaySettings(
        max_body=gateway.max_body,
        requests_per_second=gateway.requests_per_second,
        burst=gateway.burst,
        connections=gateway.connections,
        certificate_file=f"/run/secrets/{GATEWAY_CERTIFICATE}" if has_tls else None,
        certificate_key_file=f"/run/secrets/{GATEWAY_CERTIFICATE_KEY}" if has_tls else None,
        upstream="engine.serving:8000",
    )
    return render_nginx_config(settings)


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


def write_secrets(config: StackConfig, services: Collection[str], paths: ProjectPaths) -> None:
    """Make the secret files of these services, readable for the user that each container runs as."""
    root = os.geteuid() == 0
    if demands_key(config):
        ensure_secret(paths, API_KEY, owner=engine_uid() if root else None)
    if "grafana" in services:
        ensure_secret(paths, GRAFANA_PASSWORD, owner=GRAFANA_UID if root else None)
    if "alertmanager" in services:
        from stack.telemetry.alertmanager import render_alertmanager_config

        text = render_alertmanager_config(read_webhook_url(config))
        write_whole(paths.secrets / ALERTMANAGER_CONFIG, text, mode=0o600, owner=NOBODY if root else None)
    if "gateway" in services:
        from stack.containers.gateway import render_gateway_key

        key = read_secret(paths.secrets / API_KEY)
        owner = NOBODY if root else None
        write_whole(paths.secrets / GATEWAY_KEY, render_gateway_key(key), mode=0o600, owner=owner)
        _write_certificate(config, paths, owner)


def _write_certificate(config: StackConfig, paths: ProjectPaths, owner: int | None) -> None:
    """Copy the gateway's certificate: its key is readable for this user, and not for the gateway's."""
    gateway = config.services.gateway
    for name, source in (
        (GATEWAY_CERTIFICATE, gateway.certificate_file),
        (GATEWAY_CERTIFICATE_KEY, gateway.certificate_key_file),
    ):
        if source is None:
            (paths.secrets / name).unlink(missing_ok=True)
        else:
            write_whole(paths.secrets / name, source.read_text(), mode=0o600, owner=owner)

"""The settings of the services: ports, limits and what only one of them has."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from stack.config.values import (
    Address,
    Duration,
    HostPath,
    ImageReference,
    NginxSize,
    Port,
    PrometheusSize,
    Shown,
    Size,
)


def to_kebab(name: str) -> str:
    """Give the TOML spelling of an attribute."""
    return name.replace("_", "-")


class Section(BaseModel):
    """A table of stack.toml: frozen, nothing unknown, no silent conversion of types."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_kebab,
        validate_by_name=True,
        validate_by_alias=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


Cpus = Annotated[
    float | None,
    Field(
        gt=0,
        le=1024,
        description="Most CPUs that the service may use, such as 1.5; no limit of its own if unset",
        examples=[4.0],
    ),
]
Memory = Annotated[
    Size | None,
    Field(description="Most memory that the service may use; no limit of its own if unset", examples=["16g"]),
]
Image = Annotated[
    ImageReference | None,
    Field(
        description="Image to use instead of the shipped one: tag or digest required",
        examples=["registry.example/name@sha256:" + "0" * 64],
    ),
]


class EngineServiceConfig(Section):
    """The engine's container."""

    port: Annotated[Port, Shown('"auto" (8000, or the next free one)')] = Field(
        default="auto", description="Loopback port of the OpenAI-compatible API"
    )
    cpus: Cpus = None
    memory: Memory = None


class PrometheusConfig(Section):
    """Prometheus."""

    enabled: bool = Field(default=True, description="Run Prometheus")
    image: Image = None
    port: Annotated[Port, Shown('"auto" (9090, or the next free one)')] = Field(
        default="auto", description="Loopback port of Prometheus"
    )
    cpus: Cpus = None
    memory: Memory = None
    retention_time: Duration = Field(default="15d", description="How long samples are kept")
    retention_size: PrometheusSize = Field(
        default="2GB", description="How much disk samples may take; the oldest go first (KB, MB, GB or TB)"
    )
    scrape_interval_seconds: int = Field(
        default=5,
        ge=1,
        le=20,
        description="Seconds between two scrapes of every target; the recording rules look back over one minute",
    )


class AlertmanagerConfig(Section):
    """Alertmanager, which tells somebody of alerts."""

    enabled: bool = Field(
        default=False, description="Run Alertmanager: alerts are grouped and sent; Grafana shows them without it"
    )
    image: Image = None
    port: Annotated[Port, Shown('"auto" (9093, or the next free one)')] = Field(
        default="auto", description="Loopback port of Alertmanager"
    )
    cpus: Cpus = None
    memory: Memory = None
    webhook_url_file: HostPath | None = Field(
        default=None,
        description="File that holds the URL to which alerts are sent as JSON; without it they are only grouped",
        examples=["~/.config/stack/webhook-url"],
    )


class GrafanaConfig(Section):
    """Grafana."""

    enabled: bool = Field(default=True, description="Run Grafana")
    image: Image = None
    port: Annotated[Port, Shown('"auto" (3000, or the next free one)')] = Field(
        default="auto", description="Loopback port of Grafana"
    )
    cpus: Cpus = None
    memory: Memory = None


class NodeExporterConfig(Section):
    """node-exporter."""

    enabled: bool = Field(
        default=True,
        description="Run node-exporter: metrics of the machine and of the stack's own boots and smokes",
    )
    image: Image = None
    cpus: Cpus = None
    memory: Memory = None


class DcgmExporterConfig(Section):
    """dcgm-exporter."""

    enabled: bool = Field(default=True, description="Run dcgm-exporter where the engine runs on NVIDIA GPUs")
    image: Image = None


class GatewayConfig(Section):
    """nginx before the engine, the only way in from other machines."""

    expose: bool = Field(
        default=False,
        description="Let other machines reach `/v1` through the gateway, with a key and request limits",
    )
    address: Address = Field(default="0.0.0.0", description="Address of this machine on which the gateway listens")
    port: Annotated[Port, Shown('"auto" (8080, or the next free one)')] = Field(
        default="auto", description="Port of the gateway"
    )
    image: Image = None
    certificate_file: HostPath | None = Field(
        default=None,
        description="Certificate (PEM, with its chain) of this machine, for TLS at the gateway; with its key",
        examples=["/etc/ssl/private/workstation.pem"],
    )
    certificate_key_file: HostPath | None = Field(
        default=None,
        description="Private key (PEM, without a password) of the certificate",
        examples=["/etc/ssl/private/workstation.key"],
    )
    max_body: NginxSize = Field(default="32m", description="Largest request body that the gateway lets through")
    requests_per_second: int = Field(
        default=20, ge=1, le=100_000, description="Requests a second that one client may send in the long run"
    )
    burst: int = Field(
        default=40, ge=0, le=100_000, description="Requests that one client may send at once beyond that"
    )
    connections: int = Field(
        default=64, ge=1, le=100_000, description="Connections that one client may hold open at once"
    )


class ServicesConfig(Section):
    """All services."""

    engine: EngineServiceConfig = EngineServiceConfig()
    prometheus: PrometheusConfig = PrometheusConfig()
    alertmanager: AlertmanagerConfig = AlertmanagerConfig()
    grafana: GrafanaConfig = GrafanaConfig()
    node_exporter: NodeExporterConfig = NodeExporterConfig()
    dcgm_exporter: DcgmExporterConfig = DcgmExporterConfig()
    gateway: GatewayConfig = GatewayConfig()

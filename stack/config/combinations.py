"""Rules that span keys: what contradicts, and what has no effect (pure)."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from stack.config.objectives import check_objectives, warn_objectives
from stack.config.schema import StackConfig
from stack.errors import Problem


@dataclass(frozen=True)
class Finding:
    """Keys that do not go together.

    Attributes:
        keys: The dotted keys, the one to change first.
        message: What is wrong with them.
    """

    keys: tuple[str, ...]
    message: str

    @property
    def problem(self) -> Problem:
        """Give it as a problem of its first key."""
        return Problem(self.keys[0], self.message)


def check_combinations(config: StackConfig, given: Collection[str]) -> list[Finding]:
    """Give the keys that contradict one another.

    Args:
        config: The configuration.
        given: The dotted keys that somebody set (a default never contradicts).
    """
    objectives = [Finding(keys, message) for keys, message in check_objectives(config)]
    return [*_check_identity(config), *_check_model(config), *_check_services(config, given), *objectives]


def warn_combinations(config: StackConfig, given: Collection[str]) -> list[Finding]:
    """Give the keys that were set and will have no effect, or less than was meant."""
    warnings = [Finding(keys, message) for keys, message in warn_objectives(config)]
    if config.services.grafana.enabled and not config.services.prometheus.enabled:
        keys = ("services.prometheus.enabled", "services.grafana.enabled")
        warnings.append(Finding(keys, "without Prometheus every panel of Grafana stays empty"))
    alertmanager = config.services.alertmanager
    if alertmanager.enabled and not config.services.prometheus.enabled:
        keys = ("services.alertmanager.enabled", "services.prometheus.enabled")
        warnings.append(Finding(keys, "has no effect: without Prometheus there are no alerts"))
    if alertmanager.webhook_url_file is not None and not alertmanager.enabled:
        keys = ("services.alertmanager.webhook-url-file", "services.alertmanager.enabled")
        warnings.append(Finding(keys, "has no effect without `services.alertmanager.enabled = true`"))
    asked_for_dcgm = "services.dcgm-exporter.enabled" in given and config.services.dcgm_exporter.enabled
    if asked_for_dcgm and config.engine.device == "cpu":
        keys = ("services.dcgm-exporter.enabled", "engine.device")
        warnings.append(Finding(keys, "has no effect: `engine.device` is `cpu`"))
    gateway = config.services.gateway
    if not gateway.expose:
        for key in (
            "services.gateway.address",
            "services.gateway.port",
            "services.gateway.certificate-file",
            "services.gateway.certificate-key-file",
        ):
            if key in given:
                text = "has no effect without `services.gateway.expose = true`: nothing is exposed"
                warnings.append(Finding((key, "services.gateway.expose"), text))
    elif gateway.certificate_file is None and not ipaddress.ip_address(gateway.address).is_loopback:
        text = "without TLS the key and all prompts cross the network readable; write a certificate and its key"
        warnings.append(Finding(("services.gateway.certificate-file", "services.gateway.expose"), text))
    return [*warnings, *_warn_logged_texts(config)]


def _warn_logged_texts(config: StackConfig) -> Iterator[Finding]:
    # Source: vLLM 0.31.0 and 0.32.0, entrypoints/serve/utils/request_logger.py.
    args, level = config.engine.args, config.engine.env.get("VLLM_LOGGING_LEVEL", "")
    if args.get("enable-log-outputs") is True:
        yield Finding(("engine.args.enable-log-outputs",), "vLLM writes every answer into its log, which is kept")
    if args.get("enable-log-requests") is True and "DEBUG" in (str(args.get("log-level")).upper(), level.upper()):
        text = "at log level DEBUG vLLM writes every prompt into its log, which is kept; at INFO only ids"
        yield Finding(("engine.args.enable-log-requests",), text)


def _check_identity(config: StackConfig) -> Iterator[Finding]:
    engine = config.engine
    if engine.commit and engine.version:
        text = f"`engine.commit` already says which vLLM runs; take one of the two away ({engine.version})"
        yield Finding(("engine.version", "engine.commit"), text)
    if engine.version and engine.image:
        text = "`engine.image` already says which vLLM runs; to demand what it holds write `engine.commit`"
        yield Finding(("engine.version", "engine.image"), text)
    if engine.image and config.images.source == "packages":
        text = 'names an image, and `images.source = "packages"` builds one; take one of the two away'
        yield Finding(("engine.image", "images.source"), text)
    if engine.device == "cpu" and engine.devices != "all":
        text = "chooses GPUs, and `engine.device` is `cpu`; take one of the two away"
        yield Finding(("engine.devices", "engine.device"), text)


def _check_model(config: StackConfig) -> Iterator[Finding]:
    model = config.model
    if model.revision is None:
        return
    keys = ("model.revision", "model.id")
    if model.id is None:
        yield Finding(keys, f"`{model.revision}` is a revision of no model; write `model.id` too")
    elif model.id == "demo":
        yield Finding(keys, "the demo model has one revision only; take `model.revision` away")
    elif model.id.startswith(("/", ".", "~")):
        yield Finding(keys, "a directory has no revisions; take `model.revision` away")


def _check_services(config: StackConfig, given: Collection[str]) -> Iterator[Finding]:
    services = config.services
    if services.gateway.expose and not config.engine.api_key and "engine.api-key" in given:
        text = "an exposed engine always demands its key; write true or leave the key away"
        yield Finding(("engine.api-key", "services.gateway.expose"), text)
    gateway = services.gateway
    if (gateway.certificate_file is None) != (gateway.certificate_key_file is None):
        there, missing = "certificate-file", "certificate-key-file"
        if gateway.certificate_file is None:
            there, missing = missing, there
        keys = (f"services.gateway.{missing}", f"services.gateway.{there}")
        yield Finding(keys, f"is missing beside `{keys[1]}`: a certificate and its key go together")
    users: dict[int, str] = {}
    for name, port, used in (
        ("engine", services.engine.port, True),
        ("prometheus", services.prometheus.port, services.prometheus.enabled),
        ("alertmanager", services.alertmanager.port, services.alertmanager.enabled),
        ("grafana", services.grafana.port, services.grafana.enabled),
        ("gateway", services.gateway.port, services.gateway.expose),
    ):
        key = f"services.{name}.port"
        if used and isinstance(port, int):
            first = users.setdefault(port, key)
            if first != key:
                yield Finding((key, first), f'{port} is already `{first}`; take another port or "auto"')

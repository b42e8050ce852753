"""Alertmanager, from the configuration and what was decided: the one service that is off unless it is asked for."""

from __future__ import annotations

import os

from stack.containers.layout import Limits, Service
from stack.operations.access import ALERTMANAGER_CONFIG, read_webhook_url
from stack.operations.layout.decided import Decided, build_stamp
from stack.operations.layout.services import NOBODY
from stack.telemetry.alertmanager import render_alertmanager_config


def build_alertmanager(decided: Decided) -> Service:
    """Give Alertmanager; its configuration is a secret, because the address that it sends to may hold a token."""
    settings, paths = decided.config.services.alertmanager, decided.paths
    return Service(
        name="alertmanager",
        image=decided.images["alertmanager"],
        command=(
            f"--config.file=/run/secrets/{ALERTMANAGER_CONFIG}",
            "--storage.path=/alertmanager",
            "--web.listen-address=:9093",
            # No other one to agree with, and no port for it.
            "--cluster.listen-address=",
        ),
        secrets={ALERTMANAGER_CONFIG: paths.secrets / ALERTMANAGER_CONFIG},
        address="127.0.0.1",
        port=decided.ports["alertmanager"],
        user=f"{NOBODY}:{NOBODY}" if os.geteuid() == 0 else f"{os.geteuid()}:0",
        limits=Limits(settings.cpus, settings.memory or "128m"),
        stamp=build_stamp(render_alertmanager_config(read_webhook_url(decided.config))),
    )

"""Which port of this machine each published service gets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence

from stack.config.schema import StackConfig
from stack.containers.daemon import ServiceState
from stack.errors import HostError

PREFERRED_PORTS = {"engine": 8000, "prometheus": 9090, "grafana": 3000, "gateway": 8080}
_CANDIDATES = 100


def choose_ports(
    config: StackConfig,
    services: Sequence[str],
    remembered: Mapping[str, int],
    running: Mapping[str, ServiceState],
    is_free: Callable[[str, int], bool] | None = None,
) -> dict[str, int]:
    """Give each published service its port: the configured one, else the one it had, else a free one.

    Args:
        config: The configuration.
        services: The services that run.
        remembered: The ports of an earlier `up`.
        running: The project's containers now; a running one keeps its port.
        is_free: Tells whether a port of an address can be had.

    Raises:
        HostError: No port is free.
    """
    test = is_free or is_port_free
    asked = {name: port for name, port in _read_settings(config).items() if name in services}
    # What the user chose comes first: no automatic choice may take it.
    chosen = {name: port for name, port in asked.items() if isinstance(port, int)}
    for name in asked:
        port = _read_running_port(running.get(name))
        if name not in chosen and port is not None and port not in chosen.values():
            chosen[name] = port
    for name in asked:
        if name not in chosen:
            address = config.services.gateway.address if name == "gateway" else "127.0.0.1"
            chosen[name] = _find_port(name, address, remembered.get(name), set(chosen.values()), test)
    return {name: chosen[name] for name in asked}


def is_port_free(address: str, port: int) -> bool:
    """Tell whether a port can be bound now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError:
        return False
    return True


def _read_settings(config: StackConfig) -> dict[str, int | str]:
    services = config.services
    return {
        "engine": services.engine.port,
        "prometheus": services.prometheus.port,
        "grafana": services.grafana.port,
        "gateway": services.gateway.port,
    }


def _read_running_port(state: ServiceState | None) -> int | None:
    return state.host_port if state is not None and state.state == "running" else None


def _find_port(name: str, address: str, had: int | None, taken: set[int], test: Callable[[str, int], bool]) -> int:
    first = PREFERRED_PORTS[name]
    candidates = [*([had] if had else []), *range(first, first + _CANDIDATES)]
    for port in candidates:
        if port not in taken and test(address, port):
            return port
    raise HostError(
        f"no port from {first} to {first + _CANDIDATES - 1} is free on {address} for `{name}`",
        hint=f"choose one: `[services.{name}] port`; `ss -ltn` shows which are taken",
    )

"""Which port of this machine each published service gets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence

import docker

from stack.checks.port_owner import find_port_owner
from stack.config.schema import StackConfig
from stack.containers.daemon import ServiceState, read_published_ports
from stack.errors import HostError

PREFERRED_PORTS = {"engine": 8000, "prometheus": 9090, "alertmanager": 9093, "grafana": 3000, "gateway": 8080}
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
            address = find_port_address(config, name)
            chosen[name] = _find_port(name, address, remembered.get(name), set(chosen.values()), test)
    return {name: chosen[name] for name in asked}


def check_asked_ports(
    config: StackConfig,
    ports: Mapping[str, int],
    running: Mapping[str, ServiceState],
    find_owner: Callable[[int], str | None],
    is_free: Callable[[str, int], bool] | None = None,
) -> None:
    """See that nobody else has a port that the configuration names: no other is taken in its place.

    Args:
        config: The configuration.
        ports: The port of each published service.
        running: The project's containers now; what they hold is ours.
        find_owner: Gives who has a port, in words, or None where that cannot be told.
        is_free: Tells whether a port of an address can be had.

    Raises:
        HostError: Somebody has one of them; all of them are told.
    """
    test = is_free or is_port_free
    ours = {_read_running_port(state) for state in running.values()}
    asked = [name for name, setting in _read_settings(config).items() if name in ports and isinstance(setting, int)]
    taken = [
        name for name in asked if ports[name] not in ours and not test(find_port_address(config, name), ports[name])
    ]
    if taken:
        said = [f"{_describe_taken(ports[name], find_owner)}, and `services.{name}.port` asks for it" for name in taken]
        key = f"services.{taken[0]}.port"
        raise HostError(
            "; ".join(said), hint=f'end what has it (`ss -ltnp`), or choose another port: `{key}`, or "auto" for any'
        )


def describe_moves(
    config: StackConfig,
    ports: Mapping[str, int],
    remembered: Mapping[str, int],
    running: Mapping[str, ServiceState],
    find_owner: Callable[[int], str | None],
) -> list[str]:
    """Say of each service that does not get the port that one would expect where it went, and because of whom."""
    said = []
    for name, port in ports.items():
        expected = remembered.get(name, PREFERRED_PORTS[name])
        is_kept = port in (expected, _read_running_port(running.get(name)))
        if _read_settings(config)[name] == "auto" and not is_kept and expected not in ports.values():
            said.append(f"{_describe_taken(expected, find_owner)}: {name} gets {port}")
    return said


def find_owner_by(client: docker.DockerClient) -> Callable[[int], str | None]:
    """Give a function that tells who has a port: a container, or a program of this machine."""
    return lambda port: read_published_ports(client).get(port) or find_port_owner(port)


def _describe_taken(port: int, find_owner: Callable[[int], str | None]) -> str:
    return f"port {port} is taken by {find_owner(port) or 'another program'}"


def find_asked_port(config: StackConfig, name: str) -> int | None:
    """Give the port that the configuration names for a service, or None where it leaves the choice to the tool."""
    setting = _read_settings(config)[name]
    return setting if isinstance(setting, int) else None


def find_port_address(config: StackConfig, name: str) -> str:
    """Give the address that a service's port is bound to."""
    return config.services.gateway.address if name == "gateway" else "127.0.0.1"


def is_port_free(address: str, port: int) -> bool:
    """Tell whether a port can be bound now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except (OSError, OverflowError):
        # A number beyond 65535 is no port: a damaged state may remember one.
        return False
    return True


def _read_settings(config: StackConfig) -> dict[str, int | str]:
    services = config.services
    return {
        "engine": services.engine.port,
        "prometheus": services.prometheus.port,
        "alertmanager": services.alertmanager.port,
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

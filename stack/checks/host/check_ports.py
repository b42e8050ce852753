"""The ports that the services publish: free, held by this project, or by whom."""

from __future__ import annotations

from stack.checks.host.check import HostCheck, HostContext, Outcome
from stack.checks.host.target import PortNeed
from stack.checks.port_owner import find_port_owner


def run(context: HostContext) -> Outcome:
    """Try every port, and name who holds what is not free."""
    taken, foreign, moved, good = [], [], [], []
    for need in context.target.ports:
        problem = None if need.is_ours else context.world.probe_port(need.address, need.port)
        if need.is_ours:
            good.append(f"{need.port} ({need.service}, running)")
        elif problem == "EADDRNOTAVAIL":
            foreign.append(f"{need.address} (for `{need.service}`) is no address of this machine")
        elif problem == "EADDRINUSE" or find_container(context, need.port):
            taken.append(need)
        else:
            # Below 1024 this user may not bind, but the daemon may.
            good.append(f"{need.port} ({need.service})")
        if need.preferred not in (None, need.port):
            moved.append(f"{need.preferred} is taken by {describe_holder(context, need.preferred or 0)}")
    data = {"ports": {need.service: need.port for need in context.target.ports}}
    if taken or foreign:
        return _complain(context, taken, foreign, data)
    said = f"{', '.join(good)} free for us" if good else "no port is published"
    return Outcome("pass", said + (f"; {', '.join(moved)}" if moved else ""), data=data)


def find_container(context: HostContext, port: int) -> str | None:
    """Give the container that publishes a port of this machine, in words."""
    found = [one for one in context.read_containers() if port in one.ports and one.state == "running"]
    return found[0].label if found else None


def describe_holder(context: HostContext, port: int) -> str:
    """Give who holds a port, in words, as far as this user may know."""
    holder = find_container(context, port) or find_port_owner(port, context.world.proc)
    return holder or "a program that this user may not see"


def _complain(context: HostContext, taken: list[PortNeed], foreign: list[str], data: dict) -> Outcome:
    said = [
        f"port {need.port} for `{need.service}` is taken by {describe_holder(context, need.port)}" for need in taken
    ]
    settings = ", ".join(f"`services.{need.service}.port`" for need in taken)
    hints = [f'end what has it (`sudo ss -ltnp`), or choose another port, or "auto": {settings}'] if taken else []
    hints += (
        ["choose an address of this machine: `services.gateway.address` (`ip address` lists them)"] if foreign else []
    )
    # An automatic port that somebody has taken since it was chosen is chosen anew by `up`.
    is_failure = bool(foreign) or any(need.is_asked for need in taken)
    return Outcome(
        "fail" if is_failure else "warn",
        "; ".join(said + foreign),
        hint="; ".join(hints),
        why="Docker could not publish the service" if is_failure else "`up` finds another port by itself",
        data=data | {"taken": [need.port for need in taken]},
    )


CHECK = HostCheck("ports", run, order=400, is_quick=True)

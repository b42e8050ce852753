"""Every service runs, is healthy, and was not restarted."""

from __future__ import annotations

from stack.checks.smoke.check import Check, Outcome, SmokeContext
from stack.checks.smoke.target import ServiceFacts


def run(context: SmokeContext) -> Outcome:
    """Judge the containers as Docker tells them."""
    services = context.target.services
    if not services:
        return Outcome("skip", "no container was looked at")
    troubles = [(service, _describe_trouble(service)) for service in services]
    broken = [(service, trouble) for service, trouble in troubles if trouble]
    data = {"services": {service.name: service.state for service in services}}
    if not broken:
        return Outcome("pass", f"{len(services)} services run, none was restarted", data=data)
    said = "; ".join(f"`{service.name}` {trouble}" for service, trouble in broken)
    status = "fail" if any(service.is_required for service, _ in broken) else "warn"
    return Outcome(status, said, f"`stack logs {broken[0][0].name}` tells why", data)


def _describe_trouble(service: ServiceFacts) -> str:
    if service.state != "running":
        return f"is {service.state}"
    if service.health == "unhealthy":
        return "is unhealthy"
    if service.restart_count:
        times = "once" if service.restart_count == 1 else f"{service.restart_count} times"
        return f"was restarted {times}"
    return ""


CHECK = Check("services", run, order=10, lane="side", model="any")

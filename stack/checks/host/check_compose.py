"""Docker Compose: the plugin, new enough."""

from __future__ import annotations

import json

from stack.checks.host.check import HostCheck, HostContext, Outcome
from stack.checks.host.check_docker import is_old

# The first with `!override`, which an ejected directory may need; the same number as operations/session.py.
MIN_COMPOSE = (2, 24)
_WHY = "Compose starts the services; version 1 has been dead since 2023 and cannot read these files"
_INSTALL = "./scripts/up installs it; or see https://docs.docker.com/compose/install/linux/"


def run(context: HostContext) -> Outcome:
    """Ask the plugin for its version, and where there is none, look for version 1."""
    answer = context.world.ask_tool(("docker", "compose", "version", "--format", "json"))
    version = parse_version(answer.stdout) if answer.returncode == 0 else None
    if version is not None:
        wanted = ".".join(str(number) for number in MIN_COMPOSE)
        data = {"version": version}
        if is_old(version, MIN_COMPOSE):
            message = f"Docker Compose {version} is too old: {wanted} or newer is needed"
            return Outcome("fail", message, hint=_INSTALL, why=_WHY, data=data)
        return Outcome("pass", f"Docker Compose {version}", data=data)
    old = context.world.ask_tool(("docker-compose", "version", "--short"))
    if old.returncode == 0 and old.stdout.strip().lstrip("v").startswith("1."):
        message = f"only Compose {old.stdout.strip()} (`docker-compose`) is here; version 2 is a plugin of `docker`"
        return Outcome("fail", message, hint=_INSTALL, why=_WHY, data={"version": old.stdout.strip()})
    said = answer.stderr.strip().splitlines()
    seen = f" (it says: {said[-1]})" if said else ""
    return Outcome("fail", f"Docker Compose v2 is not installed: `docker compose` fails{seen}", hint=_INSTALL, why=_WHY)


def parse_version(text: str) -> str | None:
    """Read what `docker compose version --format json` printed."""
    try:
        return str(json.loads(text)["version"]).removeprefix("v")
    except (ValueError, KeyError, TypeError):
        return None


# Not in the preflight: `up` asks Compose for its version before anything else, and the plugin is slow to start.
CHECK = HostCheck("compose", run, order=30, is_decisive=True)

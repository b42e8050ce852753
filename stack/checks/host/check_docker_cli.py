"""The docker command line: there, and able to talk to the daemon that the tool talks to."""

from __future__ import annotations

import json
from typing import Any

from stack.checks.host.check import HostCheck, HostContext, Outcome

_ARGV = ("docker", "version", "--format", "{{json .}}")


def run(context: HostContext) -> Outcome:
    """Ask the command line for its version, and for the daemon's through it."""
    answer = context.world.ask_tool(_ARGV)
    if answer.returncode is None:
        return Outcome(
            "fail",
            "`docker` is not installed, or not on PATH",
            hint="./scripts/up installs it; or see https://docs.docker.com/engine/install/",
            why="every service of the stack runs in a container, and Compose starts them through this command",
        )
    versions = parse_versions(answer.stdout)
    client = versions.get("client")
    data = {name: value for name, value in versions.items() if value}
    if answer.returncode and context.read_docker().info is not None:
        said = (answer.stderr.strip() or "it gives no reason").splitlines()[-1]
        return Outcome(
            "fail",
            f"`docker version` fails, though the daemon answers: {said}",
            hint="bring `docker` and its daemon to versions of the same year; see DOCKER_API_VERSION if it is set",
            why="Compose starts the services through this command",
            data=data,
        )
    if client is None:
        return Outcome("warn", "`docker version` says nothing that can be read", hint="see `docker version`", data=data)
    return Outcome("pass", f"docker {client}", data=data)


def parse_versions(text: str) -> dict[str, str | None]:
    """Read what `docker version --format json` printed; a daemon that does not answer leaves `Server` empty."""
    try:
        document: Any = json.loads(text)
        client, server = document.get("Client") or {}, document.get("Server") or {}
        return {"client": client.get("Version"), "context": client.get("Context"), "server": server.get("Version")}
    except (ValueError, AttributeError):
        return {}


CHECK = HostCheck("docker-cli", run, order=10, is_quick=True, is_decisive=True)

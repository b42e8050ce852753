"""Proxy settings: of this shell, of the daemon, and of the docker command line."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from stack.checks.host.check import HostCheck, HostContext, Outcome

_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_OWN = ("localhost", "127.0.0.1")


def run(context: HostContext) -> Outcome:
    """Look at all three places, and report every fault at once."""
    own = read_proxies(context.world.environ)
    info = context.read_docker().info or {}
    daemon = [name for name in ("HttpProxy", "HttpsProxy") if info.get(name)]
    injected = read_injected(context)
    data = {
        "environment": {name: hide_login(value) for name, value in own.items()},
        "daemon": {name: hide_login(str(info[name])) for name in daemon},
        "docker_config": {name: hide_login(str(value)) for name, value in injected.items()},
    }
    faults = [
        *_judge_own(context.world.environ, own),
        *_judge_daemon(context, own, daemon, str(info.get("NoProxy") or "")),
        *_judge_injected(injected),
    ]
    if faults:
        return Outcome(
            "warn",
            "; ".join(message for message, _ in faults),
            hint="; ".join(hint for _, hint in faults),
            why="requests that never leave this machine would be sent to the proxy, or those that must pass it would "
            "not",
            data=data,
        )
    places = [name for name, found in (("this shell", own), ("the daemon", daemon)) if found]
    return Outcome("pass", f"a proxy is set for {' and '.join(places)}" if places else "no proxy is set", data=data)


def read_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Give the proxies of an environment; lower-case names win, as for curl and Python."""
    found = {}
    for name in _VARIABLES:
        value = environ.get(name.lower()) or environ.get(name)
        if value:
            found[name] = value
    return found


def excludes(no_proxy: str, host: str) -> bool:
    """Tell whether a list of exceptions holds a host: by name, by domain, by network, or by `*`."""
    for entry in (part.strip() for part in no_proxy.split(",")):
        if entry in ("*", host) or (entry.startswith(".") and host.endswith(entry)):
            return True
        try:
            if "/" in entry and ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:
            continue
    return False


def hide_login(url: str) -> str:
    """Give a proxy's address without a user's name and password."""
    parts = urlsplit(url if "://" in url else f"//{url}")
    if "@" not in parts.netloc:
        return url
    scheme = f"{parts.scheme}://" if parts.scheme else ""
    return f"{scheme}***@{parts.netloc.rpartition('@')[2]}"


def read_injected(context: HostContext) -> dict[str, Any]:
    """Give the proxies that the docker command line puts into every container that it makes.

    Source: https://docs.docker.com/engine/cli/proxy/ (`proxies.default` of config.json).
    """
    folder = context.world.environ.get("DOCKER_CONFIG")
    path = (context.world.home / ".docker" if not folder else context.world.root / folder.lstrip("/")) / "config.json"
    try:
        proxies = json.loads(path.read_text()).get("proxies") or {}
        default = proxies.get("default") or {}
        return {name: value for name, value in default.items() if value}
    except (OSError, ValueError, AttributeError):
        return {}


def _judge_own(environ: Mapping[str, str], own: Mapping[str, str]) -> list[tuple[str, str]]:
    exceptions = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    missing = [host for host in _OWN if not excludes(exceptions, host)]
    if not own or not missing:
        return []
    return [
        (
            f"{', '.join(own)} is set, and NO_PROXY does not name {' and '.join(missing)}",
            f"export NO_PROXY={','.join([*filter(None, [exceptions]), *missing])}",
        )
    ]


def _judge_daemon(
    context: HostContext, own: Mapping[str, str], daemon: list[str], no_proxy: str
) -> list[tuple[str, str]]:
    see = "see https://docs.docker.com/engine/daemon/proxy/"
    is_pulled = any(image.action == "pull" for image in context.target.images)
    if context.read_docker().info is None:
        return []
    if own and not daemon and is_pulled:
        return [("this shell uses a proxy, and the Docker daemon, which pulls the images, has none", see)]
    local = [image.registry for image in context.target.images if image.registry and _is_local(image.registry)]
    hosts = [host for host in local if not excludes(no_proxy, host.partition(":")[0])]
    if daemon and hosts:
        return [(f"the daemon would ask its proxy for {hosts[0]}, a registry of this machine", see)]
    return []


def _is_local(registry: str) -> bool:
    return registry.partition(":")[0] in _OWN


def _judge_injected(injected: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = [name for name in ("httpProxy", "httpsProxy", "allProxy") if name in injected]
    missing = [host for host in _OWN if not excludes(str(injected.get("noProxy", "")), host)]
    if not names or not missing:
        return []
    return [
        (
            f"docker's config.json gives every container a proxy, without {' and '.join(missing)} in `noProxy`",
            "add them, and the services' names (`.metrics`, `.dashboards`, `.serving`), to `proxies.default.noProxy`",
        )
    ]


CHECK = HostCheck("proxy", run, order=440)

"""The gateway before an exposed engine, as nginx configuration: which routes, which key, which limits."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from stack.assets import asset_path
from stack.errors import ConfigError, Problem

GATEWAY_PORT = 8080
HEALTH_URL = "http://127.0.0.1:8081/healthz"


@dataclass(frozen=True)
class Route:
    """A route that the gateway lets through.

    Attributes:
        method: The one HTTP method it takes.
        path: The path, exact; `{id}` stands for one identifier.
    """

    method: str
    path: str


ROUTES = (
    Route("GET", "/v1/models"),
    Route("POST", "/v1/chat/completions"),
    Route("POST", "/v1/chat/completions/batch"),
    Route("POST", "/v1/completions"),
    Route("POST", "/v1/responses"),
    Route("GET", "/v1/responses/{id}"),
    Route("POST", "/v1/responses/{id}/cancel"),
    Route("POST", "/v1/messages"),
    Route("POST", "/v1/messages/count_tokens"),
    Route("POST", "/v1/embeddings"),
    Route("POST", "/v1/score"),
    Route("POST", "/v1/rerank"),
    Route("POST", "/v1/audio/transcriptions"),
    Route("POST", "/v1/audio/translations"),
)
"""Inference only. Left out on purpose, though under `/v1`: adapters, render and derender, realtime.

Source: the routes that vLLM 0.32.0 registers (`build_app`).
"""

_IDENTIFIER = "[A-Za-z0-9_-]{1,128}"
_KEY = re.compile(r"[A-Za-z0-9._~-]{32,256}")
_PATH = re.compile(r"/[A-Za-z0-9._/-]*")
_ADDRESS = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\d{1,5}")
_SIZE = re.compile(r"\d{1,9}[kKmMgG]?")


@dataclass(frozen=True)
class GatewaySettings:
    """What varies in the gateway's configuration.

    Attributes:
        max_body: The largest request body, in nginx's notation (`32m`); `0` lifts the limit.
        requests_per_second: The sustained rate of one client address.
        burst: How many requests of one client address may come at once beyond that rate.
        connections: How many requests one client address may have open.
        certificate_file: A PEM certificate chain inside the container; None serves plain HTTP.
        certificate_key_file: Its private key.
        key_file: Where the text of `render_gateway_key` lies inside the container.
        read_timeout_seconds: How long the engine may send nothing, as in a long prefill.
        listen: Where the gateway listens: a port, or address and port.
        health_listen: The same for `/healthz`; loopback, so that only the container itself reaches it.
        upstream: The engine.
        resolver: The name server that knows the engine; Docker's own, unless tested elsewhere.
        temp_dir: A writable directory.
        access_log: Where one line per request goes.
        error_log: Where failures of the gateway itself go.
    """

    max_body: str = "32m"
    requests_per_second: int = 20
    burst: int = 40
    connections: int = 64
    certificate_file: str | None = None
    certificate_key_file: str | None = None
    key_file: str = "/run/secrets/gateway_key"
    read_timeout_seconds: int = 3600
    listen: str = str(GATEWAY_PORT)
    health_listen: str = "127.0.0.1:8081"
    upstream: str = "engine:8000"
    resolver: str = "127.0.0.11"
    temp_dir: str = "/tmp"
    access_log: str = "/dev/stdout"
    error_log: str = "/dev/stderr"


def render_nginx_config(settings: GatewaySettings) -> str:
    """Render the gateway's nginx configuration; it never holds the key.

    Raises:
        ConfigError: A setting cannot be written into the configuration as it is.
    """
    problems = check_gateway_settings(settings)
    if problems:
        raise ConfigError(problems)
    values = {
        "MAX_BODY": settings.max_body,
        "REQUESTS_PER_SECOND": str(settings.requests_per_second),
        "BURST": str(settings.burst),
        "CONNECTIONS": str(settings.connections),
        "READ_TIMEOUT_SECONDS": str(settings.read_timeout_seconds),
        "KEY_FILE": settings.key_file,
        "LISTEN": settings.listen + (" ssl" if settings.certificate_file else ""),
        "HEALTH_LISTEN": settings.health_listen,
        "UPSTREAM": settings.upstream,
        "RESOLVER": settings.resolver,
        "TEMP_DIR": settings.temp_dir,
        "ACCESS_LOG": settings.access_log,
        "ERROR_LOG": settings.error_log,
        "ROUTES": _indented(f'"~{route_pattern(route)}" {route.method};' for route in ROUTES),
        "TLS": _indented(_tls_lines(settings)),
    }
    template = asset_path("compose", "gateway", "nginx.conf.template").read_text(encoding="utf-8")
    return re.sub("@([A-Z_]+)@", lambda match: values[match.group(1)], template)


def render_gateway_key(key: str) -> str:
    """Render the secret file that the configuration includes, to be stored with mode 0600.

    nginx compares plain strings of a `map` without regard to case, and patterns byte by byte up to the first
    difference. So the file has it compare digests: the time which that takes tells nothing about the key, and
    the file does not hold the key itself.

    Raises:
        ConfigError: The key is shorter than 32 characters, or not made of letters, digits and `._~-`.

    Source: https://nginx.org/en/docs/http/ngx_http_secure_link_module.html (MD5 is the only digest it has;
        finding a key for a given digest, which is what an attacker would need, remains out of reach).
    """
    if not _KEY.fullmatch(key):
        message = "must have 32 to 256 characters, all of them letters, digits or `._~-`"
        raise ConfigError([Problem("gateway key", message)])
    digest = hashlib.md5(key.encode("ascii"), usedforsecurity=False).digest()
    text = base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
    return f'secure_link "{text}";\nsecure_link_md5 "$stack_presented_key";\n'


def build_nginx_argv(config_path: str) -> list[str]:
    """Build the container's command; without `-e` nginx opens its built-in log file, on a read-only root."""
    return ["nginx", "-e", "/dev/stderr", "-c", config_path]


def route_pattern(route: Route) -> str:
    r"""Give the pattern that a request line's target must match as a whole, a query string allowed.

    `\z` and not `$`: the latter also matches before a final line feed.
    """
    path = re.escape(route.path.replace("{id}", "ID")).replace("ID", _IDENTIFIER)
    return rf"^{path}(?:\?.*)?\z"


def check_gateway_settings(settings: GatewaySettings) -> list[Problem]:
    """Find what nginx would misread or refuse, all of it at once."""
    problems = [
        Problem(f"services.gateway.{name}", "must be 1 or more")
        for name in ("requests_per_second", "connections", "read_timeout_seconds")
        if getattr(settings, name) < 1
    ]
    if settings.burst < 0:
        problems.append(Problem("services.gateway.burst", "must not be negative"))
    if not _SIZE.fullmatch(settings.max_body):
        problems.append(Problem("services.gateway.max_body", f"`{settings.max_body}` is no size such as `32m`"))
    for name in ("listen", "health_listen", "upstream", "resolver"):
        if not _ADDRESS.fullmatch(getattr(settings, name)):
            problems.append(Problem(f"services.gateway.{name}", f"`{getattr(settings, name)}` is no address"))
    for name in (
        "key_file",
        "temp_dir",
        "access_log",
        "error_log",
        "certificate_file",
        "certificate_key_file",
    ):
        path = getattr(settings, name)
        if path is not None and not _PATH.fullmatch(path):
            message = f"`{path}` is no absolute path of letters, digits and `._/-`"
            problems.append(Problem(f"services.gateway.{name}", message))
    if (settings.certificate_file is None) != (settings.certificate_key_file is None):
        problems.append(Problem("services.gateway.certificate_file", "certificate and its key go together"))
    return problems


def _tls_lines(settings: GatewaySettings) -> list[str]:
    if settings.certificate_file is None:
        return []
    return [
        f"ssl_certificate {settings.certificate_file};",
        f"ssl_certificate_key {settings.certificate_key_file};",
        "ssl_protocols TLSv1.2 TLSv1.3;",
        "ssl_session_tickets off;",
    ]


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(f"        {line}" for line in lines)

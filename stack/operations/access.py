"""The keys and passwords of a project: which are demanded, and where they lie."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stack.config.schema import StackConfig
from stack.containers.daemon import ServiceState, read_services
from stack.errors import CommandError, ServiceApiError
from stack.operations.project import ProjectPaths
from stack.operations.session import Session
from stack.progress import ProgressEvent

if TYPE_CHECKING:
    from stack.telemetry.grafana_api import GrafanaApi

ALERTMANAGER_CONFIG = "alertmanager_config"
API_KEY = "api_key"
GATEWAY_KEY = "gateway_key"
GATEWAY_CERTIFICATE = "gateway_certificate"
GATEWAY_CERTIFICATE_KEY = "gateway_certificate_key"
GRAFANA_PASSWORD = "grafana_password"  # noqa: S105 (the name of a file)

# Of a Grafana that was just started: one crash may be a start that came too early.
_CRASHES = 2

Run = Callable[[Sequence[str], str], "subprocess.CompletedProcess[str]"]


def demands_key(config: StackConfig) -> bool:
    """Tell whether clients must show the API key: when asked for, and always once other machines can reach it."""
    return config.engine.api_key or config.services.gateway.expose


def read_api_key(config: StackConfig, paths: ProjectPaths) -> str | None:
    """Give the API key, or None where none is demanded."""
    path = paths.secrets / API_KEY
    return read_secret(path) if demands_key(config) and path.is_file() else None


def read_webhook_url(config: StackConfig) -> str | None:
    """Give where alerts are sent, or None where the configuration names no file or it cannot be read."""
    path = config.services.alertmanager.webhook_url_file
    return read_secret(path) or None if path is not None and path.is_file() else None


def read_secret(path: Path) -> str:
    """Give the text of a secret file; one that holds no text is as good as empty, and the next `up` replaces it."""
    try:
        return path.read_text().strip()
    except UnicodeDecodeError:
        return ""


def open_grafana(session: Session, grafana: ServiceState, port: int) -> str | None:
    """Make a Grafana that was just started take this project's password; give what is wrong, or None."""
    import httpx2

    from stack.telemetry.grafana_api import GrafanaApi

    if grafana.state != "running":
        return f"its container is {grafana.state}; see `stack logs grafana`"
    session.report(ProgressEvent("grafana", "waiting until it takes this project's password"))
    password = read_secret(session.paths.secrets / GRAFANA_PASSWORD)
    with httpx2.Client(trust_env=False) as http:
        api = GrafanaApi(http, f"http://127.0.0.1:{port}", user="admin", password=password)
        try:
            find_end = build_end_finder(session, grafana)
            said = restore_grafana_login(api, grafana.container_id, password, find_end=find_end)
        except CommandError as err:
            said = f"{err.message}: {err.stderr.strip()[-200:]}"
    is_done = said in ("accepted", "reset")
    session.report(ProgressEvent("grafana", said, state="done" if is_done else "failed"))
    return None if is_done else said


def build_end_finder(session: Session, grafana: ServiceState) -> Callable[[], str | None]:
    """Give a function that tells why a Grafana that was just started will not answer any more, or None."""
    client = session.connect()

    def find_end() -> str | None:
        now = read_services(client, session.project).get("grafana")
        if now is None:
            return "its container is gone"
        times = now.restart_count - grafana.restart_count
        if now.state in ("exited", "dead") or times >= _CRASHES:
            return f"its container ended with exit status {now.exit_code}; see `stack logs grafana`"
        return None

    return find_end


def restore_grafana_login(
    api: GrafanaApi,
    container_id: str,
    password: str,
    *,
    run: Run | None = None,
    wait_seconds: float = 60,
    find_end: Callable[[], str | None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Make Grafana take our password, also where its volume is older than our state and holds another one.

    Grafana reads its password file only when it makes its database.

    Args:
        api: A client that uses our password.
        container_id: Grafana's container.
        password: Our password; it goes through standard input, never through argv.
        run: Runs a command with some input.
        wait_seconds: How long to wait for Grafana to answer at all.
        find_end: Tells why waiting will not help, or None.
        clock: Seconds that only grow.
        sleep: Waits for seconds.

    Returns:
        What was done: `accepted`, `reset`, or a reason why neither.

    Raises:
        CommandError: The password could not be reset.

    Source:
        https://grafana.com/docs/grafana/latest/cli/#reset-admin-password (`--password-from-stdin`).
    """
    from stack.telemetry.grafana_api import GrafanaLoginError

    silent = _wait_until_ready(api, wait_seconds, find_end, clock, sleep)
    if silent is not None:
        return silent
    try:
        api.fetch_dashboards()
        return "accepted"
    except GrafanaLoginError:
        _reset_grafana_password(container_id, password, run or _run)
    except ServiceApiError as err:
        return err.message
    try:
        api.fetch_dashboards()
    except ServiceApiError as err:
        return f"after its password was reset: {err.message}"
    return "reset"


def _wait_until_ready(
    api: GrafanaApi,
    wait_seconds: float,
    find_end: Callable[[], str | None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> str | None:
    """Give the reason why Grafana does not answer, or None once it does."""
    deadline = clock() + wait_seconds
    while not api.is_ready():
        if clock() > deadline:
            return f"Grafana does not answer after {wait_seconds:.0f} s"
        if end := find_end():
            return end
        sleep(1)
    return None


def _reset_grafana_password(container_id: str, password: str, run: Run) -> None:
    argv = ["docker", "exec", "-i", container_id, "grafana", "cli", "--homepath", "/usr/share/grafana"]
    argv += ["admin", "reset-admin-password", "--password-from-stdin"]
    done = run(argv, password + "\n")
    if done.returncode:
        raise CommandError(
            argv, done.returncode, done.stdout, done.stderr, message="resetting Grafana's password failed"
        )


def _run(argv: Sequence[str], text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(argv), input=text, capture_output=True, text=True)

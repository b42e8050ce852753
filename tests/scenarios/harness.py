"""What every scenario works with: the tool as a user runs it, on a project, ports and folders of its own."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED = 130
# No test measures time: this ends only what would never end, also on a machine that has much else to do.
PATIENCE_SECONDS = 120
ARTIFACTS = ROOT / "tests" / "artifacts"
_STARTED = itertools.count(1)
KINDS = ("container", "network", "volume")
# What a build needs of this machine goes through; everything else of the caller's environment stays out.
PASSED_ON = (
    "PATH", "LANG", "PIP_CERT", "PIP_FIND_LINKS", "PIP_INDEX_URL", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "DOCKER_HOST",
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    """A finished command."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float

    def json(self) -> Any:
        return json.loads(self.out)

    def demand(self, code: int = 0) -> Done:
        assert self.code == code, f"{' '.join(self.argv)} ended with {self.code}\n{self.out}\n{self.err}"
        return self


@dataclass
class Stack:
    """One project on this machine; `config` becomes its stack.toml."""

    name: str
    folder: Path
    data: Path
    user: str | None = None
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.folder / "state" / "stack" / self.name

    def environment(self) -> dict[str, str]:
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return passed | {
            "HOME": str(self.folder / "home"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "XDG_DATA_HOME": str(self.data),
            "STACK_PROJECT": self.name,
            "NO_COLOR": "1",
            "COLUMNS": "120",
            **self.environ,
        }

    def write_config(self, text: str) -> None:
        (self.folder / "stack.toml").write_text(text)

    def run(self, *arguments: str, timeout_seconds: float = 1500, stdin: str | None = None) -> Done:
        argv = [sys.executable, "-m", "stack", *arguments]
        if self.user is not None:
            argv = ["setpriv", f"--reuid={self.user}", "--init-groups", "--", *argv]
        began = time.monotonic()
        done = subprocess.run(
            argv, cwd=self.folder, env=self.environment(), capture_output=True, text=True,
            timeout=timeout_seconds, input=stdin,
        )  # fmt: skip
        return Done(tuple(arguments), done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    def status(self) -> dict[str, Any]:
        return self.run("status", "--json").demand().json()

    def url(self, service: str) -> str:
        return next(item["url"] for item in self.status()["services"] if item["name"] == service)

    def containers(self) -> dict[str, dict[str, Any]]:
        """Give `docker inspect` of the project's containers by service."""
        ids = run_docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={self.name}").split()
        found = json.loads(run_docker("inspect", *ids)) if ids else []
        return {item["Config"]["Labels"]["com.docker.compose.service"]: item for item in found}

    def keep_artifacts(self, test: str) -> Path:
        """Keep what tells why a scenario failed."""
        folder = ARTIFACTS / test
        folder.mkdir(parents=True, exist_ok=True)
        for service, item in self.containers().items():
            log = subprocess.run(["docker", "logs", item["Id"]], capture_output=True, text=True)
            (folder / f"{service}.log").write_text(log.stdout + log.stderr)
            (folder / f"{service}.json").write_text(json.dumps(item, indent=2))
        override = self.state / "rendered" / "compose.override.json"
        if override.is_file():
            shutil.copy(override, folder)
        return folder

    def remove(self) -> None:
        """Take everything of the project away, whatever state it is in."""
        if any(self._list(kind) for kind in KINDS):
            self.run("down", "--volumes")
        for kind in KINDS:
            if ids := self._list(kind):
                run_docker(kind, "rm", *(["--force"] if kind != "network" else []), *ids)

    def _list(self, kind: str) -> list[str]:
        listing = ["ls", "-q", "--filter", f"label=com.docker.compose.project={self.name}"]
        return run_docker(kind, *listing, *(["--all"] if kind == "container" else [])).split()


class Running:
    """A command of the tool that is under way; what it says on standard error can be waited for."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text()

    def wait_said(self, text: str) -> None:
        self.wait(lambda: text in self.said, f"`{text}`")

    def wait(self, check: Callable[[], Any], what: str) -> None:
        """Wait for a condition; a command that ends before it has failed."""

        def is_over() -> bool:
            return bool(check()) or self.process.poll() is not None

        eventually(is_over, what, every_seconds=0.02)
        assert check(), f"ended with {self.process.returncode} before {what}: {self.said}"

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.wait_end()

    def wait_end(self) -> int:
        """Wait for the end of the command, and give its exit status."""
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def start(stack: Stack, *arguments: str) -> Iterator[Running]:
    log = stack.folder / f"{arguments[0]}-{next(_STARTED)}.log"
    argv = [sys.executable, "-m", "stack", *arguments]
    with log.open("wb") as said:
        process = subprocess.Popen(
            argv, cwd=stack.folder, env=stack.environment(), stdout=subprocess.DEVNULL, stderr=said
        )
    try:
        yield Running(process, log)
    finally:
        process.kill()
        process.wait()


def run_docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def eventually(
    check: Callable[[], Any], what: str, *, every_seconds: float = 0.2, within_seconds: float = PATIENCE_SECONDS
) -> Any:
    """Give the first true answer of `check`; its last answer or error is part of the failure."""
    deadline = time.monotonic() + within_seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = check()
            if last:
                return last
        except (AssertionError, OSError, LookupError, ValueError) as err:
            last = err
        time.sleep(every_seconds)
    raise AssertionError(f"{what} did not come about within {within_seconds} s; last: {last!r}")


def services_of(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {item["name"]: item for item in document["services"]}

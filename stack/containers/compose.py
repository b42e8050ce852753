"""Compose's verbs for one project, through python-on-whales."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stack.errors import CommandError
from stack.failures.explain import explain_text

if TYPE_CHECKING:
    from python_on_whales import DockerClient

logger = logging.getLogger(__name__)

# Compose 2.40 makes a URL of its working directory, and ends where a `%` in it is no escape. Every path that it
# gets is absolute, so it may as well work from here.
_WORKING_DIRECTORY = "/"


class ComposeProject:
    """One Compose project: its files and its name.

    Args:
        files: Compose files in the order in which they are merged; paths inside them are absolute.
        name: The project's name.
        directory: The project's directory.

    Raises:
        CommandError: From every method, when Compose fails; a known failure is explained.
    """

    def __init__(self, files: Sequence[Path], name: str, directory: Path) -> None:
        self.files = tuple(files)
        self.name = name
        self.directory = directory

    def read_hashes(self) -> dict[str, str]:
        """Give the hash of each service's definition; a container carries the one that it was made from."""
        text = self._run(["config", "--hash", "*"])
        return dict(line.split() for line in text.splitlines() if line.strip())

    def up(self, services: Sequence[str]) -> None:
        """Create and start services, and make anew those whose definition changed."""
        self._call(
            "up",
            lambda client: client.compose.up(list(services), detach=True, pull="never", quiet=True, no_build=True),
        )

    def stop(self, services: Sequence[str]) -> None:
        """Stop services and remove their containers, also those that no file describes any more."""
        self._run(["rm", "--force", "--stop", *services], files=())

    def down(self, *, volumes: bool) -> None:
        """Remove the project's containers and networks, and on request its named volumes."""
        self._call("down", lambda client: client.compose.down(volumes=volumes, remove_orphans=True, quiet=True))

    def _call(self, verb: str, call: Callable[[DockerClient], Any]) -> Any:
        # Imported here: it takes a quarter of a second, and most commands do not touch Compose.
        from python_on_whales import DockerClient
        from python_on_whales.exceptions import DockerException

        client = DockerClient(
            # It has no way of its own to say where a command runs.
            client_call=["env", f"--chdir={_WORKING_DIRECTORY}", "docker"],
            compose_files=list(self.files),
            compose_project_name=self.name,
            compose_project_directory=str(self.directory),
            compose_profiles=[],
        )
        started = time.monotonic()
        try:
            return call(client)
        except DockerException as err:
            raise _translate(
                err.docker_command, err.return_code, err.stderr or err.stdout or "", started, verb
            ) from err
        finally:
            logger.debug("docker compose %s took %.2f s", verb, time.monotonic() - started)

    def _run(self, arguments: Sequence[str], *, files: Sequence[Path] | None = None) -> str:
        argv = ["docker", "compose", "--project-name", self.name, "--project-directory", str(self.directory)]
        for path in self.files if files is None else files:
            argv += ["--file", str(path)]
        argv += arguments
        # A file that the user's shell names is not one of this project's.
        environ = {name: value for name, value in os.environ.items() if name != "COMPOSE_FILE"}
        started = time.monotonic()
        done = subprocess.run(argv, capture_output=True, text=True, env=environ, cwd=_WORKING_DIRECTORY)
        logger.debug("%s took %.2f s", shlex.join(argv), time.monotonic() - started)
        if done.returncode:
            raise _translate(argv, done.returncode, done.stderr, started, arguments[0])
        return done.stdout


def read_compose_version() -> str | None:
    """Give the version of the Compose plugin that `docker compose` finds, or None where it finds none."""
    try:
        done = subprocess.run(["docker", "compose", "version", "--format", "json"], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    if done.returncode:
        return None
    try:
        return str(json.loads(done.stdout)["version"]).removeprefix("v")
    except (ValueError, KeyError, TypeError):
        return None


def read_old_compose_version() -> str | None:
    """Give the version of a `docker-compose` of the old kind, or None where there is none."""
    try:
        done = subprocess.run(["docker-compose", "version", "--short"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = done.stdout.strip().removeprefix("v")
    return version if done.returncode == 0 and version.startswith("1.") else None


def _translate(argv: Sequence[str], returncode: int, stderr: str, started: float, verb: str) -> CommandError:
    known = explain_text(stderr)
    said = re.findall(r"(?:Error response from daemon|error|ERROR): *(.+)", stderr)
    return CommandError(
        [str(word) for word in argv],
        returncode,
        stderr=stderr,
        duration_seconds=time.monotonic() - started,
        message=known.cause if known else f"`docker compose {verb}` failed{': ' + said[-1] if said else ''}",
        hint=known.next if known else None,
    )

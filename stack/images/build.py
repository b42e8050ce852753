"""Build an image from packages: a Debian base by mmdebstrap, then a Dockerfile by BuildKit.

Both are no-ops when the image is already here under the tag that its recipe gives.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from stack.errors import CommandError, HostError
from stack.images.recipe import BaseRecipe, ImageRecipe
from stack.progress import ProgressEvent, Report

logger = logging.getLogger(__name__)

_STEP = re.compile(r"^#\d+ \[(?:[^\]]*?)(\d+/\d+)\] (.*)")
_OUTPUT = re.compile(r"^#\d+ \d+\.\d+ +(\S.*)")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class BuildSettings:
    """What of this machine a build needs, and must not leave a trace of in the image.

    Attributes:
        ca_bundle: A file of certificates to trust (a corporate proxy's), or None.
        find_links: A folder of wheels that pip may take instead of asking an index, or None.
        pip_index_url: A package mirror, or None for PyPI.
        environ: The caller's environment, for proxy settings.
    """

    ca_bundle: Path | None
    find_links: Path | None
    pip_index_url: str | None
    environ: Mapping[str, str]


def find_ca_bundle(environ: Mapping[str, str]) -> Path | None:
    """Give the certificate file that this user's tools trust, by the usual variables, else the system's."""
    names = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    candidates = [environ[name] for name in names if environ.get(name)] + [
        "/etc/ssl/certs/ca-certificates.crt"
    ]
    return next((Path(name) for name in candidates if Path(name).is_file()), None)


def is_image_here(client: docker.DockerClient, tag: str) -> bool:
    """Tell whether the daemon has an image of that name."""
    try:
        client.images.get(tag)
    except ImageNotFound:
        return False
    return True


def ensure_base_image(
    client: docker.DockerClient, recipe: BaseRecipe, environ: Mapping[str, str], report: Report
) -> str:
    """Make the Debian base if it is not here, and give its tag.

    Raises:
        HostError: mmdebstrap is missing.
        CommandError: mmdebstrap or the import failed.
    """
    task = f"build {recipe.tag.rpartition(':')[0]}"
    if is_image_here(client, recipe.tag):
        return recipe.tag
    if shutil.which("mmdebstrap") is None:
        raise HostError(
            "building images from packages needs `mmdebstrap`, which is not installed",
            hint="sudo apt-get install mmdebstrap uidmap fakechroot fakeroot",
        )
    with tempfile.TemporaryDirectory(prefix="stack-base-") as folder:
        archive = Path(folder, "base.tar")
        argv = ["mmdebstrap", "--variant=minbase", f"--include={','.join(recipe.include)}"]
        # Without root mmdebstrap takes user namespaces where they are open, else fakechroot, which cannot
        # enter a suite whose libc is older than this machine's.
        argv += [recipe.suite, str(archive), recipe.mirror]
        _run_logged(argv, task, report, dict(environ))
        report(ProgressEvent(task, "importing the root filesystem"))
        repository, _, tag = recipe.tag.partition(":")
        client.api.import_image_from_file(str(archive), repository=repository, tag=tag)
    report(ProgressEvent(task, recipe.tag, state="done"))
    return recipe.tag


def build_image(recipe: ImageRecipe, settings: BuildSettings, report: Report) -> str:
    """Build an image on a base that is already here, and give its tag.

    Raises:
        CommandError: The build failed; the last lines of its output are the detail.
    """
    task = f"build {recipe.tag.rpartition(':')[0]}"
    with _build_context(recipe, settings) as context:
        argv, environ = build_command(recipe, settings, context)
        _run_logged(argv, task, report, environ)
    report(ProgressEvent(task, recipe.tag, state="done"))
    return recipe.tag


def build_command(
    recipe: ImageRecipe, settings: BuildSettings, context: Path
) -> tuple[list[str], dict[str, str]]:
    """Give the command that builds a context, and its environment.

    What comes from the caller's machine (proxies, package indexes) may hold a password: docker takes it from
    the environment, so that neither the process list nor our log shows it.
    """
    own = {name: settings.environ[name] for name in _PROXIES if settings.environ.get(name)}
    if recipe.service == "engine":
        own |= _read_indexes(settings)
    argv = ["docker", "buildx", "build", "--progress", "plain", "--load", "--tag", recipe.tag]
    for name, value in sorted((dict(recipe.arguments) | {"BASE": recipe.base.tag}).items()):
        argv += ["--build-arg", f"{name}={value}"]
    for name in sorted(own):
        argv += ["--build-arg", name]
    argv += ["--secret", f"id=ca_bundle,src={settings.ca_bundle or context / 'empty'}"]
    argv += ["--secret", f"id=apt_conf,src={context / 'apt.conf'}", str(context)]
    return argv, {**settings.environ, **own, "DOCKER_BUILDKIT": "1"}


def _read_indexes(settings: BuildSettings) -> dict[str, str]:
    names = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")
    found = {name: settings.environ.get(name, "") for name in names}
    if settings.pip_index_url:
        found["PIP_INDEX_URL"] = settings.pip_index_url
    # A folder of this machine is not there in the build.
    return {name: value for name, value in found.items() if value and not value.startswith("file:")}


@contextmanager
def _build_context(recipe: ImageRecipe, settings: BuildSettings) -> Iterator[Path]:
    # Wheels go in by hard link where the file system allows it: named build contexts would be neater, but
    # Engine 20.10's BuildKit front end refuses them ("unsupported frontend capability").
    with tempfile.TemporaryDirectory(prefix="stack-build-") as folder:
        context = Path(folder)
        for path in recipe.folder.iterdir():
            if path.is_file():
                shutil.copy2(path, context / path.name)
        (context / "empty").touch()
        (context / "apt.conf").write_text(render_apt_conf(settings.environ))
        links = context / "find-links"
        links.mkdir()
        wheels = (
            settings.find_links.glob("*.whl") if settings.find_links and recipe.service == "engine" else ()
        )
        for wheel in wheels:
            try:
                os.link(wheel, links / wheel.name)
            except OSError:
                shutil.copy2(wheel, links / wheel.name)
        (context / ".dockerignore").write_text("empty\napt.conf\n.dockerignore\n")
        yield context


def render_apt_conf(environ: Mapping[str, str]) -> str:
    """Give apt's settings for a build: retries, the certificates to trust, and the proxies of the caller."""
    lines = [
        'Acquire::Retries "4";',
        'Acquire::https::CAInfo "/run/secrets/ca_bundle";',
        'Dpkg::Use-Pty "0";',
    ]
    for scheme in ("http", "https"):
        proxy = environ.get(f"{scheme}_proxy") or environ.get(f"{scheme.upper()}_PROXY")
        if proxy:
            lines.append(f'Acquire::{scheme}::Proxy "{proxy}";')
    return "\n".join(lines) + "\n"


def parse_build_line(line: str) -> str | None:
    """Give what a line of BuildKit's plain progress says is being done, or None for noise."""
    step = _STEP.match(line)
    if step:
        return f"step {step[1]}: {step[2][:60]}"
    output = _OUTPUT.match(line)
    if output and output[1].startswith(
        ("Downloading", "Installing", "Collecting", "Get:", "Setting up", "Unpacking")
    ):
        return output[1][:72]
    return None


def _run_logged(argv: list[str], task: str, report: Report, environ: dict[str, str]) -> None:
    started = time.monotonic()
    logger.debug("run %s", shlex.join(argv))
    tail: list[str] = []
    report(ProgressEvent(task, f"{argv[0]} started"))
    process = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environ
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            tail = [*tail[-60:], line.rstrip()]
            said = parse_build_line(line) if argv[0] == "docker" else line.strip()[:72]
            if said:
                report(ProgressEvent(task, said))
        returncode = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if returncode:
        raise CommandError(
            argv[:3],
            returncode,
            stderr="\n".join(tail),
            duration_seconds=time.monotonic() - started,
            message=f"{task} failed",
            hint="check that the package registries answer from a container (proxy, CA bundle: `[images]`), "
            "then run it again",
        )

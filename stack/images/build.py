"""Build an image from packages: a Debian base by mmdebstrap, then a Dockerfile by BuildKit.

Both are no-ops when the image is already here under the tag that its recipe gives.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

import docker
import requests
from docker.errors import DockerException, ImageNotFound

from stack.errors import HostError, ImageError
from stack.images.build_context import IMAGE_ID_FILE, BuildSettings, write_context
from stack.images.build_runs import BuildRuns
from stack.images.build_seal import seal_image
from stack.images.recipe import BaseRecipe, ImageRecipe
from stack.progress import ProgressEvent, Report

_STEP = re.compile(r"^#\d+ \[(?:[^\]]*?)(\d+/\d+)\] (.*)")
_OUTPUT = re.compile(r"^#\d+ \d+\.\d+ +(\S.*)")
_WORTH_TELLING = ("Downloading", "Installing", "Collecting", "Get:", "Setting up", "Unpacking")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def is_image_here(client: docker.DockerClient, tag: str) -> bool:
    """Tell whether the daemon has an image of that name.

    Raises:
        ImageError: The daemon does not answer.
    """
    try:
        client.images.get(tag)
    except ImageNotFound:
        return False
    except (DockerException, requests.RequestException) as err:
        raise ImageError(f"the Docker engine cannot be asked for `{tag}`: {err}") from err
    return True


def ensure_base_image(
    client: docker.DockerClient,
    recipe: BaseRecipe,
    environ: Mapping[str, str],
    report: Report,
    *,
    ca_bundle: Path | None = None,
    runs: BuildRuns | None = None,
) -> str:
    """Make the Debian base if it is not here, and give its tag.

    Args:
        client: The daemon.
        recipe: What the base is made of.
        environ: The caller's environment.
        report: Told what is done.
        ca_bundle: Certificates to trust for a mirror that is asked by https; None leaves that to apt.
        runs: What the build is a part of.

    Raises:
        HostError: mmdebstrap is missing.
        CommandError: mmdebstrap or the import failed.
    """
    task = f"build {recipe.tag.rpartition(':')[0]}"
    if is_image_here(client, recipe.tag):
        return recipe.tag
    if shutil.which("mmdebstrap", path=environ.get("PATH")) is None:
        raise HostError(
            "building images from packages needs `mmdebstrap`, which is not installed",
            hint="sudo apt-get install mmdebstrap uidmap fakechroot fakeroot",
        )
    runs = runs or BuildRuns()
    with runs.folder() as folder:
        archive = folder / "base.tar"
        # The user that mmdebstrap becomes in its own name space must be let through to the archive's folder.
        folder.chmod(0o755)
        runs.run(build_base_command(recipe, archive, ca_bundle), task, report, environ, _shorten)
        report(ProgressEvent(task, "importing the root filesystem"))
        runs.run(["docker", "import", str(archive), recipe.tag], task, report, environ, lambda line: None)
    report(ProgressEvent(task, recipe.tag, state="done"))
    return recipe.tag


def build_base_command(recipe: BaseRecipe, archive: Path, ca_bundle: Path | None) -> list[str]:
    """Give the command that makes the base's root filesystem.

    Without root mmdebstrap takes user namespaces where they are open, else fakechroot, which cannot enter a suite
    whose libc is older than this machine's.
    """
    argv = ["mmdebstrap", "--variant=minbase", f"--include={','.join(recipe.include)}"]
    if ca_bundle is not None and recipe.mirror.startswith("https:"):
        # Only for the time of the build: in the image that path means nothing.
        setting = f'Acquire::https::CAInfo "{ca_bundle}";'
        name = '"$1/etc/apt/apt.conf.d/98stack"'
        argv += [f"--setup-hook=echo {shlex.quote(setting)} > {name}", f"--customize-hook=rm {name}"]
    return [*argv, recipe.suite, str(archive), recipe.mirror]


def build_image(
    client: docker.DockerClient,
    recipe: ImageRecipe,
    settings: BuildSettings,
    report: Report,
    *,
    tag: str | None = None,
    runs: BuildRuns | None = None,
) -> bytes:
    """Build an image on a base that is already here, and give its record, which lies in the image too.

    Args:
        client: The daemon.
        recipe: What is built.
        settings: What of this machine the build needs.
        report: Told what is done.
        tag: The image's name; None takes the recipe's.
        runs: What the build is a part of.

    Raises:
        CommandError: The build failed; the last lines of its output are the detail.
        ImageError: The packages are not those that are locked.
    """
    task, name = f"build {recipe.tag.rpartition(':')[0]}", tag or recipe.tag
    runs = runs or BuildRuns()
    with runs.folder() as context:
        secrets = write_context(context, recipe, settings)
        argv, environ = build_command(recipe, settings, context, secrets)
        runs.run(argv, task, report, environ, parse_build_line)
        image_id = (context / IMAGE_ID_FILE).read_text().strip()
    report(ProgressEvent(task, "writing its record"))
    record = seal_image(client, recipe, image_id, name)
    report(ProgressEvent(task, name, state="done"))
    return record


def build_command(
    recipe: ImageRecipe, settings: BuildSettings, context: Path, secrets: Mapping[str, Path]
) -> tuple[list[str], dict[str, str]]:
    """Give the command that builds a context, and its environment.

    A proxy of the caller may hold a password: docker takes it from the environment, so that neither the process
    list nor our log shows it, and BuildKit keeps these names out of the image's history.
    """
    proxies = {name: settings.environ[name] for name in _PROXIES if settings.environ.get(name)}
    argv = ["docker", "buildx", "build", "--progress", "plain", "--load", "--iidfile", str(context / IMAGE_ID_FILE)]
    for name, value in sorted((dict(recipe.arguments) | {"BASE": recipe.base.tag}).items()):
        argv += ["--build-arg", f"{name}={value}"]
    for name in sorted(proxies):
        argv += ["--build-arg", name]
    for name, path in secrets.items():
        argv += ["--secret", f"id={name},src={path}"]
    return [*argv, str(context)], {**settings.environ, "DOCKER_BUILDKIT": "1"}


def parse_build_line(line: str) -> str | None:
    """Give what a line of BuildKit's plain progress says is being done, or None for noise."""
    step = _STEP.match(line)
    if step:
        return f"step {step[1]}: {step[2][:60]}"
    output = _OUTPUT.match(line)
    return output[1][:72] if output and output[1].startswith(_WORTH_TELLING) else None


def _shorten(line: str) -> str:
    return line.strip()[:72]

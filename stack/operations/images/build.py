"""Builds of one `up`: one at a time, tried again where the network failed, stopped where the user interrupts."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import docker

from stack.errors import CommandError, ImageError
from stack.images.build import build_image, ensure_base_image
from stack.images.build_context import BuildSettings, build_settings
from stack.images.build_runs import BuildRuns
from stack.images.recipe import ImageRecipe, build_base_recipe
from stack.images.wheel_file import WheelFetch
from stack.images.wheels import CommitWheel
from stack.operations.images.pinned_engine import open_http
from stack.operations.offline import demand_online
from stack.operations.session import Session
from stack.progress import ProgressEvent

Built = TypeVar("Built")

_LONGEST_PAUSE_SECONDS = 30.0
_NETWORK_FAILURE = re.compile(
    r"Temporary failure|Connection (?:refused|reset|timed out|aborted|broken)|[Tt]imed out|Could not resolve|"
    r"reset by peer|(?:HTTP|status|error:?|returned) 50[0-4]\b|50[234] (?:Bad|Service|Gateway)"
)


class ImageBuilder:
    """Builds images for one `up`; its methods may run side by side.

    Args:
        session: The run.
        client: The daemon.
        sleep: Waits for seconds before a failed build is tried again.
    """

    def __init__(
        self, session: Session, client: docker.DockerClient, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._session, self._client, self._sleep = session, client, sleep
        self._runs = BuildRuns()
        # BuildKit shares the cores and the network between builds anyway: one at a time shows an honest
        # progress.
        self._building = threading.Lock()

    def build_base(self) -> None:
        """Make the Debian base that builds start from.

        Raises:
            ImageError: The build failed, or `offline` forbids it.
        """
        session, config = self._session, self._session.config.images
        demand_online(session.config, "the package index for builds")
        recipe = build_base_recipe(config.debian_suite, config.debian_mirror)
        self._retry(
            "base",
            lambda: ensure_base_image(
                self._client,
                recipe,
                session.environ,
                session.report,
                ca_bundle=config.ca_bundle,
                runs=self._runs,
            ),
        )

    def build(self, recipe: ImageRecipe, tag: str) -> bytes:
        """Build an image, and give its record.

        Raises:
            ImageError: The build failed, or `offline` forbids it.
        """
        demand_online(self._session.config, "the package index for builds")
        with self._building:
            settings, report = self._build_settings(recipe), self._session.report
            record = self._retry(
                recipe.service,
                lambda: build_image(self._client, recipe, settings, report, tag=tag, runs=self._runs),
            )
        if settings.wheel is not None:
            # The image has it; what an interrupted build fetched stays for the next one.
            settings.wheel.unlink(missing_ok=True)
        return record

    def stop(self) -> None:
        """End the builds that run, for whoever is interrupted."""
        self._runs.stop()

    def _build_settings(self, recipe: ImageRecipe) -> BuildSettings:
        config = self._session.config.images
        settings = build_settings(
            self._session.environ,
            ca_bundle=config.ca_bundle,
            index_url=config.pip_index_url,
            find_links=config.pip_find_links,
            retries=config.retries,
        )
        return replace(settings, wheel=self._fetch_wheel(recipe))

    def _fetch_wheel(self, recipe: ImageRecipe) -> Path | None:
        """Have the engine's wheel here, where it is the wheel of a commit."""
        arguments, config = dict(recipe.arguments), self._session.config.images
        if not arguments.get("WHEEL"):
            return None
        wheel = CommitWheel(arguments["WHEEL"], arguments["VERSION"])
        locked = recipe.locked.find("vllm") if recipe.locked is not None else None
        with open_http(self._session.config) as http:
            fetch = WheelFetch(
                http,
                wheel,
                self._session.report,
                f"build {recipe.tag.rpartition(':')[0]}",
                timeout_seconds=config.timeout_seconds,
                retries=config.retries,
            )
            folder = self._session.paths.state / "wheels"
            return fetch.run(folder, sha256=locked.sha256 if locked is not None else None)

    def _retry(self, task: str, build: Callable[[], Built]) -> Built:
        retries = self._session.config.images.retries
        for attempt in range(1, retries + 2):
            try:
                return build()
            except CommandError as err:
                if attempt > retries or not is_worth_retrying(err):
                    raise ImageError(err.message, hint=err.hint, detail=err.detail) from err
                pause_seconds = min(_LONGEST_PAUSE_SECONDS, 2.0**attempt)
                text = f"failed, trying again in {pause_seconds:.0f} s ({attempt} of {retries})"
                self._session.report(ProgressEvent(f"build {task}", text))
                self._sleep(pause_seconds)
        raise AssertionError("unreachable: the last attempt returns or raises")


def is_worth_retrying(err: CommandError) -> bool:
    """Tell whether a build failed for want of the network rather than for what it was told to do."""
    return bool(_NETWORK_FAILURE.search(err.stderr))

"""The wheels that the vLLM project publishes for its commits: from a commit to a wheel's URL.

Source: vllm-project/vllm docs/contributing/ci/nightly_builds.md and
.buildkite/scripts/generate-nightly-index.py (2026-09): `metadata.json` lists the wheels of one variant;
`path` is relative to the folder of that file and URL-encoded already; `version` lacks the variant, which only
the file name has. No hash is published beside them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import httpx2

from stack.errors import ImageError
from stack.images.recipe import load_packages
from stack.images.reference import is_loopback_host
from stack.images.registry_errors import describe_transport_error, is_tls_error, is_worth_retrying
from stack.images.registry_http import Answer, BoundedSender
from stack.images.sources import WHEEL_SOURCE

_WHEEL = re.compile(r"vllm-(?P<version>[0-9][^-]*)(?:-[0-9][^-]*)?-[^-]+-[^-]+-(?P<platform>[^-]+)\.whl")
_HASH_IN_VERSION = re.compile(r"[+.]g([0-9a-f]{7,40})(?![0-9a-z])")
# A store that does not let strangers list it says 403 for what it does not have.
_MISSING_STATUSES = frozenset({403, 404, 410})
_RETRY_STATUSES = frozenset({429, 500, 502, 503, 504})
_LONGEST_PAUSE_SECONDS = 30.0
_OTHER_WAYS = "name an image of it with `engine.image`, or a release with `engine.version` instead of the commit"


@dataclass(frozen=True)
class CommitWheel:
    """A wheel of one commit.

    Attributes:
        url: Where pip gets it.
        version: Its version in full, with the variant (`0.31.1.dev7+g0123abcde.cpu`).
    """

    url: str
    version: str


@dataclass(frozen=True)
class WheelHost:
    """Where the wheels of commits are published.

    Attributes:
        metadata: URL of a variant's list, with `{commit}` and `{variant}` to fill in.
        variants: The variant's folder for each device.
    """

    metadata: str
    variants: Mapping[str, str]

    def build_url(self, commit: str, device: str) -> str:
        """Give the URL of the list that has a commit's wheels for a device."""
        return self.metadata.format(commit=commit, variant=self.variants[device])


def is_wheel_name(name: str) -> bool:
    """Tell whether a file is called as a wheel of vLLM is."""
    return _WHEEL.fullmatch(name) is not None


class MissingWheelError(ImageError):
    """The host answers, and has no such wheel."""


def load_wheel_host(sources: Mapping[str, str] | None = None) -> WheelHost:
    """Read where wheels of commits are published, from compose/images/packages.toml.

    Args:
        sources: `images.sources`; its entry `wheel` replaces upstream's host, an empty one takes it out.

    Raises:
        MissingWheelError: It was taken out.
    """
    table = load_packages()["wheels"]
    metadata = (sources or {}).get(WHEEL_SOURCE, table["metadata"])
    if not metadata:
        raise MissingWheelError(
            f"no wheel is looked for: `images.sources.{WHEEL_SOURCE}` is empty", hint=f"take it away, or {_OTHER_WAYS}"
        )
    return WheelHost(metadata, table["variants"])


def fetch_commit_wheel(
    client: httpx2.Client,
    commit: str,
    device: str,
    machine: str,
    *,
    host: WheelHost | None = None,
    timeout_seconds: float = 5.0,
    retries: int = 4,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> CommitWheel:
    """Ask upstream for the wheel of a commit.

    Args:
        client: Its `verify` holds the CA bundle.
        commit: 40 hex digits.
        device: `cpu` or `cuda`.
        machine: This machine's architecture as the kernel names it (`x86_64`, `aarch64`).
        host: Where to ask; None takes the shipped table.
        timeout_seconds: Time limit of one request, body included.
        retries: How often a lost request is sent again.
        sleep: Waits for seconds.
        clock: Seconds that only grow.

    Raises:
        MissingWheelError: There is no wheel of that commit for this device and machine.
        ImageError: The host cannot be reached, or what it says makes no sense.
    """
    url = (host or load_wheel_host()).build_url(commit, device)
    sender = BoundedSender(client, timeout_seconds, clock)
    response, body = _send(sender, url, retries, sleep)
    name = urlsplit(url).netloc
    if response.status_code in _MISSING_STATUSES:
        raise MissingWheelError(
            f"{name} has no {device} wheel of commit {commit} (HTTP {response.status_code} for {url})",
            hint="upstream builds CUDA wheels for every commit of main, CPU wheels for some only; " + _OTHER_WAYS,
        )
    if not response.is_success:
        raise ImageError(f"{name} answers HTTP {response.status_code} for {url}", hint="try again later")
    return select_wheel(parse_metadata(body, url), url, commit, machine)


def parse_metadata(body: bytes, url: str) -> list[dict[str, Any]]:
    """Read a list of wheels.

    Raises:
        ImageError: It is none.
    """
    try:
        document = json.loads(body)
    except ValueError as err:
        raise ImageError(f"{url} is no list of wheels: {err}", hint=_hint_other_answer(url)) from err
    is_list = isinstance(document, list) and all(isinstance(item, dict) for item in document)
    if not is_list or not all(isinstance(item.get("path"), str) for item in document):
        raise ImageError(f"{url} is no list of wheels", hint=_hint_other_answer(url))
    return document


def select_wheel(wheels: list[dict[str, Any]], url: str, commit: str, machine: str) -> CommitWheel:
    """Choose the wheel for a machine.

    Args:
        wheels: What `parse_metadata` gave.
        url: Where the list lies; the wheels' paths are relative to it.
        commit: The commit that they must be of.
        machine: This machine's architecture (`x86_64`).

    Raises:
        MissingWheelError: There is none for this machine.
        ImageError: The wheel is of another commit, or lies elsewhere.
    """
    found: dict[str, CommitWheel] = {}
    platforms = set()
    for item in wheels:
        target = urljoin(url, item["path"])
        # The file name and not the fields beside it: that is what pip will read.
        name = unquote(urlsplit(target).path.rpartition("/")[2])
        match = _WHEEL.fullmatch(name)
        if match is None:
            continue
        platforms.add(match["platform"])
        if match["platform"].endswith(f"_{machine}"):
            found[name] = CommitWheel(target, match["version"])
    if not found:
        offered = f"; it offers {', '.join(sorted(platforms))}" if platforms else ""
        raise MissingWheelError(
            f"{url} has no wheel of vLLM for {machine}{offered}", hint=f"on this machine, {_OTHER_WAYS}"
        )
    wheel = found[max(found)]
    _check_place(wheel.url, url)
    _check_commit(wheel, commit)
    return wheel


def _send(sender: BoundedSender, url: str, retries: int, sleep: Callable[[float], None]) -> Answer:
    name = urlsplit(url).netloc
    for attempt in range(retries + 1):
        try:
            answer = sender.send_redirected("GET", httpx2.URL(url), {"Accept": "application/json"})
            if answer[0].status_code not in _RETRY_STATUSES or attempt == retries:
                return answer
        except httpx2.HTTPError as err:
            if attempt == retries or not is_worth_retrying(err):
                hint = (
                    "behind a corporate proxy, name its certificates in `images.ca-bundle`"
                    if is_tls_error(err)
                    else f"check the network and its proxy; without that host {_OTHER_WAYS}"
                )
                raise ImageError(
                    f"{name}, where upstream publishes the wheels of its commits, is not reachable: "
                    f"{describe_transport_error(err)}",
                    hint=hint,
                ) from err
        sleep(min(_LONGEST_PAUSE_SECONDS, 0.5 * 2**attempt))
    raise AssertionError("unreachable: the last attempt returns or raises")


def _check_place(target: str, url: str) -> None:
    asked, given = urlsplit(url), urlsplit(target)
    is_safe = given.scheme == "https" or (given.scheme == "http" and is_loopback_host(given.netloc))
    if given.netloc != asked.netloc or not is_safe:
        raise ImageError(
            f"{url} leads to a wheel somewhere else: {target}",
            hint="upstream keeps its wheels beside their list",
        )


def _check_commit(wheel: CommitWheel, commit: str) -> None:
    # Only development versions name their commit; those of releases do not.
    named = _HASH_IN_VERSION.search(wheel.version)
    if named is not None and not commit.startswith(named[1]):
        raise ImageError(
            f"the wheel that is listed for commit {commit} is of commit {named[1]}: {wheel.url}",
            hint="do not build from it; report it to the vLLM project",
        )


def _hint_other_answer(url: str) -> str:
    return f"it may be a proxy's page instead of {urlsplit(url).netloc}: open the URL and look"

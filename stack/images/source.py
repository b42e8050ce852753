"""Registry or packages: where the images come from, decided in seconds and with its reason."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Asked = Literal["auto", "registry", "packages"]
Source = Literal["registry", "packages"]


class Reachability(NamedTuple):
    """Whether a registry answers, and how it looked from here."""

    reachable: bool
    reason: str


@dataclass(frozen=True)
class SourceChoice:
    """Where the images come from.

    Attributes:
        source: A registry, or builds from packages.
        reason: Why, one sentence part for the plan and the summary.
    """

    source: Source
    reason: str


def choose_source(asked: Asked, registries: Mapping[str, Reachability]) -> SourceChoice:
    """Choose where images come from; what was asked for is never replaced.

    Args:
        asked: `images.source`.
        registries: What each registry that must be asked answered; looked at for `auto` only.
    """
    if asked != "auto":
        return SourceChoice(asked, f'`images.source = "{asked}"` asks for it')
    for host, (reachable, reason) in registries.items():
        if not reachable:
            return SourceChoice("packages", f"{host} is not reachable: {reason}")
    if not registries:
        return SourceChoice("registry", "no registry has to be asked")
    verb = "answers" if len(registries) == 1 else "answer"
    return SourceChoice("registry", f"{' and '.join(registries)} {verb}")


def probe_registries(
    hosts: Iterable[str],
    probe: Callable[[str], Reachability],
    *,
    timeout_seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Reachability]:
    """Ask several registries side by side; one that says nothing in time counts as not reachable.

    Args:
        hosts: The registries that the wanted images lie in (after mirrors).
        probe: `is_registry_reachable` with its client and time limit.
        timeout_seconds: How long to wait in all. A name server that does not answer cannot be interrupted, so
            such a probe is left behind in a daemon thread.
        clock: Seconds that only grow.
    """
    wanted = tuple(dict.fromkeys(hosts))
    answers: queue.SimpleQueue[tuple[str, Reachability]] = queue.SimpleQueue()

    def ask(host: str) -> None:
        answers.put((host, probe(host)))

    for host in wanted:
        threading.Thread(target=ask, args=(host,), name=f"probe {host}", daemon=True).start()
    found: dict[str, Reachability] = {}
    deadline = clock() + timeout_seconds
    while len(found) < len(wanted):
        try:
            host, answer = answers.get(timeout=max(0.0, deadline - clock()))
        except queue.Empty:
            break
        found[host] = answer
    silent = Reachability(False, f"no answer within {timeout_seconds:g} s")
    return {host: found.get(host, silent) for host in wanted}

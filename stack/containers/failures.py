"""What Docker says when it fails, and what that means. The one place that matches its words. Pure.

Each pattern has a recorded answer in tests/unit/containers/test_failures.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Explanation:
    """A known failure in words.

    Attributes:
        cause: What is wrong, one sentence.
        hint: What to do next.
    """

    cause: str
    hint: str


_PORT_TAKEN = re.compile(r"(?:port is already allocated|address already in use|Ports are not available)")

_KNOWN: tuple[tuple[re.Pattern[str], Explanation], ...] = (
    (
        re.compile(r'could not select device driver "?(?:nvidia)?"? with capabilities: \[\[gpu\]\]'),
        Explanation(
            "Docker has no NVIDIA runtime, so it cannot give a GPU to a container",
            "install the NVIDIA container toolkit and run `sudo nvidia-ctk runtime configure "
            "--runtime=docker && sudo systemctl restart docker`, or use the CPU: `stack up --device cpu`",
        ),
    ),
    (
        re.compile(r"nvidia-container-cli: \w+ error|failed to discover GPU vendor from CDI|unresolvable CDI dev"),
        Explanation(
            "the NVIDIA container toolkit cannot reach the GPU",
            "see whether `nvidia-smi` works on this machine; after a driver update, restart it",
        ),
    ),
    (
        _PORT_TAKEN,
        Explanation(
            "a port that the stack publishes is taken by another program",
            "see who has it: `ss -ltnp`; or choose another: `[services.engine] port = 8001`",
        ),
    ),
    (
        re.compile(
            r"could not find an available, non-overlapping IPv4 address pool|"
            r"all predefined address pools have been fully subnetted"
        ),
        Explanation(
            "Docker has no free address range for the stack's networks",
            "remove networks that nothing uses: `docker network prune`",
        ),
    ),
    (
        # The CLI up to 28, the CLI since 29, and the docker SDK, which does not name the socket.
        re.compile(
            r"permission denied while trying to connect to the docker (?:daemon socket|API)|"
            r"PermissionError\(13",
            re.IGNORECASE,
        ),
        Explanation(
            "this user may not talk to the Docker daemon",
            "sudo usermod -aG docker $USER, then log in again (or run `newgrp docker`)",
        ),
    ),
    (
        re.compile(
            r"Cannot connect to the Docker daemon|failed to connect to the docker API|"
            r"Error while fetching server API version"
        ),
        Explanation(
            "the Docker daemon does not answer",
            "start it: `sudo systemctl start docker`, or run `./scripts/up`",
        ),
    ),
    (
        re.compile(r"no space left on device"),
        Explanation("the disk that Docker or the stack's folders are on is full", "see `docker system df` and `df -h`"),
    ),
    (
        re.compile(r"driver failed programming external connectivity"),
        Explanation(
            "Docker could not publish a port",
            "restart Docker if its iptables rules were flushed, then run `stack up` again",
        ),
    ),
    (
        re.compile(r"error setting rlimit"),
        Explanation("this machine does not let Docker raise a resource limit", "see `ulimit -a` of the Docker daemon"),
    ),
    (
        re.compile(r"No such image: "),
        Explanation("an image that the stack runs is gone from this machine", "`stack up` brings it back"),
    ),
    (
        re.compile(r"bind source path does not exist"),
        Explanation("a folder that is to be mounted does not exist", "check `[engine.mounts]` and `model.id`"),
    ),
)


def is_port_taken(text: str) -> bool:
    """Tell whether a failure that Docker reported in these words is a port that somebody else has."""
    return bool(_PORT_TAKEN.search(text))


def explain(text: str) -> Explanation | None:
    """Give the explanation of a failure that Docker reported in these words, or None for an unknown one."""
    return next((explanation for pattern, explanation in _KNOWN if pattern.search(text)), None)

"""What to do about a build that failed, by what it said last. Pure."""

from __future__ import annotations

import re

_HINTS = (
    (
        r"[Nn]o space left on device",
        "make room: `docker system df` shows what takes it, `docker builder prune` frees old builds' leavings",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verif\w+ failed|certificate is NOT trusted|unknown authority|"
        r"Could not load certificates",
        "behind a proxy that inspects TLS, name its certificates in `images.ca-bundle`",
    ),
    (
        r"'buildx' is not a docker command|unknown (?:command|flag): .*(?:buildx|--progress)",
        "building needs Docker's buildx: `./scripts/up` installs it, or see https://docs.docker.com/go/buildx/",
    ),
    (
        r"(?:THESE PACKAGES DO NOT MATCH THE HASHES|Hashes are required)[\s\S]*?\n[^\n]*?([\w.-]+==[\w.+!-]+)|"
        r"locked packages: ([\w.-]+==[\w.+!-]+) is another file",
        "{} is another file than the one in stack.lock: use the package index or the folder of wheels that it was "
        "locked from, or delete the engine's `[builds]` from stack.lock to take what there is today",
    ),
    (
        r"No matching distribution found for",
        "no package index has that version for this Python and processor: check `engine.version`, "
        "`images.pip-index-url` and `images.pip-find-links`; if stack.lock asks for it, deleting the engine's "
        "`[builds]` there takes what there is today",
    ),
    (
        r"newuidmap|newgidmap|unable to pick chroot mode|E: .*(?:fakechroot|unshare)",
        "this user cannot make a root filesystem: `sudo apt-get install uidmap fakechroot fakeroot`",
    ),
)
_OTHERWISE = (
    "check that the package registries answer from a container (proxy, CA bundle, mirrors: `[images]`), "
    "then run it again"
)


def explain_failure(output: str) -> str:
    """Give what to do about a failed build, by what it said last."""
    for pattern, hint in _HINTS:
        match = re.search(pattern, output)
        if match:
            return hint.format(next(filter(None, match.groups()), ""))
    return _OTHERWISE

"""Why the Docker engine could not pull, by the texts it answers with."""

from __future__ import annotations

from stack.errors import ImageError
from stack.images.reference import ImageReference

_LOGIN = "`docker login` as someone who may read it"
# Where asking again cannot help, and what to do about it. Lower case; the first that fits is taken.
_FINAL = {
    "no space left on device": "free space for Docker: `docker system df` shows what takes it",
    "no matching manifest": "the image is not made for this machine's architecture; choose another",
    "manifest unknown": "check the tag; upstream deletes nightly tags after about two weeks",
    "toomanyrequests": "wait, `docker login` for a higher limit, or name a mirror in `images.mirror`",
    "denied": _LOGIN,
    "unauthorized": _LOGIN,
    "x509": "give the Docker engine the proxy's certificate (/etc/docker/certs.d)",
    "http response to https client": "let the Docker engine speak plain HTTP to it (`insecure-registries`)",
    "no such host": "check the Docker engine's name servers and proxy: this tool itself reached the registry",
    "connection refused": "check the Docker engine's proxy: this tool itself reached the registry",
    "not found": "check the name and the tag",
}


class BrokenPullError(Exception):
    """A pull that may work when it is taken up again; never leaves the room."""


def build_pull_error(text: str, reference: ImageReference) -> ImageError | BrokenPullError:
    """Say what the engine's error text means: final, or worth another attempt."""
    lower = text.lower()
    for pattern, hint in _FINAL.items():
        if pattern in lower:
            return ImageError(f"the Docker engine cannot pull `{reference}`: {text}", hint=hint)
    return BrokenPullError(text)

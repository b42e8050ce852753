"""Which vLLM commit an image is, and how much that word is worth.

`verified`: upstream's own word, reached through a digest that upstream's registry served or that public
records agree on. `claimed`: a label or a version that whoever built or passed on the image wrote.
`unknown`: no word at all.

Source: vllm-project/vllm docker/Dockerfile and setup.py (August 2026): CUDA images since 2026-04-29 carry the
labels and `VLLM_BUILD_COMMIT`; local builds leave `unknown` and `local/…`; a development version ends in
`+g<abbreviated commit>`, a release version has no hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from stack.errors import ImageError
from stack.images.manifests import ImageConfig
from stack.images.reference import ImageReference
from stack.images.references import PublishedImage

Level = Literal["verified", "claimed", "unknown"]
Accept = Literal["verified", "claimed"]

# Where upstream itself publishes: a name that ends in `/` covers all repositories under it.
UPSTREAM_REPOSITORIES = ("docker.io/vllm/", "public.ecr.aws/q9t5s3a7/")

# What is known by its digest, whoever hands it over.
_BY_DIGEST = ("registry", "proved")
_REVISION_LABEL = "org.opencontainers.image.revision"
_SOURCE_LABEL = "org.opencontainers.image.source"
_VERSION_LABELS = ("org.opencontainers.image.version", "ai.vllm.image.tag")
_BUILT_BY_LABELS = ("dev.stack.built-by", "org.opencontainers.image.vendor")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_VERSION = re.compile(r"v?(\d+\.\d+\.\d+\S*)")
_COMMIT_TAG = re.compile(r"(?:.*-)?([0-9a-f]{40})(?:-.*)?")
_HASH_IN_VERSION = re.compile(r"[+.]g([0-9a-f]{7,40})(?![0-9a-z])")


@dataclass(frozen=True)
class Origin:
    """How we came by an image.

    Attributes:
        kind: `registry`: a registry served it. `built`: made on this machine. `loaded`: from an archive.
            `proved`: loaded, and its ID is the one that a registry's own bytes of the digest lead to.
        served_by: The reference that the registry or mirror was asked for, with its tag where one was asked.
        digest: The digest that was served, or that its ID was proved to stand for.
        upstream_digest: The digest that upstream's registry is known to serve for the reference, from
            `images.toml` or from a lock written when upstream itself answered. It lets a mirror's copy count.
        upstream_tag: The tag that upstream's registry served `upstream_digest` for, from such a lock.
        claimed_tag: The tag that whoever passed the image on says to have had it by.
    """

    kind: Literal["registry", "built", "loaded", "proved"]
    served_by: ImageReference | None = None
    digest: str | None = None
    upstream_digest: str | None = None
    upstream_tag: str | None = None
    claimed_tag: str | None = None


@dataclass(frozen=True)
class Identity:
    """What an engine image is.

    Attributes:
        commit: The vLLM commit, 40 hex digits; None where nothing names one.
        level: How much that is worth.
        version: The release or development version it says it is.
        rests_on: What the commit was read from and what backs it, for people.
        built_by: Who says to have built it.
    """

    commit: str | None
    level: Level
    version: str | None
    rests_on: str
    built_by: str | None = None


def build_identity(config: ImageConfig, origin: Origin, releases: Iterable[PublishedImage] = ()) -> Identity:
    """Weigh what an image says of itself against how we came by it.

    Args:
        config: Its labels, environment and entrypoint.
        origin: How we came by it.
        releases: The engine entries of `images.toml`: release tags with their digests and commits.
    """
    known = tuple(releases)
    version = _read_version(config)
    built_by = next((config.labels[name] for name in _BUILT_BY_LABELS if config.labels.get(name)), None)
    trust = _find_trust(origin, known)
    words = _read_commits(config)
    commits = set(words.values())
    if len(commits) > 1:
        said = ", ".join(f"{where} says {commit}" for where, commit in words.items())
        return Identity(None, "unknown", version, f"the image contradicts itself: {said}", built_by)
    if commits:
        where, commit = next(iter(words.items()))
        level: Level = "verified" if trust else "claimed"
        backing = trust or _describe_distrust(origin)
        return Identity(commit, level, version, f"{where}; {backing}", built_by)
    # The release map first: a mirror may put any tag on a release's digest.
    found = _identify_release(origin, known, version, built_by)
    return found if found.commit else _identify_tag(origin, trust, found)


def check_identity(identity: Identity, wanted_commit: str | None, accept: Accept) -> ImageError | None:
    """Compare what an image is with what was asked for; None where it will do.

    Args:
        identity: What the image is.
        wanted_commit: `engine.commit`, or the lock's; None where no commit was asked for.
        accept: `engine.accept`.
    """
    if wanted_commit is None:
        return None
    found = identity.commit
    matches = found == wanted_commit if found else match_version(identity.version, wanted_commit)
    if matches is None:
        return ImageError(
            f"commit {wanted_commit} was asked for, but the image does not say which commit it is "
            f"({identity.rests_on})",
            hint="leave out `engine.commit`, or name an image whose labels carry its commit",
        )
    if not matches:
        what = f"commit {found}" if found else f"version {identity.version}"
        return ImageError(
            f"commit {wanted_commit} was asked for, but the image is {what} ({identity.rests_on})",
            hint="correct `engine.commit`, or remove `engine.image` so that the commit's image is looked for",
        )
    if identity.level != "verified" and accept == "verified":
        what = "the image claims to be it" if found else f"the image's version {identity.version} agrees"
        return ImageError(
            f"commit {wanted_commit} was asked for; {what}, but that is not verified ({identity.rests_on})",
            hint='accept the claim with `engine.accept = "claimed"` (`--accept claimed`)',
        )
    return None


def match_version(reported: str | None, commit: str) -> bool | None:
    """Compare a version, as in the engine's `/version`, with a commit.

    Gives None where the version names no commit (releases never do), else whether it is that commit.
    """
    found = _HASH_IN_VERSION.search(reported or "")
    return commit.startswith(found.group(1)) if found else None


def is_upstream(reference: ImageReference) -> bool:
    """Say whether a reference lies where upstream itself publishes."""
    return any(reference.name.startswith(prefix) for prefix in UPSTREAM_REPOSITORIES)


def _find_trust(origin: Origin, releases: tuple[PublishedImage, ...]) -> str | None:
    if origin.kind not in _BY_DIGEST or origin.digest is None:
        return None
    if origin.served_by is not None and is_upstream(origin.served_by):
        return f"{origin.served_by.name} served {origin.digest}"
    # A digest names bytes: whoever hands them over, they are upstream's if upstream serves that digest too.
    recorded = {release.digest: release.tag for release in releases if release.digest}
    if origin.digest in recorded:
        return f"{origin.digest} is recorded for upstream's {recorded[origin.digest]}"
    if origin.upstream_digest == origin.digest:
        return f"{origin.digest} is what upstream's registry served when it was locked"
    return None


def _identify_release(
    origin: Origin, releases: tuple[PublishedImage, ...], version: str | None, built_by: str | None
) -> Identity:
    """Fall back on the release map: some of upstream's images carry no commit."""
    served = origin.served_by
    for release in releases:
        if release.commit is None:
            continue
        if origin.kind in _BY_DIGEST and release.digest and origin.digest == release.digest:
            rests_on = f"{release.digest} is recorded for {release.reference.name}:{release.tag}"
            return Identity(release.commit, "verified", version or release.version, rests_on, built_by)
        if origin.kind == "registry" and served and (served.name, served.tag) == (release.repository, release.tag):
            rests_on = f"the tag {served.tag} alone: the image of {served.name} names no commit"
            return Identity(release.commit, "claimed", version or release.version, rests_on, built_by)
    return Identity(None, "unknown", version, "no label, environment or record names a commit", built_by)


def _identify_tag(origin: Origin, trust: str | None, unknown: Identity) -> Identity:
    """Fall back on the tag: upstream's CPU images carry no label, but upstream alone gives tags in its registries."""
    served = origin.served_by
    is_locked = trust is not None and origin.upstream_tag is not None and origin.upstream_digest == origin.digest
    if not is_locked and origin.claimed_tag is None and (origin.kind != "registry" or served is None):
        return unknown
    tag = origin.upstream_tag if is_locked else origin.claimed_tag or (served.tag if served is not None else None)
    match = _COMMIT_TAG.fullmatch(tag or "")
    if match is None:
        return unknown
    if is_locked or (trust is not None and served is not None and is_upstream(served)):
        return replace(unknown, commit=match[1], level="verified", rests_on=f"the tag {tag}; {trust}")
    rests_on = f"the tag {tag} alone; {_describe_distrust(origin)}"
    return replace(unknown, commit=match[1], level="claimed", rests_on=rests_on)


def _describe_distrust(origin: Origin) -> str:
    if origin.kind == "built":
        return "built on this machine from packages"
    if origin.kind == "loaded":
        return "loaded from an archive"
    if origin.kind == "proved":
        return "its digest is not known to be upstream's"
    if origin.served_by is None:
        return "nothing tells which registry it came from"
    return f"{origin.served_by.name} is not upstream's, and its digest is not known to be upstream's"


def _read_commits(config: ImageConfig) -> dict[str, str]:
    """Give every commit that the image names, by where it names it; `unknown` and the like count as none."""
    words = {
        f"label {_REVISION_LABEL}": config.labels.get(_REVISION_LABEL, ""),
        "label ai.vllm.build.commit": config.labels.get("ai.vllm.build.commit", ""),
        "environment VLLM_BUILD_COMMIT": config.environment.get("VLLM_BUILD_COMMIT", ""),
    }
    source = config.labels.get(_SOURCE_LABEL, "").removesuffix("/").removesuffix(".git")
    if source and not source.endswith("/vllm"):
        # An image derived from vLLM's states the revision of its own repository there.
        del words[f"label {_REVISION_LABEL}"]
    return {where: word for where, word in words.items() if _COMMIT.fullmatch(word)}


def _read_version(config: ImageConfig) -> str | None:
    words = [config.labels.get(name, "") for name in _VERSION_LABELS]
    words.append(config.environment.get("VLLM_IMAGE_TAG", ""))
    for word in words:
        # Upstream's label is the public tag (`vllm/vllm-openai:v0.31.0`), ours the bare version.
        found = _VERSION.fullmatch(word.rpartition(":")[2])
        if found and not word.startswith("local/"):
            return found.group(1)
    return None

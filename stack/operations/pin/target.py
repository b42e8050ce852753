"""What `stack pin` was asked for: a commit, a release, a tag that moves, a tag, a reference or a digest."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stack.config.identity import parse_version
from stack.errors import ImageError
from stack.images.reference import ImageReference, is_digest, parse_reference
from stack.images.sources import SourceTable, Variant, find_moving

Kind = Literal["commit", "version", "moving", "digest", "reference"]
RunGit = Callable[[Path, Sequence[str]], str]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ABBREVIATION = re.compile(r"[0-9a-fA-F]{4,40}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_RELEASE_TAG = re.compile(r"v(\d+\.\d+\.\d+\S*)")
_GIT_LIMIT_SECONDS = 30


@dataclass(frozen=True)
class PinTarget:
    """What is to be pinned.

    Attributes:
        text: As it was asked for.
        kind: What it is.
        commit: The commit, where that is known before any image is looked at.
        version: The release, where it is one.
        reference: The reference to ask for, where there is exactly one.
        digest: The digest alone, of an image in one of the known repositories.
    """

    text: str
    kind: Kind
    commit: str | None = None
    version: str | None = None
    reference: ImageReference | None = None
    digest: str | None = None


def read_target(
    text: str, table: SourceTable, variant: Variant, repository: Path | None, run_git: RunGit | None = None
) -> PinTarget:
    """Say what a word names; a local clone of vLLM expands abbreviations and tells which release a commit is.

    Args:
        text: The word.
        table: The sources, for tags that move and for where a bare tag lies.
        variant: Which of several images of one commit is meant.
        repository: A local clone, or None.
        run_git: Runs git there.

    Raises:
        ImageError: It names nothing, or needs a clone.
    """
    git = run_git or run_local_git
    word = text.strip()
    moving = find_moving(table, word, variant)
    if moving is not None:
        return PinTarget(text, "moving", reference=moving)
    if is_digest(word):
        return PinTarget(text, "digest", digest=word)
    if "/" in word or "@" in word:
        return PinTarget(text, "reference", reference=_demand_name(parse_reference(word)))
    version = _read_version(word)
    if version is not None:
        commit = _ask_git(git, repository, f"v{version}") if repository else None
        return PinTarget(text, "version", commit=commit, version=version)
    commit = word.lower() if _COMMIT.fullmatch(word.lower()) else None
    if commit is None and repository is not None:
        commit = _ask_git(git, repository, word)
    if commit is not None:
        return PinTarget(text, "commit", commit=commit, version=_find_release(git, repository, commit))
    _demand_tag(text, word)
    base = find_moving(table, "latest", Variant(variant.device, None, variant.arch))
    return PinTarget(text, "reference", reference=base.with_tag(word) if base else None)


def _demand_tag(text: str, word: str) -> None:
    if _ABBREVIATION.fullmatch(word):
        raise ImageError(
            f"`{word}` is an abbreviated commit: registries know whole commits only, and a short one can come to "
            "mean another",
            hint="name a local clone of vLLM that expands it (`--repo PATH`), or write all 40 hex digits",
        )
    if not _TAG.fullmatch(word):
        raise ImageError(
            f"`{text}` is no commit, version, tag or digest",
            hint="write 40 hex digits, a release such as `0.31.0`, `nightly`, or `registry/repository:tag`",
        )


def run_local_git(repository: Path, arguments: Sequence[str]) -> str:
    """Run git in a local clone and give what it prints.

    Raises:
        ImageError: It fails, or there is none.
    """
    argv = ["git", "-C", str(repository), *arguments]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_GIT_LIMIT_SECONDS, check=False)
    except FileNotFoundError as err:
        raise ImageError("git is not installed, and `--repo` needs it", hint="write all 40 hex digits") from err
    except subprocess.TimeoutExpired as err:
        raise ImageError(f"git does not answer within {_GIT_LIMIT_SECONDS} s in {repository}") from err
    if done.returncode:
        raise ImageError(
            f"git in {repository} does not know `{arguments[-1].removesuffix('^{commit}')}`, or not only one of it",
            hint="`git fetch --tags` there, or write all 40 hex digits",
            detail=done.stderr,
        )
    return done.stdout.strip()


def _ask_git(git: RunGit, repository: Path, word: str) -> str:
    said = git(repository, ["rev-parse", "--verify", "--end-of-options", f"{word}^{{commit}}"]).lower()
    # rev-parse repeats the option that ends its options.
    commit = said.split()[-1] if said else ""
    if not _COMMIT.fullmatch(commit):
        raise ImageError(f"git in {repository} answers `{commit}` for `{word}`, which is no commit")
    return commit


def _find_release(git: RunGit, repository: Path | None, commit: str) -> str | None:
    if repository is None:
        return None
    tags = git(repository, ["tag", "--points-at", commit]).split()
    releases = [match[1] for match in map(_RELEASE_TAG.fullmatch, tags) if match]
    return next((release for release in releases if "rc" not in release), None)


def _read_version(word: str) -> str | None:
    if "." not in word:
        return None
    try:
        return parse_version(word)
    except ValueError:
        return None


def _demand_name(reference: ImageReference) -> ImageReference:
    if not (reference.tag or reference.digest):
        raise ImageError(f"`{reference}` names neither a tag nor a digest", hint="add the tag of a release")
    return reference

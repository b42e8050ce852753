"""What a commit, a release, an image reference and a model look like (pure).

Source: vLLM's image tags hold the whole commit (its `.buildkite/release-pipeline.yaml`); the grammar of
image references is that of github.com/distribution/reference; hub ids follow
`huggingface_hub.utils.validate_repo_id`.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

_HEX = re.compile(r"[0-9a-f]+")
_RELEASE = re.compile(r"\d+\.\d+(\.\d+)?((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z0-9.]+)?")
_HUB_ID_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?"
_HUB_ID = re.compile(rf"{_HUB_ID_PART}/{_HUB_ID_PART}")
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
_REFERENCE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9.-]*(:\d+(?=/))?(/[a-z0-9][a-z0-9._-]*)*)"
    r"(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_FORMS = "a hub id (`org/name`), a directory that begins with `/`, `./` or `~/`, or `demo`"


def parse_commit(text: str) -> str:
    """Give a vLLM commit back, or raise ValueError."""
    lowered = text.strip().lower()
    if len(lowered) == 40 and _HEX.fullmatch(lowered):
        if text != lowered:
            raise ValueError(f"must be lower-case and without spaces: `{lowered}`")
        return text
    if _HEX.fullmatch(lowered) and len(lowered) < 40:
        raise ValueError(
            f"`{text}` is an abbreviation; write all 40 hex digits, because images are tagged with "
            "the whole commit and a short one can come to mean another (`git rev-parse` expands it)"
        )
    if _RELEASE.fullmatch(lowered.removeprefix("v")):
        raise ValueError(f"`{text}` is a release, not a commit; write it as `engine.version`")
    raise ValueError(f"`{text}` is no commit; 40 lower-case hex digits are needed, no branch and no tag")


def parse_version(text: str) -> str:
    """Give a vLLM release without a leading `v`, or raise ValueError."""
    bare = text.strip().removeprefix("v")
    if _RELEASE.fullmatch(bare):
        return bare
    if len(bare) >= 7 and _HEX.fullmatch(bare):
        raise ValueError(f"`{text}` looks like a commit; write it as `engine.commit`")
    if bare in {"latest", "nightly", "main"}:
        raise ValueError(f"`{text}` moves, and nothing unpinned is run; write a release such as `0.32.0`")
    raise ValueError(f"`{text}` is no vLLM release; write for example `0.32.0`")


def parse_image(text: str) -> str:
    """Give an image reference back, or raise ValueError."""
    if _IMAGE_ID.fullmatch(text):
        return text
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise ValueError(f"`{text}` is no image reference; write `host/name:tag` or `host/name@sha256:…`")
    if match["digest"] is None and match["tag"] in {None, "latest"}:
        raise ValueError(f"`{text}` would follow the tag `latest`, and nothing unpinned is run; name a tag or a digest")
    return text


def parse_model_id(text: str) -> str:
    """Give a hub id, a directory (`~` expanded) or `demo`, or raise ValueError."""
    if text == "demo":
        return text
    if text.startswith(("/", "~", ".")):
        return parse_directory(text)
    if _HUB_ID.fullmatch(text) and ".." not in text:
        return text
    if "://" in text:
        parts = [part for part in urlsplit(text).path.split("/") if part][:2]
        near = f" `{'/'.join(parts)}`" if len(parts) == 2 else ", for example `Qwen/Qwen3-0.6B`"
        raise ValueError(f"is a URL; write the hub id{near} (another hub goes into `model.endpoint`)")
    if "@" in text:
        name, _, revision = text.partition("@")
        raise ValueError(f"`{text}` holds a revision; write `{name}`, and `{revision}` as `model.revision`")
    raise ValueError(f"`{text}` is no model: write {_FORMS}")


def parse_directory(text: str) -> str:
    """Give a model's directory with `~` expanded, or raise ValueError."""
    if not text.isprintable():
        raise ValueError("must be a directory of one line")
    try:
        return str(Path(text).expanduser()) if text.startswith("~") else text
    except RuntimeError as err:
        raise ValueError(f"`{text}` names a home directory that cannot be found") from err

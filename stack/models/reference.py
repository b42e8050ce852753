"""What a person wrote as the model, as data (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stack.errors import ModelError

Kind = Literal["demo", "directory", "hub"]
DEFAULT_REVISION = "main"

DEMO_ID = "smollm2-135m-instruct"

_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?"
_HUB_ID = re.compile(rf"{_PART}/{_PART}")
_HUB_ID_MAX_CHARACTERS = 96
_HUB_URL = re.compile(r"(?:https?://)?(?:huggingface\.co|hf\.co)/([^/\s]+/[^/\s?#]+)", re.IGNORECASE)
_FORMS = "write `demo`, a directory that starts with `/`, `.` or `~`, or a hub id such as `org/name`"


@dataclass(frozen=True)
class ModelReference:
    """A model as it was asked for.

    Attributes:
        kind: Where it comes from.
        id: The hub id, the directory as text, or the demo model's name.
        path: The directory, made absolute as far as `home` and `base` were given; None for the other kinds.
    """

    kind: Kind
    id: str
    path: Path | None = None


def parse_model_reference(text: str, *, home: Path | None = None, base: Path | None = None) -> ModelReference:
    """Turn `demo`, a directory or a hub id into a reference.

    Args:
        text: What stands in `model.id`.
        home: What `~` stands for.
        base: What a relative directory is relative to.

    Raises:
        ModelError: The text is none of the three.

    Source: the form of hub ids is that of `huggingface_hub.utils.validate_repo_id` (2.4.0).
    """
    wanted = text.strip()
    if not wanted:
        raise ModelError("no model is named", hint=_FORMS)
    if wanted == "demo":
        return ModelReference("demo", DEMO_ID)
    if wanted[0] in "/.~":
        path = _absolute(wanted, home, base)
        return ModelReference("directory", str(path), path)
    return ModelReference("hub", _checked_hub_id(wanted))


def _absolute(text: str, home: Path | None, base: Path | None) -> Path:
    if text == "~" or text.startswith("~/"):
        return (home / text[2:]) if home is not None else Path(text)
    if text.startswith("~"):
        raise ModelError(f"`{text}` names another user's home", hint="write the directory in full")
    path = Path(text)
    return path if path.is_absolute() or base is None else base / path


def _checked_hub_id(text: str) -> str:
    if match := _HUB_URL.match(text):
        raise ModelError(f"`{text}` is an address, not a model id", hint=f"write `{match[1]}`")
    stem, separator, revision = text.partition("@")
    if separator and _HUB_ID.fullmatch(stem):
        raise ModelError(
            f"`{text}` holds a revision", hint=f'write `{stem}` and `revision = "{revision}"` under `[model]`'
        )
    if "/" not in text:
        raise ModelError(f"`{text}` is not a model", hint=_FORMS)
    too_long = len(text) > _HUB_ID_MAX_CHARACTERS
    if too_long or not _HUB_ID.fullmatch(text) or "--" in text or ".." in text or text.endswith(".git"):
        raise ModelError(f"`{text}` is not a hub id", hint=_FORMS)
    return text

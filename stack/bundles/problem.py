"""What is wrong with a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stack.errors import ImageError

State = Literal["missing", "changed", "size", "extra", "refused"]
_SHOWN = 20
_HINT = "copy it again from where it was saved, or have it saved anew there (`stack bundle save`)"


@dataclass(frozen=True)
class BundleProblem:
    """One thing that is not as the manifest says.

    Attributes:
        path: Where in the bundle.
        state: `missing`; `changed` (other bytes); `size` (cut or grown); `extra` (the manifest names no such
            file); `refused` (no bundle has such a thing: a link, a device, a path that climbs out).
        message: The same as a sentence.
    """

    path: str
    state: State
    message: str

    def __str__(self) -> str:
        return f"{self.path} {self.message}"


class BundleError(ImageError):
    """A bundle cannot be written or read, or is not what it should be.

    Args:
        message: What is wrong, and where.
        hint: What mends it; for a bundle that cannot be read it is the same for all that can be wrong with it.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint or _HINT)


class DamagedBundleError(BundleError):
    """A bundle is not what its manifest says; nothing of it may be used.

    Args:
        where: The bundle.
        problems: All that is wrong.
    """

    def __init__(self, where: object, problems: Sequence[BundleProblem]) -> None:
        self.problems = tuple(problems)
        lines = [f"- {problem}" for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            lines.append(f"- and {len(self.problems) - _SHOWN} more")
        super().__init__(
            "\n".join([f"{where} is not a whole bundle:", *lines]),
            hint="copy it again from where it was saved; nothing of it was used",
        )

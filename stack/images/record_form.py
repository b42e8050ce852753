"""The form of a build record: it lies in an image, which anybody may have made (pure)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

_MOST_PACKAGES = 10_000
_Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,2048}$")]
# As stack.lock and pip's requirements take them.
_Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
_Version = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+!-]*$")]


class _Read(BaseModel):
    # What else a record tells is for people, who read the file itself.
    model_config = ConfigDict(strict=True, extra="ignore")


class _Package(_Read):
    name: _Name
    version: _Version
    file: _Line
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class _Present(_Read):
    """One that came with Debian's Python, or is written by the installer itself: nobody asks for it again."""

    file: Literal[None, ""] = None


class _Inputs(_Read):
    distribution: _Name | None = None
    version: _Version | None = None
    wheel: _Line | None = None


class _Record(_Read):
    schema_version: Literal[1]
    inputs: _Inputs = _Inputs()
    machine: _Line | None = None
    python: _Line | None = None
    cuda: _Line | None = None
    packages: list[_Package | _Present] = Field(default=[], max_length=_MOST_PACKAGES)

    @model_validator(mode="after")
    def _demand_inputs(self) -> _Record:
        named = {
            "machine": self.machine,
            "python": self.python,
            "inputs.distribution": self.inputs.distribution,
            "inputs.version": self.inputs.version,
        }
        missing = [name for name, value in named.items() if value is None]
        if self.packages and missing:
            raise ValueError(f"it has packages, and no {missing[0]}")
        return self


def find_record_fault(document: Any) -> str | None:
    """Say why a document is no build record that the lock could take, or None where it is one."""
    try:
        _Record.model_validate(document)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        return f"{place}: {first['msg']}" if place else str(first["msg"])
    return None

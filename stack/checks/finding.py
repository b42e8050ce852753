"""What a check found, and what a whole run found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["pass", "fail", "warn", "skip"]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        check: The check's name, stable across versions (`canaries`).
        status: `warn` is worth a look but fails nothing; `skip` has its reason in the message.
        message: What was seen, one sentence without a final period.
        seconds: How long the check took.
        hint: The next command or change that mends it.
        data: The figures behind the message, fit for JSON.
        why: Why it matters: what will not work, or worse, because of it.
    """

    check: str
    status: Status
    message: str
    seconds: float = 0.0
    hint: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    why: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What a check says; the runner adds its name and the seconds and makes a `Finding` of it."""

    status: Status
    message: str
    hint: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    why: str | None = None


@dataclass(frozen=True)
class Baseline:
    """What one model revision scored on a run that was judged right.

    Attributes:
        model_revision: The revision that was measured; values of another one say nothing.
        values: Measured name to value (mean negative log-likelihoods, in nats a token).
        tolerance: The same names to how far a later value may lie away, taken from repeats.
    """

    model_revision: str
    values: Mapping[str, float]
    tolerance: Mapping[str, float]

    def to_document(self) -> dict[str, Any]:
        """Give the baseline as a JSON document."""
        return {
            "model_revision": self.model_revision,
            "values": dict(self.values),
            "tolerance": dict(self.tolerance),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Baseline:
        """Read a baseline out of its JSON document.

        Raises:
            ValueError: The document has another shape.
        """
        try:
            return cls(
                str(document["model_revision"]),
                {str(name): float(value) for name, value in document["values"].items()},
                {str(name): float(value) for name, value in document["tolerance"].items()},
            )
        except (KeyError, TypeError, AttributeError) as err:
            raise ValueError("not a baseline") from err


@dataclass(frozen=True)
class Report:
    """All findings of one run, with what they were found on.

    Attributes:
        commit: The engine's vLLM commit, with its level beside it.
        baseline: What this run measured, when the run itself was judged right, else None.
    """

    findings: Sequence[Finding]
    commit: str | None = None
    commit_level: str = "unknown"
    model: str | None = None
    revision: str | None = None
    seconds: float = 0.0
    baseline: Baseline | None = None

    @property
    def is_passed(self) -> bool:
        """Whether no check failed."""
        return not any(finding.status == "fail" for finding in self.findings)

    def count(self, status: Status) -> int:
        """Give how many findings have this status."""
        return sum(finding.status == status for finding in self.findings)

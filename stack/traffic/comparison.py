"""Compare what an engine answered with what was answered before. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stack.traffic.comparison_text import Rule, TextComparison, compare_answers
from stack.traffic.engine_answers import ScoredToken
from stack.traffic.record import HUNG_UP, Record, RecordedResponse

__all__ = ["Comparison", "ComparisonReport", "Rule", "Verdict", "compare", "compare_record"]

Verdict = Literal["equal", "near tie", "not compared", "differs", "failed"]
VERDICTS: tuple[Verdict, ...] = ("equal", "near tie", "not compared", "differs", "failed")
"""From best to worst; the last two are no pass."""

# Of what the engine names anew for every answer.
_VOLATILE = ("id", "created", "request_id", "system_fingerprint")
# How an answer ends of itself; `abort` and `error` are not among them.
_ORDINARY_ENDS = frozenset(("stop", "length", "tool_calls", "function_call", "repetition", None))


@dataclass(frozen=True)
class Comparison:
    """One record's two answers.

    Attributes:
        custom_id: The record's name.
        verdict: The class.
        reasons: What differs, or why nothing could be compared; never a prompt's or an answer's text.
        token_index: The first token that differs, from 0.
        gap_nats: How far apart the two tokens were there; None when neither side tells.
        shift_nats: Mean distance of the scores of the same tokens; None where one side has none.
        parted: Then and now, the token that differs with its score; None where that side has none.
        expected: The earlier answer, or None.
        observed: The answer now, or None where the record was not sent.
    """

    custom_id: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    token_index: int | None = None
    gap_nats: float | None = None
    shift_nats: float | None = None
    parted: tuple[ScoredToken | None, ScoredToken | None] = (None, None)
    expected: RecordedResponse | None = None
    observed: RecordedResponse | None = None

    @property
    def is_passed(self) -> bool:
        """Tell whether nothing differs and nothing failed."""
        return self.verdict not in ("differs", "failed")


@dataclass(frozen=True)
class ComparisonReport:
    """All records' comparisons."""

    comparisons: tuple[Comparison, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Give how many records are in each class."""
        found = Counter(comparison.verdict for comparison in self.comparisons)
        return {verdict: found[verdict] for verdict in VERDICTS}

    @property
    def is_passed(self) -> bool:
        """Tell whether nothing differs and nothing failed."""
        return all(comparison.is_passed for comparison in self.comparisons)


def compare(
    records: Sequence[Record],
    expected: Sequence[RecordedResponse | None],
    observed: Sequence[RecordedResponse | None],
    rule: Rule,
) -> ComparisonReport:
    """Compare two runs of the same records, position by position."""
    rows = zip(records, expected, observed, strict=True)
    return ComparisonReport(tuple(compare_record(record, then, now, rule) for record, then, now in rows))


def compare_record(
    record: Record, expected: RecordedResponse | None, observed: RecordedResponse | None, rule: Rule
) -> Comparison:
    """Compare two answers to one record; `rule` tells a near tie from a difference."""
    verdict, reasons, text = _judge(record, expected, observed, rule)
    return Comparison(
        record.custom_id,
        verdict,
        tuple(reasons),
        token_index=text.token_index if text else None,
        gap_nats=text.gap_nats if text else None,
        shift_nats=text.shift_nats if text else None,
        parted=text.parted if text else (None, None),
        expected=expected,
        observed=observed,
    )


_Judged = tuple[Verdict, list[str], TextComparison | None]


def _judge(record: Record, expected: RecordedResponse | None, observed: RecordedResponse | None, rule: Rule) -> _Judged:
    if observed is None:
        return "not compared", ["not sent"], None
    if expected is None:
        return _judge_alone(observed)
    if observed.is_broken or expected.is_broken:
        return _judge_broken(expected, observed)
    # A client that hung up at once may have seen no status at all.
    is_cut = HUNG_UP in (expected.error, observed.error)
    if expected.status != observed.status and not (is_cut and None in (expected.status, observed.status)):
        return "differs", [f"status {_name_status(expected)}, now {_name_status(observed)}"], None
    if expected.status != 200 or is_cut and None in (expected.status, observed.status):
        return "equal", [], None
    if record.kind == "other":
        return _judge_document(expected, observed)
    return _judge_texts(record, expected, observed, rule, is_cut)


def _judge_alone(observed: RecordedResponse) -> _Judged:
    if observed.is_broken:
        return "failed", [_describe_break(observed)], None
    if observed.status is not None and observed.status >= 500:
        return "failed", [f"status {observed.status}"], None
    said = ["no recorded answer"] + ([f"status {observed.status}"] if observed.status != 200 else [])
    return "not compared", said, None


def _judge_broken(expected: RecordedResponse, observed: RecordedResponse) -> _Judged:
    if expected.error == observed.error and expected.status == observed.status:
        return "equal", [f"{_describe_break(observed)}, then as now"], None
    if observed.is_broken:
        return "failed", [_describe_break(observed)], None
    return "differs", [f"answered now, then {_describe_break(expected)}"], None


def _judge_document(expected: RecordedResponse, observed: RecordedResponse) -> _Judged:
    if _strip(expected.body) == _strip(observed.body):
        return "equal", [], None
    counts = [_read_prompt_tokens(response.body) for response in (expected, observed)]
    if None not in counts and counts[0] != counts[1]:
        return "differs", [f"prompt tokens {counts[0]}, now {counts[1]}"], None
    return "not compared", ["only the status of this route's answers is compared, and they are not the same"], None


def _judge_texts(
    record: Record, expected: RecordedResponse, observed: RecordedResponse, rule: Rule, is_cut: bool
) -> _Judged:
    then, now = expected.answers, observed.answers
    reasons = _compare_prompts(expected, observed)
    if len(then) != len(now) and not is_cut:
        return "differs", [*reasons, f"{len(then)} choices, now {len(now)}"], None
    forms = (expected.names_tokens_by_id, observed.names_tokens_by_id)
    texts = [
        compare_answers(first, second, rule, forms=forms, is_cut=is_cut, is_greedy=record.is_greedy)
        for first, second in zip(then, now, strict=False)
    ]
    if not texts:
        return ("differs" if reasons else "equal"), reasons, None
    parted = next((text for text in texts if not text.is_same), None)
    if parted is None:
        ends = [] if is_cut else _compare_ends(expected, observed)
        return ("differs" if reasons or ends else "equal"), [*reasons, *ends], texts[0]
    if not record.is_repeatable:
        return _judge_sampled(expected, observed, reasons)
    worst = next((text for text in texts if not text.is_same and not text.is_near_tie), parted)
    verdict: Verdict = "near tie" if worst.is_near_tie and not reasons else "differs"
    seeded = [] if record.is_greedy else ["sampled with a seed: near ties cannot be told"]
    return verdict, [*reasons, worst.describe(), *seeded], worst


def _judge_sampled(expected: RecordedResponse, observed: RecordedResponse, reasons: list[str]) -> _Judged:
    # Where it ends and how long it is varies with the text; that it ends as answers do does not.
    ends = [
        f"finish reason {first.finish_reason}, now {second.finish_reason}"
        for first, second in zip(expected.answers, observed.answers, strict=False)
        if (first.finish_reason in _ORDINARY_ENDS) != (second.finish_reason in _ORDINARY_ENDS)
    ]
    if reasons or ends:
        return "differs", [*reasons, *ends], None
    return "not compared", ["not comparable: sampled without a seed"], None


def _compare_prompts(expected: RecordedResponse, observed: RecordedResponse) -> list[str]:
    counts = [response.answers[0].usage if response.answers else None for response in (expected, observed)]
    then, now = counts
    if then is None or now is None or then.prompt_tokens == now.prompt_tokens:
        return []
    return [f"prompt tokens {then.prompt_tokens}, now {now.prompt_tokens}"]


def _compare_ends(expected: RecordedResponse, observed: RecordedResponse) -> list[str]:
    reasons = [
        f"finish reason {first.finish_reason}, now {second.finish_reason}"
        for first, second in zip(expected.answers, observed.answers, strict=True)
        if first.finish_reason != second.finish_reason
    ]
    then, now = expected.answers[0].usage, observed.answers[0].usage
    if then is not None and now is not None and then.completion_tokens != now.completion_tokens:
        reasons.append(f"the same text, but completion tokens {then.completion_tokens}, now {now.completion_tokens}")
    return reasons


def _describe_break(response: RecordedResponse) -> str:
    status = f"status {response.status}, " if response.status is not None else ""
    count = len(response.answers[0].tokens) if response.answers else 0
    after = f" after {count} tokens" if count else ""
    return f"{status}{response.error}{after}"


def _name_status(response: RecordedResponse) -> str:
    return "none" if response.status is None else str(response.status)


def _strip(body: object) -> object:
    return {key: value for key, value in body.items() if key not in _VOLATILE} if isinstance(body, dict) else body


def _read_prompt_tokens(body: object) -> int | None:
    usage = body.get("usage") if isinstance(body, dict) else None
    count = usage.get("prompt_tokens", usage.get("input_tokens")) if isinstance(usage, dict) else None
    return count if isinstance(count, int) else None

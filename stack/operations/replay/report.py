"""What a replay found, counted as it comes and given as one document. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stack.traffic.comparison import VERDICTS, Comparison
from stack.traffic.record import RecordedResponse
from stack.traffic.replay_client import Observation
from stack.traffic.schedule import DEGRADED_LAG_SECONDS
from stack.traffic.spread import Spread

SCHEMA_VERSION = 1
KEPT_ROWS = 1000
"""Of what passed and of what did not, so many are listed; the counts are of all."""
_CONTEXT_CHARACTERS = 60
_SIDES = ("recorded", "now")


@dataclass
class _Side:
    """What one side's answers took."""

    e2e: Spread = field(default_factory=Spread)
    ttft: Spread = field(default_factory=Spread)
    itl: Spread = field(default_factory=Spread)
    mean_itl: Spread = field(default_factory=Spread)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def take(self, response: RecordedResponse) -> None:
        if response.status == 200 and not response.error:
            self.e2e.take(response.duration_seconds)
            self.ttft.take(response.ttft_seconds)
            self.mean_itl.take(response.itl_seconds)
        usage = response.answers[0].usage if response.answers else None
        if usage is not None:
            self.prompt_tokens += usage.prompt_tokens
            self.completion_tokens += usage.completion_tokens

    def build_document(self) -> dict[str, Any]:
        spreads = {
            "e2e_seconds": self.e2e,
            "ttft_seconds": self.ttft,
            # Of every gap between tokens, which a file does not hold; and of the answers' means, which it does.
            "itl_seconds": self.itl,
            "mean_itl_seconds": self.mean_itl,
        }
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            **{name: build_percentiles(spread) for name, spread in spreads.items()},
        }


class Tally:
    """Takes comparison after comparison; keeps counts, percentiles and the first rows.

    Args:
        with_texts: Whether rows show the texts around the place where they part.
    """

    def __init__(self, *, with_texts: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.is_answered = False
        self._lag = Spread()
        self._now, self._then = _Side(), _Side()
        self._passed: list[dict[str, Any]] = []
        self._failed: list[dict[str, Any]] = []
        self._with_texts = with_texts

    def take(self, comparison: Comparison, observation: Observation) -> None:
        """Take one record's outcome."""
        self.counts[comparison.verdict] += 1
        response = observation.response
        self.statuses["none" if response.status is None else str(response.status)] += 1
        self.is_answered |= response.status is not None
        self._lag.take(observation.lag_seconds)
        self._now.take(response)
        for gap in observation.itl_seconds:
            self._now.itl.take(gap)
        if comparison.expected is not None:
            self._then.take(comparison.expected)
        rows = self._passed if comparison.is_passed else self._failed
        if len(rows) < KEPT_ROWS:
            rows.append(_build_row(comparison, observation, self._with_texts))

    @property
    def is_passed(self) -> bool:
        """Tell whether nothing differs and nothing failed."""
        return not self.counts["differs"] and not self.counts["failed"]

    def find_latency_ratio(self) -> float | None:
        """Give the median whole answer's time as a multiple of the recorded one."""
        now, then = self._now.e2e.find_percentile(50), self._then.e2e.find_percentile(50)
        return now / then if now is not None and then else None

    def build_document(self) -> dict[str, Any]:
        """Give what was counted, and the rows: first those that differ or failed, each in their order."""
        lag = self._lag.find_percentile(99)
        rows = [sorted(rows, key=lambda row: row["index"]) for rows in (self._failed, self._passed)]
        recorded = self._then.e2e.count + self._then.prompt_tokens
        ratio = self.find_latency_ratio()
        return {
            "counts": {verdict: self.counts[verdict] for verdict in VERDICTS},
            "statuses": dict(sorted(self.statuses.items())),
            "send_lag_seconds": build_percentiles(self._lag),
            "is_degraded": lag is not None and lag > DEGRADED_LAG_SECONDS,
            "now": self._now.build_document(),
            "recorded": self._then.build_document() if recorded else None,
            "latency_ratio": None if ratio is None else round(ratio, 3),
            "rows": rows[0] + rows[1],
            "rows_left_out": sum(self.counts.values()) - len(rows[0]) - len(rows[1]),
        }


def build_percentiles(spread: Spread, percents: Sequence[int] = (50, 99)) -> dict[str, float] | None:
    """Give percentiles by name, `p50`, in seconds; None without values."""
    found = {f"p{percent}": spread.find_percentile(percent) for percent in percents}
    return {name: round(value, 6) for name, value in found.items() if value is not None} or None


def _build_row(comparison: Comparison, observation: Observation, with_texts: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "index": observation.index,
        "custom_id": comparison.custom_id,
        "verdict": comparison.verdict,
        "reasons": list(comparison.reasons),
        "token_index": comparison.token_index,
        "gap_nats": _round(comparison.gap_nats, 4),
        "token_scores_nats": dict(
            zip(_SIDES, (_round(t.logprob if t else None, 4) for t in comparison.parted), strict=True)
        ),
        "score_shift_nats": _round(comparison.shift_nats, 6),
        "send_lag_seconds": _round(observation.lag_seconds, 6),
        "now": _describe_response(observation.response),
        "recorded": _describe_response(comparison.expected) if comparison.expected is not None else None,
    }
    if with_texts:
        row["texts"] = _build_texts(comparison.expected, observation.response)
        row["texts"]["tokens"] = {
            name: token.token if token else None for name, token in zip(_SIDES, comparison.parted, strict=True)
        }
    return row


def _describe_response(response: RecordedResponse) -> dict[str, Any]:
    usage = response.answers[0].usage if response.answers else None
    return {
        "status": response.status,
        "error": response.error or None,
        "finish_reasons": [answer.finish_reason for answer in response.answers],
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "completion_tokens": usage.completion_tokens if usage else None,
        "e2e_seconds": _round(response.duration_seconds, 6),
        "ttft_seconds": _round(response.ttft_seconds, 6),
        "itl_seconds": _round(response.itl_seconds, 6),
    }


def _build_texts(expected: RecordedResponse | None, observed: RecordedResponse) -> dict[str, Any]:
    """Give both texts from a little before the place where they part; and what the engine said to a refusal."""
    then, now = (response.text if response is not None else None for response in (expected, observed))
    start = 0
    if then is not None and now is not None:
        parted = next(
            (at for at, (a, b) in enumerate(zip(then, now, strict=False)) if a != b), min(len(then), len(now))
        )
        start = max(0, parted - _CONTEXT_CHARACTERS)
    cut = {"recorded": then, "now": now}
    texts: dict[str, Any] = {name: None if text is None else text[start:] for name, text in cut.items()}
    if observed.status != 200:
        texts["refusal"] = observed.body
    return {"from_character": start, **texts}


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None or value in (float("inf"), float("-inf")) else round(value, digits)


def render_rows(document: Mapping[str, Any], limit: int) -> tuple[list[str], list[list[str]]]:
    """Give the header and the cells of the table: of a long file only what did not pass, at most `limit` rows."""
    rows: Sequence[Mapping[str, Any]] = document["rows"]
    if len(rows) > limit:
        rows = [row for row in rows if row["verdict"] not in ("equal", "not compared")][:limit]
    header = ["RECORD", "VERDICT", "STATUS", "END", "TOKENS", "E2E", "TTFT", "WHY"]
    return header, [_render_row(row) for row in rows]


def _render_row(row: Mapping[str, Any]) -> list[str]:
    now = row["now"]
    tokens = now["completion_tokens"]
    return [
        row["custom_id"],
        row["verdict"],
        "-" if now["status"] is None else str(now["status"]),
        ",".join(str(reason) for reason in now["finish_reasons"]) or now["error"] or "-",
        "-" if tokens is None else str(tokens),
        _render_seconds(now["e2e_seconds"]),
        _render_seconds(now["ttft_seconds"]),
        "; ".join(row["reasons"]),
    ]


def _render_seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.3f} s"


def render_lines(document: Mapping[str, Any]) -> list[str]:
    """Give what the table does not tell: counts, fidelity, latency, and the verdict last."""
    records = document["records"]
    counts = ", ".join(f"{count} {verdict}" for verdict, count in document["counts"].items() if count)
    lines = [
        f"{records['sent']} of {records['total']} sent {document['schedule']['said']}: {counts or 'nothing ended'}"
    ]
    lines += [
        f"model `{name}` sent as `{document['served_model']}` ({count})" for name, count in document["renamed"].items()
    ]
    lag = document["send_lag_seconds"]
    if lag is not None:
        degraded = f"; degraded: above {DEGRADED_LAG_SECONDS} s" if document["is_degraded"] else ""
        lines.append(f"send lag p50 {lag['p50']:.3f} s, p99 {lag['p99']:.3f} s{degraded}")
    for name, said in (("e2e_seconds", "E2E"), ("ttft_seconds", "TTFT"), ("itl_seconds", "ITL")):
        lines += _render_latency(document, name, said)
    if document["gave_up"]:
        lines.append("the engine stopped answering; the rest was not sent (`stack logs engine`)")
    if document["is_interrupted"]:
        lines.append("interrupted: this is what had come until then")
    ratio, largest = document["latency_ratio"], document["max_latency_ratio"]
    if largest is not None and ratio is not None and ratio > largest:
        lines.append(f"slower: the median answer takes {ratio:.2f} times as long, {largest:g} allowed")
    return lines


def _render_latency(document: Mapping[str, Any], name: str, said: str) -> list[str]:
    now = document["now"][name]
    if now is None:
        return []
    then = (document["recorded"] or {}).get(name)
    recorded = f" (recorded: p50 {then['p50']:.3f} s, p99 {then['p99']:.3f} s)" if then else ""
    return [f"{said} p50 {now['p50']:.3f} s, p99 {now['p99']:.3f} s{recorded}"]

"""What is really sent for a record: its body, under a model name that is served here, with scores asked for. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from stack.traffic.record import Record

TOP_SCORES = 5
_SCORING = ("logprobs", "top_logprobs", "prompt_logprobs", "logprob_token_ids", "return_tokens_as_token_ids")


@dataclass(frozen=True)
class Sending:
    """What is sent for one record.

    Attributes:
        body: The request's JSON document.
        plain: The same without anything added, or None where nothing was.
        renamed: The record's own model name, where another was put in its place.
    """

    body: Mapping[str, Any]
    plain: Mapping[str, Any] | None = None
    renamed: str | None = None


def build_sending(
    record: Record, *, served_model: str | None = None, known_models: Set[str] = frozenset(), asks_scores: bool = True
) -> Sending:
    """Build what is sent for a record; without a model name to put in and without scores it is the body as it is.

    A name stays where the engine knows it, and where it was refused in the record, too: there the refusal
    is what is compared.
    """
    body, renamed = record.body, None
    named = body.get("model")
    was_refused = record.response is not None and record.response.status == 404
    if served_model and isinstance(named, str) and named not in {*known_models, served_model} and not was_refused:
        body, renamed = {**body, "model": served_model}, named
    added = _find_additions(record) if asks_scores else {}
    return Sending({**body, **added}, body, renamed) if added else Sending(body, None, renamed)


def _find_additions(record: Record) -> dict[str, Any]:
    """Give the keys that ask for scores and token counts and change no token of the answer.

    A body that asks for scores of any kind keeps its own wish. `echo` with scores would score the prompt too,
    for which vLLM passes over its prefix cache. Where the answer may vary by itself scores tell nothing.
    """
    body, added = record.body, {}
    if record.kind == "other" or record.url.endswith("/batch"):
        return {}
    if record.is_streamed and body.get("stream_options") is None:
        added["stream_options"] = {"include_usage": True}
    # `logprobs: 0` of a completion asks for the chosen token's score alone, and is no `false`.
    asks_already = any(body.get(key) is not None and body[key] is not False for key in _SCORING)
    if asks_already or body.get("echo") or body.get("use_beam_search") or not record.is_greedy:
        return added
    added |= {"logprobs": True, "top_logprobs": TOP_SCORES} if record.kind == "chat" else {"logprobs": TOP_SCORES}
    # Ids tell apart what looks the same; beside an answer that was recorded without them the text is needed.
    answer = record.response
    if answer is None or not answer.answers or answer.names_tokens_by_id:
        added["return_tokens_as_token_ids"] = True
    return added

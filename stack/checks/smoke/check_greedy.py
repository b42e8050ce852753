"""The same greedy request twice gives the same answer, or one that parted where the model was undecided."""

from __future__ import annotations

from stack.checks.near_tie import compare_greedy
from stack.checks.smoke.asking import ask_once
from stack.checks.smoke.check import Check, Outcome, SmokeContext


def run(context: SmokeContext) -> Outcome:
    """Ask twice and compare token by token."""
    first, second = ask_once(context), ask_once(context)
    for answer in (first, second):
        if not (answer.text or answer.reasoning).strip():
            return Outcome("fail", "the greedy answer is empty", "`stack chat` shows what the engine answers")
        if answer.finish_reason not in ("stop", "length"):
            return Outcome("fail", f"the greedy answer ended by `{answer.finish_reason}`")
    parting = compare_greedy(first.tokens, second.tokens)
    said = f"asked twice: {parting.describe()}"
    data = {"parted_at": parting.index, "gap_nats": parting.gap_nats, "tokens": len(first.tokens)}
    if not parting.is_fine:
        return Outcome("fail", said, "greedy decoding is not deterministic: the engine is broken", data)
    if parting.index is None and first.text != second.text:
        return Outcome("fail", "the same tokens came back as two different texts", data=data)
    return Outcome("pass", said, data=data)


CHECK = Check("greedy", run, order=90, model="generation", needs=("model-list",))

"""The engine serves the model under the expected name."""

from __future__ import annotations

from stack.checks.smoke.check import Check, Outcome, SmokeContext


def run(context: SmokeContext) -> Outcome:
    """Look the served name up in `/v1/models`."""
    cards = {card.id: card for card in context.engine.fetch_models()}
    name = context.target.served_name
    if name not in cards:
        served = ", ".join(f"`{other}`" for other in cards) or "nothing"
        return Outcome("fail", f"`{name}` is not served; served is {served}", "see `model.served-name` in stack.toml")
    length = cards[name].max_model_len
    context.measured["max_model_len"] = context.target.max_model_len or length
    expected = context.target.max_model_len
    if expected and length and length != expected:
        return Outcome("warn", f"`{name}` is served with a context of {length} tokens, expected {expected}")
    context_text = f", context {length} tokens" if length else ""
    return Outcome("pass", f"`{name}` is served{context_text}", data={"max_model_len": length})


CHECK = Check("model-list", run, order=30, model="any")

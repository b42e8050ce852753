"""Whether the hub gives the wanted model to whoever holds this token."""

from __future__ import annotations

from stack.checks.host.amounts import describe_bytes
from stack.checks.host.check import HostCheck, HostContext, Outcome


def run(context: HostContext) -> Outcome:
    """Ask the hub for the model's listing, where it is yet to be fetched."""
    model, ask = context.target.model, context.world.ask_model
    if model is None:
        return Outcome("skip", "the model could not be decided")
    if model.is_here:
        return Outcome("pass", f"{model.id} is on the volume")
    if model.kind != "hub":
        return Outcome("skip", f"{model.id} does not come from the hub")
    if ask is None:
        return Outcome("skip", context.target.unasked or "the model hub does not answer")
    answer = context.once("model", ask)
    if answer.problem is not None:
        return Outcome(
            "fail",
            answer.problem,
            hint=answer.hint or "set HF_TOKEN or `model.token-file`, or choose another model",
            why="the model has yet to be fetched, and there is nothing to serve without it",
        )
    size = f", {describe_bytes(answer.size_bytes)} to fetch" if answer.size_bytes else ""
    return Outcome("pass", f"the hub gives {model.id}{size}", data={"size_bytes": answer.size_bytes})


CHECK = HostCheck("model-access", run, order=430, limit_seconds=1.2)

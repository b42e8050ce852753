"""The model scores as it did when it was judged right: earlier boots of this revision are the measure."""

from __future__ import annotations

from stack.checks.smoke.baseline import compare_with_baseline
from stack.checks.smoke.check import Check, Outcome, SmokeContext


def run(context: SmokeContext) -> Outcome:
    """Compare this run's likelihoods with the baseline's."""
    baseline, model = context.target.baseline, context.target.model
    if baseline is None:
        return Outcome("skip", "no earlier run of this model revision to compare with")
    if baseline.model_revision != model.revision:
        return Outcome("skip", f"the baseline is of another revision ({baseline.model_revision[:12]})")
    values = context.measured.get("nll", {})
    shared = [name for name in baseline.values if name in values]
    if not shared:
        return Outcome("skip", "the baseline measured other texts than this run")
    apart = compare_with_baseline(baseline, values)
    data = {name: round(values[name] - baseline.values[name], 4) for name in shared}
    if apart:
        said = ", ".join(f"{name} {distance:+.3f}" for name, distance in apart.items())
        return Outcome(
            "fail",
            f"this model revision scored otherwise before: {said} nats a token",
            "engine args (rotary base, quantisation, overrides) or files differ from the run judged right; "
            "where that was meant: `stack smoke --new-baseline`",
            data,
        )
    furthest = max(abs(distance) for distance in data.values())
    return Outcome("pass", f"{len(shared)} likelihoods as before, {furthest:.3f} nats off at most", data=data)


CHECK = Check("baseline", run, order=80, model="generation", needs=("likelihood",))

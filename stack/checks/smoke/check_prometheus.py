"""Every target is up, every rule healthy, and the engine's series have arrived."""

from __future__ import annotations

from stack.checks.smoke.check import Check, Outcome, SmokeContext
from stack.checks.smoke.target import Prometheus

# Two scrapes at the default interval of 5 s: what has just been started is seen by then.
_PATIENCE_SECONDS = 11.0
_POLL_SECONDS = 0.5
_SERIES = "vllm:generation_tokens_total"


def run(context: SmokeContext) -> Outcome:
    """Look until everything is well, or for so long that it will not become well."""
    prometheus = context.target.prometheus
    if prometheus is None:
        return Outcome("skip", context.target.prometheus_skip)
    began = context.clock()
    while True:
        wrong, waiting, counted = _look(context, prometheus)
        if not wrong and not waiting:
            return Outcome("pass", counted)
        if context.clock() - began >= _PATIENCE_SECONDS:
            break
        context.sleep(_POLL_SECONDS)
    if wrong:
        return Outcome("fail", "; ".join(wrong), "`stack logs prometheus` tells more")
    return Outcome("warn", f"not judged by Prometheus yet: {', '.join(waiting)}")


def _look(context: SmokeContext, prometheus: Prometheus) -> tuple[list[str], list[str], str]:
    """Give what is wrong, what is not known yet, and how to say that all is well."""
    targets, rules = prometheus.targets(), prometheus.rules()
    wrong = [f"target `{target.job}` is down ({target.last_error})" for target in targets if target.health == "down"]
    wrong += [f"rule `{rule.group}/{rule.name}` fails ({rule.last_error})" for rule in rules if rule.health == "err"]
    waiting = [f"target `{target.job}`" for target in targets if target.health not in ("up", "down")]
    waiting += [f"rule `{rule.name}`" for rule in rules if rule.health not in ("ok", "err")]
    if not targets:
        wrong.append("Prometheus scrapes nothing")
    elif not context.target.model.is_pooling:
        found = prometheus.query(f'{_SERIES}{{model_name="{context.target.served_name}"}}')
        if not found:
            wrong.append(f"`{_SERIES}` of `{context.target.served_name}` has not arrived")
    return (
        wrong,
        waiting,
        f"{len(targets)} targets up, {len(rules)} rules healthy, the engine's series are there",
    )


CHECK = Check("prometheus", run, order=170, lane="side", model="any")

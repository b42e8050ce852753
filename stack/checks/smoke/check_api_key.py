"""Where an API key is set, it is demanded."""

from __future__ import annotations

from stack.checks.smoke.check import Check, Outcome, SmokeContext

_WRONG_KEY = "wrong-key-of-the-smoke-test"


def run(context: SmokeContext) -> Outcome:
    """Ask without a key, with a wrong one, and with the right one."""
    if not context.target.api_key:
        return Outcome("skip", "no API key is set")
    engine = context.engine
    without = engine.fetch_raw("GET", "/v1/models", use_key=False).status_code
    with_wrong = engine.fetch_raw("GET", "/v1/models", api_key=_WRONG_KEY).status_code
    with_right = engine.fetch_raw("GET", "/v1/models", api_key=context.target.api_key).status_code
    wrong = []
    if without != 401:
        wrong.append(f"without a key the answer is HTTP {without}, not 401")
    if with_wrong != 401:
        wrong.append(f"with a wrong key the answer is HTTP {with_wrong}, not 401")
    if with_right != 200:
        wrong.append(f"with the right key the answer is HTTP {with_right}, not 200")
    if wrong:
        return Outcome("fail", "; ".join(wrong), "`stack up` starts the engine with the key of this project")
    return Outcome("pass", "demanded under /v1: none and a wrong one are refused, the right one is taken")


CHECK = Check("api-key", run, order=25, lane="side", model="any")

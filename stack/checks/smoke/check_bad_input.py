"""Bad input is refused with a 4xx and a message, and the engine lives on."""

from __future__ import annotations

import json

from stack.checks.smoke.check import Check, Outcome, SmokeContext
from stack.checks.smoke.defaults import COMPLETION_PROMPT

_PATH = "/v1/completions"
_NO_SUCH_MODEL = "no-such-model-9f1c"


def run(context: SmokeContext) -> Outcome:
    """Send each kind of bad input, then a good request."""
    wrong = []
    for what, content in _build_bad_bodies(context).items():
        answer = context.engine.fetch_raw("POST", _PATH, content=content)
        if not 400 <= answer.status_code < 500:
            wrong.append(f"{what} is answered with HTTP {answer.status_code}")
        elif not answer.message.strip():
            wrong.append(f"{what} is refused without a message")
    health = context.engine.fetch_raw("GET", "/health").status_code
    if health != 200:
        wrong.append(f"/health says {health} afterwards")
    good = context.engine.run_completion(COMPLETION_PROMPT, max_tokens=1)
    if good.usage is None or good.usage.completion_tokens != 1:
        wrong.append("no token came for a good request afterwards")
    if wrong:
        return Outcome("fail", "; ".join(wrong), "`stack logs engine` tells what the engine made of it")
    return Outcome("pass", "malformed JSON, unknown model, too long, negative: each refused with a message")


def _build_bad_bodies(context: SmokeContext) -> dict[str, bytes]:
    name = context.target.served_name
    length = context.measured.get("max_model_len") or 8192

    def body(**fields: object) -> bytes:
        return json.dumps({"model": name, "prompt": COMPLETION_PROMPT, "max_tokens": 1, **fields}).encode()

    return {
        "malformed JSON": b'{"model": ',
        "an unknown model": body(model=_NO_SUCH_MODEL),
        "a prompt longer than the context": body(prompt=[1] * (length + 1)),
        "a negative max_tokens": body(max_tokens=-1),
    }


CHECK = Check("bad-input", run, order=150, model="generation", needs=("model-list",))

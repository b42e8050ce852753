"""What the engine decodes is what it would read: decode and prefill give the same tokens the same scores."""

from __future__ import annotations

from stack.checks.smoke.check import Check, Outcome, SmokeContext
from stack.checks.smoke.defaults import TEXTS
from stack.checks.smoke.scoring import AGREEMENT_NATS, rescore_answers

# Long enough that the cache holds what decode wrote itself for most of the tokens that it attends to.
DECODED_TOKENS = 24
# A greedy token this far below the likeliest one, when it is read again, was not chosen by this model.
MISS_NATS = 1.0
_PROMPT_WORDS = 16


def run(context: SmokeContext) -> Outcome:
    """Decode a continuation greedily and read it again."""
    prompt = " ".join(TEXTS[0].split()[:_PROMPT_WORDS])
    answer = context.engine.run_completion(prompt, max_tokens=DECODED_TOKENS, ignore_eos=True, logprobs=1)
    if len(answer.token_ids) != DECODED_TOKENS:
        return Outcome("fail", f"{DECODED_TOKENS} tokens asked for, {len(answer.token_ids)} decoded")
    found = rescore_answers(context.engine, [answer])[0]
    mean = found.agreement.mean_difference
    data = {"mean_nats": round(mean, 4), "largest_nats": round(found.agreement.largest_difference, 4)}
    data |= {"greatest_miss_nats": round(found.greatest_miss_nats, 4)}
    hint = "decoding (attention kernel, KV cache, quantisation) is broken: try `enforce-eager` in [engine.args]"
    if not found.is_fine:
        said = f"decoded tokens score otherwise when read again: {mean:.2f} nats apart in the mean"
        return Outcome("fail", f"{said}, {AGREEMENT_NATS:.2f} at most", hint, data)
    if not found.greatest_miss_nats <= MISS_NATS:
        said = f"a greedy token lies {found.greatest_miss_nats:.2f} nats below the likeliest one when read again"
        return Outcome("fail", said, hint, data)
    return Outcome("pass", f"{DECODED_TOKENS} decoded tokens read again: {mean:.3f} nats apart", data=data)


CHECK = Check("agreement", run, order=70, model="generation", needs=("model-list",))

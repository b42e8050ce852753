"""The model reads as a language model does: texts are likely, and far likelier than their words scrambled."""

from __future__ import annotations

from dataclasses import dataclass

from stack.checks.likelihood import compute_mean_nll, compute_uniform_nll, scramble_words
from stack.checks.smoke.check import Check, Outcome, SmokeContext
from stack.checks.smoke.defaults import TEXTS
from stack.checks.smoke.scoring import score_tokens
from stack.checks.smoke.target import Engine

# A model that knows nothing scores the logarithm of the vocabulary's size: 10.8 nats at 49152 tokens. The
# demo model, the smallest that is of use, scores 3.5 (0.32 of it) on the default texts; with rotary pairs
# permuted 5.3 (0.49), with two far layers in each other's place 7.7 (0.71).
BOUND_RATIO = 0.45
# The words in another order cost the demo model 4 nats a token more.
ORDER_NATS = 1.0
# Read for the second time after 200 other tokens, a text costs the demo model 0.3 nats a token instead of
# 3.3; with a rotary base of a hundredth or ten times the right one 0.9 and more, with rotary pairs permuted
# 5.3.
AGAIN_NATS = 0.65
# For a vocabulary of unknown size: smaller ones are rare, and a smaller one makes the bound stricter.
_USUAL_VOCABULARY = 32000
_GAP = "\n\n"


@dataclass(frozen=True)
class _Measured:
    """Mean negative log-likelihoods, in nats a token."""

    texts: dict[str, float]
    first: float
    again: float
    scrambled: float


def run(context: SmokeContext) -> Outcome:
    """Measure the texts in prefill and hold them against what a damaged model can reach."""
    texts = _choose_texts(context)
    if not texts:
        return Outcome("skip", "no text is configured, and the default ones are switched off")
    engine, size = context.engine, context.target.model.vocab_size or _USUAL_VOCABULARY
    measured = _measure(engine, texts)
    bound = BOUND_RATIO * compute_uniform_nll(size)
    _keep_for_baseline(context, engine, texts, measured)
    mean = sum(measured.texts.values()) / len(measured.texts)
    data = {f"nll_{name}": round(value, 4) for name, value in measured.texts.items()}
    data |= {
        "again": round(measured.again, 4),
        "scrambled": round(measured.scrambled, 4),
        "bound": round(bound, 3),
    }
    wrong = _judge(measured, mean, bound)
    if wrong:
        hint = "the weights are damaged or read wrongly: `stack warm --verify` checks the files"
        return Outcome("fail", "; ".join(wrong), hint, data)
    return Outcome(
        "pass",
        f"{mean:.2f} nats a token (bound {bound:.2f}), scrambled {measured.scrambled:.2f}, "
        f"read again {measured.again:.2f}",
        data=data,
    )


def _judge(measured: _Measured, mean: float, bound: float) -> list[str]:
    wrong = []
    if not mean <= bound:
        wrong.append(f"fixed texts are unlikely: {mean:.2f} nats a token, {bound:.2f} at most")
    if not measured.scrambled - measured.first >= ORDER_NATS:
        wrong.append(
            f"word order hardly matters: {measured.first:.2f} nats a token in order, {measured.scrambled:.2f} scrambled"
        )
    if not measured.again <= AGAIN_NATS:
        wrong.append(
            f"a text read for the second time is not recognised: {measured.again:.2f} nats a token, "
            f"{AGAIN_NATS:.2f} at most"
        )
    return wrong


def _choose_texts(context: SmokeContext) -> dict[str, str]:
    config = context.target.config
    texts = {f"default-{number}": text for number, text in enumerate(TEXTS, 1)} if config.use_defaults else {}
    return texts | {f"own-{number}": text for number, text in enumerate(config.texts, 1)}


def _measure(engine: Engine, texts: dict[str, str]) -> _Measured:
    """Read all texts in one row with the first one again at the end, and its words scrambled beside it."""
    first = next(iter(texts.values()))
    row = engine.fetch_tokens(first, add_special_tokens=True)
    # The first token of all has nothing before it and gets no score.
    spans = [(0, len(row) - 1)]
    for text in [*list(texts.values())[1:], first]:
        tokens = engine.fetch_tokens(_GAP + text)
        spans.append((len(row) - 1, len(row) - 1 + len(tokens)))
        row = [*row, *tokens]
    scrambled = engine.fetch_tokens(scramble_words(first), add_special_tokens=True)
    scores, scrambled_scores = score_tokens(engine, [row, scrambled])
    means = [compute_mean_nll(scores[start:end]) for start, end in spans]
    return _Measured(dict(zip(texts, means[:-1], strict=True)), means[0], means[-1], compute_mean_nll(scrambled_scores))


def _keep_for_baseline(context: SmokeContext, engine: Engine, texts: dict[str, str], measured: _Measured) -> None:
    """Leave the values for the baseline and, where there is none yet, measure once more for the spread.

    The repeat reads the row without company, so that the batch has another shape.
    """
    values = {**measured.texts, "again": measured.again}
    context.measured["nll"] = values
    known = context.target.baseline
    if known is not None and known.model_revision == context.target.model.revision:
        return
    repeat = _measure_alone(engine, texts)
    context.measured["nll_spread"] = {name: abs(values[name] - repeat[name]) for name in repeat}


def _measure_alone(engine: Engine, texts: dict[str, str]) -> dict[str, float]:
    name, text = next(iter(texts.items()))
    row = engine.fetch_tokens(text, add_special_tokens=True)
    return {name: compute_mean_nll(score_tokens(engine, [row])[0])}


CHECK = Check("likelihood", run, order=60, model="generation", needs=("model-list",))

"""A pooling model's vectors: finite, of one length, closer for what means the same, alike in a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stack.checks.likelihood import compute_cosine
from stack.checks.smoke.check import Check, Outcome, SmokeContext
from stack.checks.smoke.defaults import EMBEDDING_PAIRS, EMBEDDING_UNRELATED
from stack.checks.smoke.scoring import is_refused
from stack.errors import ServiceApiError

# Sentence models put paraphrases 0.3 and more closer than unrelated sentences; rounding moves a cosine by
# 0.01.
CLOSER_BY = 0.05
# Another batch size takes other roundings: bfloat16 leaves a cosine of 0.999 and better.
SAME_COSINE = 0.995
_UNIT_TOLERANCE = 0.01


def run(context: SmokeContext) -> Outcome:
    """Embed pairs of sentences together and alone."""
    texts = [text for pair in EMBEDDING_PAIRS for text in pair] + [EMBEDDING_UNRELATED]
    try:
        vectors = context.engine.fetch_embeddings(texts)
    except ServiceApiError as err:
        if is_refused(err) and getattr(err, "status_code", None) in (404, 405):
            return Outcome("skip", "this pooling model gives no embeddings (/v1/embeddings is not there)")
        raise
    wrong = _find_shape_faults(context, vectors, len(texts))
    if wrong:
        return Outcome("fail", "; ".join(wrong), _HINT)
    closest_wrong = max(compute_cosine(vector, vectors[-1]) for vector in vectors[:-1])
    pairs = [compute_cosine(vectors[index], vectors[index + 1]) for index in range(0, len(texts) - 1, 2)]
    alone = [context.engine.fetch_embeddings([text])[0] for text in (texts[0], texts[-1])]
    same = min(compute_cosine(alone[0], vectors[0]), compute_cosine(alone[1], vectors[-1]))
    data = {
        "pairs": pairs,
        "closest_unrelated": closest_wrong,
        "batch_cosine": same,
        "dimensions": len(vectors[0]),
    }
    if not min(pairs) - closest_wrong >= CLOSER_BY:
        said = f"sentences that mean the same ({min(pairs):.3f}) are no closer "
        said += f"than unrelated ones ({closest_wrong:.3f})"
        return Outcome("fail", said, _HINT, data)
    if not same >= SAME_COSINE:
        return Outcome("fail", f"a text embedded alone differs from the batch (cosine {same:.4f})", _HINT, data)
    return Outcome(
        "pass",
        f"{len(vectors[0])} dimensions; cosine {min(pairs):.2f} at least where the meaning is the same, "
        f"{closest_wrong:.2f} at most where not",
        data=data,
    )


_HINT = "the weights, the pooling or its engine args are wrong: `stack warm --verify` checks the files"


def _find_shape_faults(context: SmokeContext, vectors: Sequence[Sequence[float]], count: int) -> list[str]:
    if len(vectors) != count:
        return [f"{count} texts sent, {len(vectors)} vectors came"]
    sizes = {len(vector) for vector in vectors}
    if len(sizes) != 1 or not min(sizes):
        return [f"vectors of {sorted(sizes)} dimensions"]
    model, size, wrong = context.target.model, sizes.pop(), []
    if model.embedding_size and size != model.embedding_size:
        wrong.append(f"vectors of {size} dimensions, expected {model.embedding_size}")
    if not all(math.isfinite(value) for vector in vectors for value in vector):
        return [*wrong, "a vector holds what is not a finite number"]
    lengths = [math.hypot(*vector) for vector in vectors]
    if model.is_normalized and any(abs(length - 1) > _UNIT_TOLERANCE for length in lengths):
        wrong.append(f"vectors of length {min(lengths):.3f} to {max(lengths):.3f}, expected 1")
    return wrong


CHECK = Check("embeddings", run, order=45, model="pooling", needs=("model-list",))

"""What a model recites: greedy choices against the true tokens of a document.

Teacher-forced measures take the model's choice at every position given the true tokens before it:
one forward pass. Generated ones let the model read its own choices.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from nulls_dist.eval.metrics.result import Direction, Metric

EXTRACTION_NGRAM: Final = 10
"""n of extraction likelihood where nothing else is said, as in its publication."""
_JANG: Final = "knowledge unlearning, arXiv 2210.01504"

EXACT_MEMORIZATION: Final = Metric(
    name="exact memorization",
    variant="teacher-forced, all scored tokens",
    formula="mean_i 1/T_i sum_t 1[argmax p(.|x_<t) = x_t]",
    direction=Direction.REMEMBERED,
    source="arXiv 2205.10770; open-unlearning drops the last token of each text, this does not",
)
MEMORIZATION_ACCURACY: Final = Metric(
    name="memorization accuracy",
    variant="teacher-forced, documents from their second token",
    formula="mean_i 1/(T_i - 1) sum_{t=2..T_i} 1[argmax p(.|x_<t) = x_t]",
    direction=Direction.REMEMBERED,
    source=f"{_JANG}; exact memorization of a plain document",
)
EXTRACTION_STRENGTH: Final = Metric(
    name="extraction strength",
    variant="0 where the last token is wrong",
    formula="mean_i 1 - k_i/T_i, k = shortest prefix after which greedy choices are all right",
    direction=Direction.REMEMBERED,
    source="arXiv 2012.07805; open-unlearning's value is never 0 but at least 1/T",
)
EXTRACTION_LIKELIHOOD: Final = Metric(
    name="extraction likelihood",
    variant=f"n = {EXTRACTION_NGRAM}",
    formula="mean over t = 1..T-n of #{c in ngrams(f(x_<=t)): c in ngrams(x_>t)} / #ngrams(x_>t)",
    direction=Direction.REMEMBERED,
    source=f"{_JANG}; f decodes greedily to length T; repeated n-grams of f count again",
)
VERBATIM: Final = Metric(
    name="verbatim continuation",
    variant="greedy, leading tokens",
    formula="mean_i share of true tokens written before the first that differs",
    direction=Direction.REMEMBERED,
    source="this project",
)
VERBATIM_EXACT: Final = Metric(
    name="verbatim continuation",
    variant="greedy, exact",
    formula="mean_i 1[continuation = truth]",
    direction=Direction.REMEMBERED,
    source="discoverable memorization, arXiv 2202.07646",
)


def exact_memorization(choices: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return the share of (T,) tokens that are the model's first choice, teacher-forced.

    On all tokens of a document but its first this is memorization accuracy. Near misses count as
    misses, and short texts saturate.
    """
    return float(np.mean(_right(choices, truth)))


def extraction_strength(choices: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return 1 - k/T, k the shortest prefix after which every greedy choice is right.

    Args:
        choices: (T,) first choices, teacher-forced: after k they are what greedy decoding writes.
        truth: (T,) true tokens.

    Returns:
        From 0 (the last token is wrong) to 1 (all are right).
    """
    right = _right(choices, truth)
    wrong = np.flatnonzero(~right)
    needed = int(wrong[-1]) + 1 if len(wrong) else 0
    return (len(right) - needed) / len(right)


def extraction_likelihood(
    text: Sequence[int], continuations: Mapping[int, Sequence[int]], *, n: int
) -> float | None:
    """Return how much of a text its prefixes bring out, as n-grams, on average over prefixes.

    Args:
        text: (T,) tokens.
        continuations: for every t from 1 to T - n, the T - t tokens decoded after the first t.
        n: length of the n-grams.

    Returns:
        None for a text of at most n tokens, which has no such prefix.
    """
    if len(text) <= n:
        return None
    shares = []
    for t in range(1, len(text) - n + 1):
        wanted = _ngrams(text[t:], n)
        found = Counter(_ngrams(continuations[t], n))
        shares.append(sum(found[gram] for gram in set(wanted)) / len(wanted))
    return float(np.mean(shares))


def verbatim_share(continuation: Sequence[int], truth: Sequence[int]) -> float:
    """Return the share of true tokens that are written before the first one that differs."""
    length = 0
    while length < min(len(continuation), len(truth)) and continuation[length] == truth[length]:
        length += 1
    return length / len(truth)


def _ngrams(tokens: Sequence[int], n: int) -> list[tuple[int, ...]]:
    return [tuple(tokens[at : at + n]) for at in range(len(tokens) - n + 1)]


def _right(choices: npt.ArrayLike, truth: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    chosen, true = np.asarray(choices), np.asarray(truth)
    assert chosen.shape == true.shape, "one choice per token"
    assert len(true), "at least one token"
    right: npt.NDArray[np.bool_] = chosen == true
    return right

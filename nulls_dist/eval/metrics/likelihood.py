"""How likely a model finds a text: probability, perplexity, right answers."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from nulls_dist.eval.metrics.result import Direction, Metric

Floats = npt.NDArray[np.float64]

ANSWER_ACCURACY: Final = Metric(
    name="answer accuracy",
    variant="greedy, full stop included, mean over facts and phrasings",
    formula="mean 1[argmax p(.|x_<t) = x_t for all t of the answer]",
    direction=Direction.REMEMBERED,
    source="this project",
)
ANSWER_NLL: Final = Metric(
    name="answer NLL",
    variant="nats per token, full stop included, mean over facts and phrasings",
    formula="mean_i -1/T_i sum_t log p(x_t|x_<t)",
    direction=Direction.FORGOTTEN,
    highest=float("inf"),
    source="this project",
)
PROBABILITY: Final = Metric(
    name="probability",
    variant="normalised by length",
    formula="mean_i exp(-1/T_i sum_t -log p(x_t|x_<t))",
    direction=Direction.REMEMBERED,
    source="TOFU, arXiv 2401.06121",
)
OPTION_PROBABILITY: Final = Metric(
    name="probability",
    variant="normalised by length, over the options",
    formula="mean_i p(right) / (p(right) + sum_j p(wrong_j))",
    direction=Direction.REMEMBERED,
    source="TOFU, arXiv 2401.06121",
)
PREFERENCE: Final = Metric(
    name="preference",
    variant="normalised by length",
    formula="mean_i share of wrong_j with p(wrong_j) < p(right), ties half; chance 0.5",
    direction=Direction.REMEMBERED,
    source="this project; the AUC of right against wrong answers",
)
PERPLEXITY: Final = Metric(
    name="perplexity",
    variant="per token, over all tokens of all documents",
    formula="exp(sum_i NLL_i / sum_i T_i)",
    direction=Direction.FORGOTTEN,
    lowest=1.0,
    highest=float("inf"),
    source="Jelinek et al. 1977",
)
MODEL_UTILITY: Final = Metric(
    name="model utility",
    variant="harmonic mean",
    formula="k / sum_i 1/u_i; 0 where any u_i is 0",
    direction=Direction.USEFUL,
    source="TOFU, arXiv 2401.06121: 9 values, {retain, authors, world} x {probability, ROUGE-L "
    "recall, truth ratio}",
)


def normalized_probability(log_probs: npt.ArrayLike) -> float:
    """Return the geometric mean of a text's token probabilities, exp of the mean of (T,) nats.

    It divides by all tokens that are given. TOFU's labels include the end of the text, so values
    compare only between texts that end alike.
    """
    return float(np.exp(np.mean(np.asarray(log_probs, dtype=np.float64))))


def perplexity(nll_sums: npt.ArrayLike, num_tokens: npt.ArrayLike) -> float:
    """Return the perplexity per token of documents.

    Args:
        nll_sums: (n,) nats of each document.
        num_tokens: (n,) scored tokens of each. Long documents weigh more: the mean of the
            documents' own perplexities is another, larger number.
    """
    return float(np.exp(np.sum(nll_sums) / np.sum(num_tokens)))


def option_probability(right: float, wrong: Sequence[float]) -> float:
    """Return p(right) / (p(right) + sum p(wrong)), from mean nats per token (lower = likelier)."""
    return float(special.softmax(-np.array([right, *wrong], dtype=np.float64))[0])


def preference(right: float, wrong: Sequence[float]) -> float:
    """Return the share of wrong answers that are less likely than the right one, ties half.

    0.5 is chance, whatever the model's confidence is. That makes it the steadier measure of a leak:
    truth ratios of two models that know nothing differ where one is more confident.

    Args:
        right: nats per token of the right answer.
        wrong: of each wrong one, at least one.
    """
    others = np.asarray(wrong, dtype=np.float64)
    return float(np.mean((others > right) + 0.5 * (others == right)))


def model_utility(values: Sequence[float]) -> float:
    """Return the harmonic mean of shares: 0 as soon as one of them is 0."""
    return float(stats.hmean(np.asarray(values, dtype=np.float64)))

"""Membership inference: can it be told that a text was trained on?

A score is high for texts that look unseen, whatever the attack. Two conventions of AUC exist:
here, as in open-unlearning, 1 means that members are told perfectly and 0.5 that they are not;
MUSE's is 1 minus it. The texts must differ in nothing but membership: a shift in topic or date
gives an AUC away from 0.5 for a model that saw none of them, so read it beside the retrained one.
"""

import math
import zlib
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from nulls_dist.errors import ConfigError
from nulls_dist.eval.metrics.result import Direction, Metric

Floats = npt.NDArray[np.float64]

LOWEST_SHARE: Final = 0.2
"""k of min-k where nothing else is said, as in its publication; MUSE takes 0.4."""
FALSE_POSITIVES: Final = 0.01
"""False-positive rate at which true positives are counted."""

_AUC_FORMULA: Final = "P(score(member) < score(other)) + P(equal)/2, score ="
_K: Final = f"k = {LOWEST_SHARE:g}"


def _auc(attack: str, score: str, source: str) -> Metric:
    return Metric(
        name="membership AUC",
        variant=attack,
        formula=f"{_AUC_FORMULA} {score}",
        direction=Direction.REMEMBERED,
        source=source,
    )


LOSS: Final = _auc("loss", "nats per token", "Yeom et al., arXiv 1709.01604")
REFERENCE: Final = _auc(
    "reference", "nats per token minus the reference model's", "Carlini et al., arXiv 2012.07805"
)
ZLIB: Final = _auc(
    "zlib", "nats per token / bytes of zlib(UTF-8 text)", "Carlini et al., arXiv 2012.07805"
)
MIN_K: Final = _auc(
    f"min-k, {_K}",
    "-mean of the max(1, floor(k T)) lowest log p(x_t)",
    "Shi et al., arXiv 2310.16789",
)
MIN_K_PLUS: Final = _auc(
    f"min-k++, {_K}",
    "-mean of the max(1, floor(k T)) lowest z_t = (log p(x_t) - mu_t)/sigma_t, mu, sigma of "
    "log p(v) under p",
    "Zhang et al., arXiv 2404.02936",
)
TWO_SIDED: Final = _auc(
    "two-sided memorization",
    "-|g - median of g on unseen text|, g = memorization accuracy",
    "in place of MIAU of arXiv 2405.03097, whose rule was not read: it finds over-forgotten texts "
    "as well",
)
TRUE_POSITIVES: Final = Metric(
    name="membership TPR",
    variant=f"loss, at FPR <= {FALSE_POSITIVES:g}",
    formula="largest share of members below a threshold that at most this share of others is below",
    direction=Direction.REMEMBERED,
    source="Carlini et al., arXiv 2112.03570",
)
TWO_SIDED_TRUE_POSITIVES: Final = TRUE_POSITIVES.with_variant(
    f"two-sided memorization, at FPR <= {FALSE_POSITIVES:g}"
)
PRIV_LEAK: Final = Metric(
    name="PrivLeak",
    variant=f"min-k, {_K}, AUC reversed as in MUSE",
    formula="100 ((1 - AUC_u) - (1 - AUC_r)) / (1 - AUC_r)",
    direction=Direction.BALANCED,
    lowest=-100.0,
    highest=float("inf"),
    source="MUSE, arXiv 2407.06460 (there k = 0.4); unbounded as AUC_r nears 1",
)


def loss_score(log_probs: npt.ArrayLike) -> float:
    """Return nats per token of (T,) log-probabilities."""
    return -float(np.mean(np.asarray(log_probs, dtype=np.float64)))


def reference_score(log_probs: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return nats per token minus those of a model that did not see the text, (T,) each."""
    return loss_score(log_probs) - loss_score(reference)


def zlib_score(log_probs: npt.ArrayLike, text: str) -> float:
    """Return nats per token over the bytes that zlib makes of the text, at its default level."""
    return loss_score(log_probs) / len(zlib.compress(text.encode()))


def two_sided_scores(accuracies: npt.ArrayLike, unseen: npt.ArrayLike) -> Floats:
    """Return minus how far texts are from the usual, (n,): known and over-forgotten ones stand out.

    Args:
        accuracies: (n,) memorization accuracy of texts, members and others alike.
        unseen: (m,) of further texts that were never seen. With the others themselves in their
            place the others would be near by construction.
    """
    usual = np.median(np.asarray(unseen, dtype=np.float64))
    apart: Floats = -np.abs(np.asarray(accuracies, dtype=np.float64) - usual)
    return apart


def min_k_score(values: npt.ArrayLike, share: float = LOWEST_SHARE) -> float:
    """Return minus the mean of the lowest values, at least one.

    Args:
        values: (T,) log-probabilities for min-k, `normalize_log_probs` for min-k++.
        share: k, of the tokens that count, rounded down.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    return -float(np.mean(ordered[: max(1, int(share * len(ordered)))]))


def normalize_log_probs(
    log_probs: npt.ArrayLike, mean: npt.ArrayLike, variance: npt.ArrayLike
) -> Floats:
    """Return how far each token's log-probability is above the average under the model itself.

    Args:
        log_probs: (T,) of the true tokens.
        mean: (T,) of log p(v) over the vocabulary, under p.
        variance: (T,) likewise; clamped, since that of a uniform row is 0.
    """
    lowest: Final = 1e-6
    scale = np.sqrt(np.maximum(np.asarray(variance, dtype=np.float64), lowest))
    shifted: Floats = (np.asarray(log_probs) - np.asarray(mean)) / scale
    return shifted


def auc(members: npt.ArrayLike, others: npt.ArrayLike) -> float:
    """Return the probability that a member's score is below another's, ties half.

    Args:
        members: (n,) scores of texts trained on.
        others: (m,) scores of texts never seen.
    """
    num_members, num_others = len(np.asarray(members)), len(np.asarray(others))
    assert num_members, "at least one member"
    assert num_others, "at least one other"
    ranks = stats.rankdata(np.concatenate([np.asarray(members), np.asarray(others)]))
    # Mann and Whitney: what the others' ranks exceed the least that they could be
    pairs = ranks[num_members:].sum() - num_others * (num_others + 1) / 2
    return float(pairs / (num_members * num_others))


def true_positive_rate(
    members: npt.ArrayLike, others: npt.ArrayLike, false_positive_rate: float = FALSE_POSITIVES
) -> float:
    """Return the largest share of members found at no more than a share of false alarms.

    With fewer than 1/rate others not a single false alarm is allowed. Arguments as `auc`.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    try:
        from sklearn.metrics import roc_curve  # heavy, and of an extra
    except ImportError as error:
        raise ConfigError(
            "TPR at a low FPR needs scikit-learn: pip install 'nulls-dist[eval]'"
        ) from error
    first, second = (np.asarray(each, dtype=np.float64) for each in (members, others))
    is_member = np.repeat([1.0, 0.0], [len(first), len(second)])
    false, true, _ = roc_curve(is_member, -np.concatenate([first, second]), drop_intermediate=False)
    return float(true[false <= false_positive_rate].max())


def priv_leak(unlearned_auc: float, retrained_auc: float) -> float:
    """Return the excess of membership over the retrained model, in percent of the latter's.

    Args:
        unlearned_auc: `auc` of the unlearned model (1: members are told perfectly).
        retrained_auc: of the model retrained without the members.

    Returns:
        -100 where members are still told perfectly, 0 as retrained, positive where they look more
        unseen than unseen texts. Infinite, or NaN if both are, where the retrained AUC is 1.
    """
    reversed_u, reversed_r = 1.0 - unlearned_auc, 1.0 - retrained_auc
    if reversed_r == 0.0:
        return math.nan if reversed_u == 0.0 else math.inf
    return 100.0 * (reversed_u - reversed_r) / reversed_r

"""Membership inference on documents: six attacks on one model, and PrivLeak between two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from nulls_dist.data.tokenizer import Tokenizer
from nulls_dist.eval.metrics import membership
from nulls_dist.eval.metrics.intervals import Rows, clustered_interval
from nulls_dist.eval.metrics.result import Interval, Metric, MetricResult
from nulls_dist.eval.recitation import Document, accuracies, text_of
from nulls_dist.eval.token_scores import TokenScores

AttackScores = Mapping[Metric, npt.NDArray[np.float64]]
"""Attack -> (n,) scores, one per document; high where it looks unseen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attacked:
    """Documents and what every attack says of them."""

    scores: AttackScores
    sources: npt.NDArray[np.uint64]
    """(n,) whose document each is."""


def attack(
    documents: Sequence[Document],
    scores: Sequence[TokenScores],
    tokenizer: Tokenizer,
    *,
    eos_id: int,
    reference: Sequence[TokenScores] | None = None,
) -> Attacked:
    """Score documents by every attack.

    Args:
        documents: n documents, at least one.
        scores: of the model under attack, in a state.
        tokenizer: gives the text whose compressed size counts.
        eos_id: ends a document.
        reference: of a model that saw none of the documents, such as one retrained without them;
            without it there is no reference attack.
    """
    values: dict[Metric, list[float]] = {
        membership.LOSS: [membership.loss_score(each.log_probs) for each in scores],
        membership.ZLIB: [
            membership.zlib_score(each.log_probs, text_of(tokenizer, document.tokens, eos_id))
            for document, each in zip(documents, scores, strict=True)
        ],
        membership.MIN_K: [membership.min_k_score(each.log_probs) for each in scores],
        membership.MIN_K_PLUS: [
            membership.min_k_score(
                membership.normalize_log_probs(each.log_probs, each.mean, each.variance)
            )
            for each in scores
        ],
    }
    if reference is not None:
        values[membership.REFERENCE] = [
            membership.reference_score(each.log_probs, other.log_probs)
            for each, other in zip(scores, reference, strict=True)
        ]
    return Attacked(
        scores={metric: np.array(found) for metric, found in values.items()},
        sources=np.array([document.source_id for document in documents], dtype=np.uint64),
    )


def membership_results(group: str, members: Attacked, others: Attacked) -> list[MetricResult]:
    """Return each attack's AUC and the share of members that the loss finds at few false alarms.

    Args:
        group: what the members are.
        members: documents to be forgotten.
        others: documents of the same kind that the model never saw.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    results = [
        MetricResult(
            metric=metric,
            group=group,
            value=membership.auc(inside, others.scores[metric]),
            n=len(inside),
            interval=_interval(metric, members, others),
            details={"n_others": len(others.sources)},
        )
        for metric, inside in members.scores.items()
    ]
    loss, elsewhere = members.scores[membership.LOSS], others.scores[membership.LOSS]
    rate = MetricResult(
        metric=membership.TRUE_POSITIVES,
        group=group,
        value=membership.true_positive_rate(loss, elsewhere),
        n=len(loss),
        details={"n_others": len(elsewhere)},
    )
    return [*results, rate]


def two_sided_results(
    group: str,
    members: Sequence[TokenScores],
    others: Sequence[TokenScores],
    unseen: Sequence[TokenScores],
) -> list[MetricResult]:
    """Tell members by how unusual their memorization is, on either side.

    Args:
        group: what the members are.
        members: scores of documents to be forgotten, at least one.
        others: of documents of the same kind that the model never saw.
        unseen: of still others like those: what is usual.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    usual = accuracies(unseen)
    inside, outside = (
        membership.two_sided_scores(accuracies(scores), usual) for scores in (members, others)
    )
    values = {
        membership.TWO_SIDED: membership.auc(inside, outside),
        membership.TWO_SIDED_TRUE_POSITIVES: membership.true_positive_rate(inside, outside),
    }
    details = {"n_others": len(others), "n_unseen": len(unseen), "usual": float(np.median(usual))}
    return [
        MetricResult(metric=metric, group=group, value=value, n=len(members), details=details)
        for metric, value in values.items()
    ]


def _interval(metric: Metric, members: Attacked, others: Attacked) -> Interval | None:
    def auc_of_rows(inside: Rows, outside: Rows) -> float:
        return membership.auc(members.scores[metric][inside], others.scores[metric][outside])

    return clustered_interval(auc_of_rows, members.sources, others.sources)


PRIV_LEAK_ATTACK: Final = membership.MIN_K
"""Whose AUCs PrivLeak compares, as in its publication."""


def priv_leak_result(
    group: str,
    unlearned: tuple[Attacked, Attacked],
    retrained: tuple[Attacked, Attacked],
) -> MetricResult:
    """Return PrivLeak with both AUCs, without which it cannot be read.

    Args:
        group: what the members are.
        unlearned: members and others under the unlearned model.
        retrained: the same documents under the model retrained without the members.
    """
    auc_u, auc_r = (
        membership.auc(members.scores[PRIV_LEAK_ATTACK], others.scores[PRIV_LEAK_ATTACK])
        for members, others in (unlearned, retrained)
    )
    return MetricResult(
        metric=membership.PRIV_LEAK,
        group=group,
        value=membership.priv_leak(auc_u, auc_r),
        n=len(unlearned[0].sources),
        details={"AUC_u": auc_u, "AUC_r": auc_r},
    )

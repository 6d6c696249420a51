"""All measures of unlearning, in reading order: docs/unlearning_metrics.md lists the same."""

from typing import Final

from nulls_dist.eval.metrics import (
    compression,
    forget_quality,
    likelihood,
    membership,
    memorization,
    outliers,
    overlap,
    relearning,
    truth_ratio,
)
from nulls_dist.eval.metrics.result import Metric

CATALOGUE: Final[tuple[Metric, ...]] = (
    likelihood.ANSWER_ACCURACY,
    likelihood.ANSWER_NLL,
    likelihood.PROBABILITY,
    likelihood.OPTION_PROBABILITY,
    likelihood.PREFERENCE,
    likelihood.PERPLEXITY,
    likelihood.MODEL_UTILITY,
    *truth_ratio.NULLS_RATIO.values(),
    *truth_ratio.TOFU_RATIO.values(),
    truth_ratio.TRUTH_PROBABILITY,
    truth_ratio.FORGET_SCORE,
    truth_ratio.RETAIN_SCORE,
    forget_quality.FORGET_QUALITY,
    memorization.EXACT_MEMORIZATION,
    memorization.MEMORIZATION_ACCURACY,
    memorization.EXTRACTION_STRENGTH,
    memorization.EXTRACTION_LIKELIHOOD,
    memorization.VERBATIM,
    memorization.VERBATIM_EXACT,
    overlap.ROUGE_F1,
    overlap.ROUGE_RECALL,
    outliers.ABOVE_THRESHOLD,
    outliers.ABOVE_QUARTILES,
    outliers.OUTSIDE_BAND,
    membership.LOSS,
    membership.REFERENCE,
    membership.ZLIB,
    membership.MIN_K,
    membership.MIN_K_PLUS,
    membership.TRUE_POSITIVES,
    membership.PRIV_LEAK,
    compression.COMPRESSION_RATIO,
    compression.MEMORIZED_SHARE,
    relearning.RELEARNING_STEPS,
    relearning.RELEARNING_AREA,
)

"""ROUGE of generated text, by the rouge-score package (extra `eval`).

Its tokenizer keeps a-z and 0-9 only: text in other scripts scores 0. Whether words are stemmed, and
whether recall or F1 is meant, changes the number; publications differ, so both are in the name.
"""

from dataclasses import dataclass
from typing import Any, Final

from nulls_dist.errors import ConfigError
from nulls_dist.eval.metrics.result import Direction, Metric

ROUGE_F1: Final = Metric(
    name="ROUGE-L",
    variant="F1, no stemmer (verbmem)",
    formula="mean_i 2PR/(P+R), P = LCS/words generated, R = LCS/words of the truth",
    direction=Direction.REMEMBERED,
    source="MUSE, arXiv 2407.06460; rouge-score",
)
ROUGE_RECALL: Final = Metric(
    name="ROUGE-L",
    variant="recall, stemmer",
    formula="mean_i LCS/words of the truth; blind to length: repetition is not punished",
    direction=Direction.REMEMBERED,
    source="TOFU, arXiv 2401.06121; rouge-score",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rouge:
    """ROUGE-L of one text, each from 0 to 1."""

    precision: float
    recall: float
    f1: float


def rouge_l(truth: str, generated: str, *, stemmer: bool) -> Rouge:
    """Return ROUGE-L, over the longest common subsequence of words.

    Args:
        truth: reference text.
        generated: what the model wrote; an empty one scores 0.
        stemmer: whether words are reduced to their stems (Porter's, English).

    Raises:
        ConfigError: rouge-score is not installed.
    """
    score: Any = _scorer(stemmer).score(truth, generated)["rougeL"]
    return Rouge(
        precision=float(score.precision), recall=float(score.recall), f1=float(score.fmeasure)
    )


def _scorer(stemmer: bool) -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer  # heavy, and of an extra
    except ImportError as error:
        raise ConfigError("ROUGE needs rouge-score: pip install 'nulls-dist[eval]'") from error
    return RougeScorer(["rougeL"], use_stemmer=stemmer)

"""Log-likelihood of the ends of texts, in batches of a given number of tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

BATCH_TOKENS: Final = 4096
"""Logits of a batch take 4 bytes times tokens times vocabulary: 0.8 GB for 49,152 words."""


class AnsweringModel(Protocol):
    """What is asked: a checkpoint or a release."""

    def logits(self, texts: Sequence[Sequence[int]], source_ids: Sequence[int]) -> list[Tensor]:
        """Return next-token logits of several texts, each served by one source's sinks.

        Args:
            texts: tokens of each text, at least one; they do not see each other.
            source_ids: whose sinks serve each text; NO_SOURCE for the backbone alone.

        Returns:
            (tokens, vocab_size) per text, on the CPU.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """A text whose last tokens are scored."""

    tokens: Sequence[int]
    num_scored: int
    """Fewer than tokens: the first token of a text has nothing before it."""
    source_id: int
    """Whose sinks serve the text; NO_SOURCE for the backbone alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndingScore:
    """How likely a model finds the end of a text."""

    log_likelihood: float
    """Nats, the sum over the scored tokens."""
    is_greedy: bool
    """Whether each of them is the model's first choice."""


@torch.no_grad()
def score_endings(
    model: AnsweringModel, endings: Sequence[Ending], *, batch_tokens: int, unit: str
) -> list[EndingScore]:
    """Score every text.

    Args:
        model: the model.
        endings: n texts that fit the model's context, but for their last token.
        batch_tokens: at most how many tokens are computed at once; a longer text goes alone.
        unit: what one text is, for the progress bar.

    Returns:
        n scores, in order.
    """
    scores: dict[int, EndingScore] = {}
    with tqdm(total=len(endings), desc="score", unit=f" {unit}", disable=None, leave=False) as bar:
        for batch in _batches(endings, batch_tokens):
            logits = model.logits(
                [endings[number].tokens[:-1] for number in batch],
                [endings[number].source_id for number in batch],
            )
            for number, of_text in zip(batch, logits, strict=True):
                scores[number] = _score(of_text, endings[number])
            bar.update(len(batch))
    return [scores[number] for number in range(len(endings))]


def _batches(endings: Sequence[Ending], batch_tokens: int) -> Iterator[list[int]]:
    """Yield places of texts of similar length, the longest first, so that memory fails early."""
    batch: list[int] = []
    num_tokens = 0
    for number in sorted(range(len(endings)), key=lambda place: -len(endings[place].tokens)):
        length = len(endings[number].tokens) - 1
        if batch and num_tokens + length > batch_tokens:
            yield batch
            batch, num_tokens = [], 0
        batch.append(number)
        num_tokens += length
    if batch:
        yield batch


def _score(logits: Tensor, ending: Ending) -> EndingScore:
    assert 0 < ending.num_scored < len(ending.tokens), "scored tokens have one before them"
    targets = torch.tensor(ending.tokens[-ending.num_scored :])
    logits = logits[-ending.num_scored :].float()
    likelihoods = torch.log_softmax(logits, -1).gather(1, targets[:, None])
    return EndingScore(
        log_likelihood=float(likelihoods.sum(dtype=torch.float64)),
        is_greedy=bool((logits.argmax(-1) == targets).all()),
    )

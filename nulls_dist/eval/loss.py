"""Loss on the documents of a corpus, with each document's own sinks, others' or none."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from nulls_dist import hashing
from nulls_dist.data.corpus import Corpus
from nulls_dist.eval.states import State
from nulls_dist.eval.token_scores import LanguageModel, Passage, score_passages
from nulls_dist.hashing import U64Array

_SEED: Final = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Losses:
    """Loss of one model on some documents."""

    num_documents: int
    num_targets: int
    """Tokens that were predicted: all but the first of each document."""
    loss_nats: Mapping[State, float]
    """Mean over the targets."""

    @property
    def perplexity(self) -> dict[State, float]:
        """Return the exponential of the loss."""
        return {state: math.exp(loss) for state, loss in self.loss_nats.items()}


def choose_documents(corpus: Corpus, source_ids: U64Array, limit: int) -> list[int]:
    """Return the numbers of documents of some sources, at most a given number of them.

    A hash of source and document draws them, so the same ones are drawn every time.

    Args:
        corpus: where they are; a document of one token has no target and is left out.
        source_ids: of the documents.
        limit: at most how many.
    """
    (numbers,) = np.nonzero(np.isin(corpus.source_ids, source_ids) & (corpus.lengths > 1))
    keys = hashing.key(corpus.source_ids[numbers], seed=_SEED, domain=hashing.Domain.CHOICE)
    drawn = hashing.draw(keys, corpus.doc_indices[numbers].astype(np.uint64))
    chosen: list[int] = sorted(numbers[np.argsort(drawn, kind="stable")[:limit]].tolist())
    return chosen


def measure_losses(
    model: LanguageModel,
    corpus: Corpus,
    documents: Sequence[int],
    donors_of: Mapping[State, Mapping[int, int]],
    *,
    context_length: int,
) -> Losses:
    """Measure the mean loss per token in each state.

    A document longer than the context is cut into pieces whose targets follow one another, so that
    every token but the first is predicted once.

    Args:
        model: the model.
        corpus: tokenized as the model's.
        documents: numbers of documents of two tokens or more, at least one.
        donors_of: state -> source -> whose sinks serve it.
        context_length: tokens that the model sees at once.
    """
    pieces = [
        (int(corpus.source_ids[number]), tokens[begin : begin + context_length + 1])
        for number in documents
        for tokens in [corpus.tokens(number).tolist()]
        for begin in range(0, len(tokens) - 1, context_length)
    ]
    num_targets = sum(len(tokens) - 1 for _, tokens in pieces)
    losses = {}
    for state, donor_of in donors_of.items():
        passages = [
            Passage(tokens=tokens, source_id=donor_of[source_id]) for source_id, tokens in pieces
        ]
        scores = score_passages(model, passages, unit="pieces")
        losses[state] = -math.fsum(score.log_likelihood for score in scores) / num_targets
    return Losses(num_documents=len(documents), num_targets=num_targets, loss_nats=losses)


def format_losses(title: str, losses: Losses) -> str:
    """Return a table for a terminal."""
    columns = losses.loss_nats.items()
    lines = [
        f"{title}: {losses.num_documents} documents, {losses.num_targets} tokens",
        " " * 14 + "".join(f"{state:>10}" for state, _ in columns),
        "nats per token" + "".join(f"{loss:>10.4f}" for _, loss in columns),
        "perplexity    " + "".join(f"{math.exp(loss):>10.5g}" for _, loss in columns),
    ]
    return "\n".join(lines)

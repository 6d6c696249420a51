"""Several models as one: models of shards, each trained on sources that the others never saw."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nulls_dist.errors import InputError
from nulls_dist.eval.token_scores import LanguageModel


class Ensemble:
    """The mean of the models' next-token probabilities; costs a forward pass of each.

    To delete a source is to put another model in one place: of its shard without it. Source: SISA
    (arXiv 1912.03817); unverified: there labels are voted for, the mean is the usual choice for
    language models.
    """

    def __init__(self, models: Sequence[LanguageModel]) -> None:
        """Join models of the same tokens.

        Raises:
            InputError: there is none.
        """
        if not models:
            raise InputError("an ensemble of no models says nothing; give one model per shard")
        self._models = tuple(models)

    def logits(self, texts: Sequence[Sequence[int]], source_ids: Sequence[int]) -> list[Tensor]:
        """Return log-probabilities of the next token, (tokens, vocab_size) per text, on the CPU.

        Args:
            texts: tokens of each.
            source_ids: whose sinks serve each text, in every model.
        """
        said = [model.logits(texts, source_ids) for model in self._models]
        return [_log_mean(torch.stack(of_text)) for of_text in zip(*said, strict=True)]


def _log_mean(logits: Tensor) -> Tensor:
    """(models, tokens, V) -> (tokens, V) logarithms of mean probabilities."""
    log_probs = torch.log_softmax(logits.float(), -1)
    return torch.logsumexp(log_probs, 0) - math.log(len(logits))

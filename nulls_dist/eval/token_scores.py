"""What a model thinks of every token of a text, given the true tokens before it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

Floats = npt.NDArray[np.float64]
Tokens = npt.NDArray[np.int64]

BATCH_TOKENS: Final = 4096
"""Logits of a batch take 4 bytes times tokens times vocabulary: 0.8 GB for 49,152 words."""


class LanguageModel(Protocol):
    """What is asked: `InferenceModel`, or anything that gives logits as it does."""

    def logits(self, texts: Sequence[Sequence[int]], source_ids: Sequence[int]) -> list[Tensor]:
        """Return next-token logits, (tokens, vocab_size) per text, on the CPU."""
        ...


@runtime_checkable
class PromptedModel(Protocol):
    """A language model that is also told where the prompts end, since it treats them otherwise."""

    def logits_after(
        self,
        texts: Sequence[Sequence[int]],
        source_ids: Sequence[int],
        prompt_lengths: Sequence[int],
    ) -> list[Tensor]:
        """Return next-token logits as `LanguageModel`; what stands behind a prompt is an answer."""
        ...


def ask(
    model: LanguageModel,
    texts: Sequence[Sequence[int]],
    source_ids: Sequence[int],
    prompt_lengths: Sequence[int],
) -> list[Tensor]:
    """Return next-token logits, (tokens, vocab_size) per text, on the CPU.

    Args:
        model: is told of the prompts if it is a `PromptedModel`.
        texts: prompts with what follows them.
        source_ids: whose sinks serve each.
        prompt_lengths: tokens of each text's prompt.
    """
    if isinstance(model, PromptedModel):
        return model.logits_after(texts, source_ids, prompt_lengths)
    return model.logits(texts, source_ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """Tokens of which those from a place on are scored."""

    tokens: Sequence[int]
    start: int = 1
    """Place of the first scored token, at least 1: nothing stands before the very first.

    What stands before it is the prompt.
    """
    source_id: int
    """Whose sinks serve it; NO_SOURCE for the backbone alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenScores:
    """n scored tokens of one passage."""

    tokens: Tokens
    """(n,) the true ones."""
    log_probs: Floats
    """(n,) nats."""
    choices: Tokens
    """(n,) the model's likeliest."""
    mean: Floats
    """(n,) of log p over the vocabulary, under p."""
    variance: Floats
    """(n,) likewise."""

    @property
    def log_likelihood(self) -> float:
        """Nats, the sum over the scored tokens."""
        return float(self.log_probs.sum())

    @property
    def nll(self) -> float:
        """Nats per token."""
        return -float(self.log_probs.mean())

    @property
    def is_greedy(self) -> bool:
        """Whether greedy decoding would write exactly these tokens."""
        return bool((self.choices == self.tokens).all())


def score_passages(
    model: LanguageModel,
    passages: Sequence[Passage],
    *,
    batch_tokens: int = BATCH_TOKENS,
    unit: str = "texts",
) -> list[TokenScores]:
    """Score every passage.

    Args:
        model: the model.
        passages: each with a scored token, and but for its last one no longer than the context.
        batch_tokens: at most how many tokens are computed at once; a longer passage goes alone.
        unit: what they are, for the progress bar.

    Returns:
        One entry per passage, in order.
    """
    scores = []
    with tqdm(total=len(passages), desc="score", unit=f" {unit}", disable=None, leave=False) as bar:
        for batch in batches_of(passages, batch_tokens):
            scores += score_batch(model, batch)
            bar.update(len(batch))
    return scores


def score_batch(model: LanguageModel, batch: Sequence[Passage]) -> list[TokenScores]:
    """Score passages in one forward pass."""
    logits = ask(
        model,
        [passage.tokens[:-1] for passage in batch],
        [passage.source_id for passage in batch],
        [passage.start for passage in batch],
    )
    return [_score(*pair) for pair in zip(batch, logits, strict=True)]


def batches_of(
    passages: Sequence[Passage], batch_tokens: int = BATCH_TOKENS
) -> Iterator[Sequence[Passage]]:
    """Yield runs of passages that are computed at once; a longer one than fits goes alone."""
    begin, num_tokens = 0, 0
    for place, passage in enumerate(passages):
        length = len(passage.tokens) - 1
        if place > begin and num_tokens + length > batch_tokens:
            yield passages[begin:place]
            begin, num_tokens = place, 0
        num_tokens += length
    if passages:
        yield passages[begin:]


def _score(passage: Passage, logits: Tensor) -> TokenScores:
    assert 1 <= passage.start < len(passage.tokens), "a scored token has one before it"
    tokens = torch.tensor(passage.tokens[passage.start :])
    log_p = torch.log_softmax(logits[passage.start - 1 :].float(), -1)
    p = log_p.exp()
    mean = (p * log_p).sum(-1)
    variance = (p * (log_p - mean[:, None]) ** 2).sum(-1)
    return TokenScores(
        tokens=tokens.numpy(),
        log_probs=_float64(log_p.gather(-1, tokens[:, None])[:, 0]),
        choices=log_p.argmax(-1).numpy(),
        mean=_float64(mean),
        variance=_float64(variance),
    )


def _float64(values: Tensor) -> Floats:
    array: Floats = values.double().numpy()
    return array

"""Batches of examples, padded on the right, and the order in which they come."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import torch
from torch import Tensor

from nulls_dist.posthoc.contract import Example, Split
from nulls_dist.posthoc.replicas import ALONE, Replicas

T = TypeVar("T")

IGNORED: Final = -100
"""Label of a token that does not count, as in torch and transformers."""

_PADDING: Final = 0
"""Any token: what stands behind a text does not change a causal model's logits of the text."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Examples of the same split, of which this process computes B."""

    examples: tuple[Example, ...]
    """Of all processes together."""
    split: Split
    input_ids: Tensor
    """(B, T) int64."""
    labels: Tensor
    """(B, T) int64: the same tokens where they count, IGNORED elsewhere; not shifted."""
    token_share: float = 1.0
    """What a mean over the tokens of B that count is multiplied by: then the mean over processes is
    that over the tokens of all examples."""
    text_share: float = 1.0
    """The same of a mean over examples."""

    @property
    def num_tokens(self) -> int:
        """Tokens without padding, of all processes together."""
        return sum(len(example.tokens) for example in self.examples)


def collate(
    examples: Sequence[Example],
    split: Split,
    device: torch.device,
    replicas: Replicas = ALONE,
) -> Batch:
    """Make a batch of at least one example on a device.

    Args:
        examples: of all processes together.
        split: whose they are.
        device: of this process.
        replicas: who computes them. One that has none computes the first, which counts for nothing.
    """
    own = replicas.own(examples)
    computed = own or examples[:1]
    input_ids = pad([example.tokens for example in computed])
    labels = torch.full_like(input_ids, IGNORED)
    for row, example in enumerate(computed):
        counted = slice(example.start, len(example.tokens))
        labels[row, counted] = input_ids[row, counted]
    return Batch(
        examples=tuple(examples),
        split=split,
        input_ids=input_ids.to(device),
        labels=labels.to(device),
        token_share=replicas.size * _num_counted(own) / _num_counted(examples),
        text_share=replicas.size * len(own) / len(examples),
    )


def _num_counted(examples: Sequence[Example]) -> int:
    return sum(len(example.tokens) - example.start for example in examples)


def pad(texts: Sequence[Sequence[int]]) -> Tensor:
    """Return (B, T) int64 tokens on the CPU, padded on the right."""
    width = max(map(len, texts))
    return torch.tensor([[*text, *[_PADDING] * (width - len(text))] for text in texts])


def shuffled(
    examples: Sequence[T], batch_size: int, draws: np.random.Generator
) -> Iterator[Sequence[T]]:
    """Yield batches for ever: pass after pass in new orders."""
    while True:
        yield from shuffled_pass(examples, batch_size, draws)


def shuffled_pass(
    examples: Sequence[T], batch_size: int, draws: np.random.Generator
) -> Iterator[Sequence[T]]:
    """Yield batches of one pass in a new order; the last may be smaller."""
    order = draws.permutation(len(examples)).tolist()
    for begin in range(0, len(order), batch_size):
        yield [examples[place] for place in order[begin : begin + batch_size]]


def sample(examples: Sequence[T], count: int, draws: np.random.Generator) -> Sequence[T]:
    """Draw examples with replacement."""
    return [examples[place] for place in draws.integers(len(examples), size=count).tolist()]

"""Batches of examples, padded on the right, and the order in which they come."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import torch
from torch import Tensor

from nulls_dist.posthoc.contract import Example, Split

T = TypeVar("T")

IGNORED: Final = -100
"""Label of a token that does not count, as in torch and transformers."""

_PADDING: Final = 0
"""Any token: what stands behind a text does not change a causal model's logits of the text."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B examples of the same split."""

    examples: tuple[Example, ...]
    split: Split
    input_ids: Tensor
    """(B, T) int64."""
    labels: Tensor
    """(B, T) int64: the same tokens where they count, IGNORED elsewhere; not shifted."""

    @property
    def num_tokens(self) -> int:
        """Tokens without padding."""
        return sum(len(example.tokens) for example in self.examples)


def collate(examples: Sequence[Example], split: Split, device: torch.device) -> Batch:
    """Make a batch of at least one example on a device."""
    input_ids = pad([example.tokens for example in examples])
    labels = torch.full_like(input_ids, IGNORED)
    for row, example in enumerate(examples):
        counted = slice(example.start, len(example.tokens))
        labels[row, counted] = input_ids[row, counted]
    return Batch(
        examples=tuple(examples),
        split=split,
        input_ids=input_ids.to(device),
        labels=labels.to(device),
    )


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

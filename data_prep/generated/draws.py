"""Random draws that are the same on every machine and in every release of Python.

A stream is named by integers (seed, purpose, article, rendering) instead of being a continuation
of another stream, so no draw depends on how many others were made before it. Only
`random.Random(int)` and `random()` are used: Python promises to keep their sequence, which it does
not for `choice`, `sample` and `shuffle`.
"""

import random
from collections.abc import Sequence
from enum import IntEnum
from typing import TypeVar

T = TypeVar("T")

_KEY_BITS = 64


class Purpose(IntEnum):
    """What a stream decides."""

    WORLD = 0
    """Names, rules and which article mentions which shared entity."""
    ARTICLE = 1
    """The facts of one article and their phrasings."""
    DOCUMENT = 2
    """Phrasing and order of the sentences of one rendering."""


class Draws:
    """One stream of uniform draws."""

    def __init__(self, seed: int, purpose: Purpose, article: int = 0, rendering: int = 0) -> None:
        """Start the stream named by four integers, each from 0 to 2**64 - 1."""
        key = 0
        for part in (seed, purpose, article, rendering):
            assert 0 <= part < 1 << _KEY_BITS, f"{part} does not fit in {_KEY_BITS} bits"
            key = key << _KEY_BITS | part
        self._random = random.Random(key)

    def below(self, bound: int) -> int:
        """Return an integer from 0 to `bound` - 1."""
        return int(self._random.random() * bound)

    def choice(self, options: Sequence[T]) -> T:
        """Return one of `options`."""
        return options[self.below(len(options))]

    def sample(self, options: Sequence[T], count: int) -> tuple[T, ...]:
        """Return `count` different elements of `options` in random order."""
        pool = list(options)
        for index in range(count):
            other = index + self.below(len(pool) - index)
            pool[index], pool[other] = pool[other], pool[index]
        return tuple(pool[:count])

    def shuffled(self, options: Sequence[T]) -> tuple[T, ...]:
        """Return all of `options` in random order."""
        return self.sample(options, len(options))

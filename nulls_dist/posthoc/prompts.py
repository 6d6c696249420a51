"""Prompts of texts, for methods that ask instead of reading."""

from collections.abc import Sequence

from nulls_dist.errors import ConfigError
from nulls_dist.posthoc.contract import Example


def prompts_of(examples: Sequence[Example], *, length: int) -> tuple[tuple[int, ...], ...]:
    """Return what brings texts out: the prompt of an answer, the pieces of a document.

    A document's pieces follow one another and each has a continuation in it, so that together they
    ask for all of it.

    Args:
        examples: an example that counts from its second token is taken for a document.
        length: tokens of a piece, at least 1; at a document's end there may be fewer.

    Raises:
        ConfigError: the length is below 1.
    """
    if length < 1:
        raise ConfigError(f"length ({length}) of a piece must be at least 1 token")
    return tuple(prompt for example in examples for prompt in _prompts(example, length))


def _prompts(example: Example, length: int) -> list[tuple[int, ...]]:
    if example.start > 1:
        return [example.tokens[: example.start]]
    last = len(example.tokens) - 1  # something must stand behind a piece
    return [example.tokens[at : min(at + length, last)] for at in range(0, last, length)]

"""Prompts of texts, for methods that ask instead of reading."""

from collections.abc import Sequence

from nulls_dist.errors import ConfigError
from nulls_dist.posthoc.contract import Example, Request


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
    return tuple(example.tokens[: example.start] for example in pairs_of(examples, length=length))


def pairs_of(examples: Sequence[Example], *, length: int) -> tuple[Example, ...]:
    """Return texts as prompts with what follows: each piece of a document with the next one.

    Answers are left with their prompts.

    Args:
        examples: as `prompts_of` takes them, and errors likewise.
        length: of both pieces.
    """
    if length < 1:
        raise ConfigError(f"length ({length}) of a piece must be at least 1 token")
    return tuple(pair for example in examples for pair in _pairs(example, length))


def _pairs(example: Example, length: int) -> list[Example]:
    if example.start > 1:
        return [example]
    last = len(example.tokens) - 1  # something must stand behind a piece
    return [
        Example(tokens=example.tokens[at : at + 2 * length], start=min(length, last - at))
        for at in range(0, last, length)
    ]


def request_of(
    forget: Sequence[Example],
    retain: Sequence[Example],
    *,
    asks: bool,
    length: int,
    source_ids: Sequence[int] = (),
) -> Request:
    """Return a request that every method finds its own in.

    Args:
        forget: documents, or prompts with answers.
        retain: likewise.
        asks: whether the text to forget is given in pairs, for methods that ask.
        length: tokens of the prompts that documents are cut into.
        source_ids: of the sources to forget.

    Raises:
        ConfigError: the length is below 1.
    """
    return Request(
        forget_text=pairs_of(forget, length=length) if asks else tuple(forget),
        forget_prompts=prompts_of(forget, length=length),
        retain_text=tuple(retain),
        retain_prompts=prompts_of(retain, length=length),
        source_ids=tuple(source_ids),
    )

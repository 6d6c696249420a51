"""Adversarial compression: how short a prompt makes the model write a text?

A text is memorized if the shortest prompt that greedily elicits it, word for word, has fewer tokens
than the text. This file looks for the length, given a way to look for a prompt of one length.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from nulls_dist.eval.metrics.result import Direction, Metric

COMPRESSION_RATIO: Final = Metric(
    name="adversarial compression ratio",
    variant="mean; a text without a prompt counts with the longest that was tried, an upper bound",
    formula="mean_i tokens of the text / tokens of the shortest prompt that elicits it",
    direction=Direction.REMEMBERED,
    highest=float("inf"),
    source="ACR, arXiv 2404.15146",
)
MEMORIZED_SHARE: Final = Metric(
    name="adversarial compression",
    variant="share memorized",
    formula="mean_i 1[ACR_i > 1]",
    direction=Direction.REMEMBERED,
    source="ACR, arXiv 2404.15146",
)

Elicit = Callable[[int, int], Sequence[int] | None]
"""Prompt length and optimizer steps -> a prompt of that length that elicits the text, or None."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchPlan:
    """Which lengths are tried, and how hard."""

    first_length: int = 5
    stride: int = 5
    """Added after a failure; a success is followed by one token less."""
    longest_per_token: int = 5
    """The longest prompt is this many times the text, and at least `first_length`."""
    num_steps: int = 200
    """Of the search at the first length."""
    growth: float = 1.2
    """Of the number of steps after each failure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compression:
    """What a search found."""

    num_target_tokens: int
    prompt: tuple[int, ...] | None
    """The shortest that was found; None: censored, none up to the longest length was found."""
    tried: tuple[int, ...]
    """Lengths in the order in which they were tried."""

    @property
    def ratio(self) -> float:
        """Tokens of the text per token of the prompt; censored: at most this."""
        length = max(self.tried) if self.prompt is None else len(self.prompt)
        return self.num_target_tokens / length

    @property
    def is_memorized(self) -> bool:
        """Whether the prompt is shorter than the text."""
        return self.prompt is not None and self.ratio > 1


def shortest_prompt(num_target_tokens: int, elicit: Elicit, plan: SearchPlan) -> Compression:
    """Search for the shortest prompt that elicits a text.

    From `first_length` up in strides until a length succeeds, then down one by one until one fails
    or is known to fail. The published search stops before its cap; here the cap itself is tried,
    since a shortest prompt may lie between the last stride and it. A failure shows only that the
    search found nothing.

    Args:
        num_target_tokens: length of the text.
        elicit: looks for a prompt of a length.
        plan: lengths and effort.

    Source: MiniPrompt, arXiv 2404.15146, algorithm 1.
    """
    cap = max(plan.longest_per_token * num_target_tokens, plan.first_length)
    length, failed = plan.first_length, 0
    num_steps = plan.num_steps
    best: tuple[int, ...] | None = None
    tried: list[int] = []
    while failed < length <= cap:
        tried.append(length)
        prompt = elicit(length, num_steps)
        if prompt is not None:
            assert len(prompt) == length, "a prompt of the length that was asked for"
            best = tuple(prompt)
            length -= 1
            continue
        if best is not None:
            break
        failed = length
        num_steps = round(num_steps * plan.growth)
        length = length + plan.stride if length == cap else min(length + plan.stride, cap)
    return Compression(num_target_tokens=num_target_tokens, prompt=best, tried=tuple(tried))

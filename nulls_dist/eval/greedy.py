"""Continuations of many texts at once, greedy or not, and of every prefix of a text.

Every step is a forward pass over all tokens before it, without a cache of keys and values: for
small models and short texts.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from tqdm import tqdm

from nulls_dist.eval.token_scores import LanguageModel, Passage, ask, batches_of, score_passages


def continue_greedily(
    model: LanguageModel, prompts: Sequence[Passage], num_tokens: Sequence[int]
) -> list[list[int]]:
    """Return the likeliest next tokens of each prompt; the end of a document stops nothing.

    Args:
        model: the model.
        prompts: of at least one token each; where their scored part starts does not matter.
        num_tokens: how many tokens each prompt is continued by.
    """
    return continue_texts(model, prompts, num_tokens, lambda logits: int(logits.argmax()))


def continue_texts(
    model: LanguageModel,
    prompts: Sequence[Passage],
    num_tokens: Sequence[int],
    choose: Callable[[Tensor], int],
) -> list[list[int]]:
    """Return what follows each prompt; the end of a document stops nothing.

    Args:
        model: the model.
        prompts: of at least one token each; where their scored part starts does not matter.
        num_tokens: how many tokens each prompt is continued by.
        choose: takes the next token by its logits, (vocab_size,). It is asked for the first token
            of every prompt in order, then for the second ones.
    """
    written: list[list[int]] = [[] for _ in prompts]
    for step in tqdm(range(max(num_tokens, default=0)), "tokens", disable=None, leave=False):
        unfinished = [place for place, wanted in enumerate(num_tokens) if step < wanted]
        grown = [
            replace(
                prompts[place],
                tokens=[*prompts[place].tokens, *written[place]],
                start=len(prompts[place].tokens),
            )
            for place in unfinished
        ]
        chosen = [
            choose(logits[-1])
            for batch in batches_of(grown)
            for logits in ask(
                model,
                [passage.tokens for passage in batch],
                [passage.source_id for passage in batch],
                [passage.start for passage in batch],
            )
        ]
        for place, token in zip(unfinished, chosen, strict=True):
            written[place].append(token)
    return written


def sampled(
    temperature: float, draws: torch.Generator, *, top_p: float = 1.0
) -> Callable[[Tensor], int]:
    """Return a choice of tokens by their probabilities.

    Args:
        temperature: above 0; logits are divided by it.
        draws: on the CPU; in the same state the same calls choose the same.
        top_p: above 0; only the likeliest tokens that together have this probability are drawn
            (nucleus sampling, arXiv 1904.09751), at least the likeliest.
    """

    def choose(logits: Tensor) -> int:
        weights = torch.softmax(logits.float() / temperature, -1)
        if top_p < 1:
            ordered, tokens = weights.sort(descending=True)
            before = ordered.cumsum(-1) - ordered
            weights = weights.index_fill(-1, tokens[before >= top_p], 0.0)
        return int(torch.multinomial(weights, 1, generator=draws))

    return choose


def continue_prefixes(
    model: LanguageModel, texts: Sequence[Passage]
) -> list[dict[int, Sequence[int]]]:
    """Continue every prefix of every text greedily to the text's own length.

    After a prefix the model writes the truth up to its first wrong choice, so prefixes that first
    err at the same place go on alike: one continuation per wrong choice is decoded, not one per
    prefix.

    Args:
        model: the model.
        texts: T tokens each, at least two.

    Returns:
        Per text, for t from 1 to T - 1: the T - t tokens after the first t.
    """
    whole = [replace(text, start=1) for text in texts]
    errors = []  # text, place of the wrong choice, the choice
    for number, scores in enumerate(score_passages(model, whole)):
        wrong = (scores.choices != scores.tokens).nonzero()[0]
        errors += [(number, int(place) + 1, int(scores.choices[place])) for place in wrong]
    branches = [
        replace(texts[number], tokens=[*texts[number].tokens[:place], choice])
        for number, place, choice in errors
    ]
    rest = [len(texts[number].tokens) - place - 1 for number, place, _ in errors]
    written = continue_greedily(model, branches, rest)
    after_error = {
        (number, place): [choice, *tail]
        for (number, place, choice), tail in zip(errors, written, strict=True)
    }
    return [_assemble(text.tokens, number, after_error) for number, text in enumerate(texts)]


def _assemble(
    text: Sequence[int], number: int, after_error: dict[tuple[int, int], list[int]]
) -> dict[int, Sequence[int]]:
    """Join the truth up to the next error with what follows the error, for every prefix."""
    continuations: dict[int, Sequence[int]] = {}
    following: list[int] = []
    for place in range(len(text) - 1, 0, -1):
        following = after_error.get((number, place)) or [text[place], *following]
        continuations[place] = following
    return continuations

"""Choices of the next token, and models that are told where prompts end."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.eval.greedy import continue_greedily, sampled
from nulls_dist.eval.token_scores import Passage, score_passages
from nulls_dist.sources import NO_SOURCE

PROBABILITIES = torch.tensor([0.1, 0.5, 0.15, 0.25])


def share_of_each(temperature, top_p, count=4000):
    choose = sampled(temperature, torch.Generator().manual_seed(0), top_p=top_p)
    drawn = [choose(PROBABILITIES.log()) for _ in range(count)]
    return [drawn.count(token) / count for token in range(4)]


@pytest.mark.parametrize(
    ("temperature", "top_p", "expected"),
    [
        (1.0, 1.0, [0.1, 0.5, 0.15, 0.25]),
        (1.0, 0.75, [0, 2 / 3, 0, 1 / 3]),
        (1.0, 0.76, [0, 0.5 / 0.9, 0.15 / 0.9, 0.25 / 0.9]),
        (1.0, 1e-9, [0, 1, 0, 0]),
        (0.5, 1.0, [0.01 / 0.345, 0.25 / 0.345, 0.0225 / 0.345, 0.0625 / 0.345]),
        (0.5, 0.9, [0, 0.8, 0, 0.2]),
    ],
)
def test_tokens_are_drawn_of_the_nucleus(temperature, top_p, expected):
    assert share_of_each(temperature, top_p) == pytest.approx(expected, abs=0.03)


@given(st.integers(0, 2**40))
def test_the_same_draws_choose_the_same(seed):
    chosen = []
    for _ in range(2):
        choose = sampled(1.0, torch.Generator().manual_seed(seed), top_p=0.9)
        chosen.append([choose(PROBABILITIES.log()) for _ in range(5)])
    assert chosen[0] == chosen[1]


class Listening:
    """Says every token's successor, and keeps what it is told of prompts."""

    def __init__(self):
        self.told = []

    def logits(self, texts, source_ids):
        raise AssertionError("it was not told where the prompts end")

    def logits_after(self, texts, source_ids, prompt_lengths):
        self.told += [
            (len(text), length) for text, length in zip(texts, prompt_lengths, strict=True)
        ]
        return [torch.eye(9)[torch.tensor(text) + 1] for text in texts]


def test_decoding_tells_where_the_prompt_ends():
    model = Listening()
    prompts = [Passage(tokens=(1, 2, 3), source_id=NO_SOURCE), Passage(tokens=(5,), source_id=0)]
    assert continue_greedily(model, prompts, [2, 1]) == [[4, 5], [6]]
    assert model.told == [(3, 3), (1, 1), (4, 3)]


def test_scoring_tells_where_the_prompt_ends():
    model = Listening()
    score_passages(model, [Passage(tokens=(1, 2, 3, 4), start=2, source_id=NO_SOURCE)])
    assert model.told == [(3, 2)]

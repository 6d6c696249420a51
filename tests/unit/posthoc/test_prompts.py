"""Prompts of texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.errors import ConfigError, InputError
from nulls_dist.posthoc.contract import Example, Request
from nulls_dist.posthoc.prompts import prompts_of


def test_an_answer_has_its_prompt_and_a_document_its_pieces():
    answer = Example(tokens=(1, 2, 3, 4), start=3)
    document = Example(tokens=(5, 6, 7, 8, 9))
    assert prompts_of([answer, document], length=3) == ((1, 2, 3), (5, 6, 7), (8,))


@given(st.lists(st.integers(0, 9), min_size=2, max_size=30), st.integers(1, 40))
def test_pieces_are_all_of_a_document_but_its_last_token(tokens, length):
    pieces = prompts_of([Example(tokens=tuple(tokens))], length=length)
    assert [token for piece in pieces for token in piece] == tokens[:-1]
    assert all(1 <= len(piece) <= length for piece in pieces)


def test_pieces_have_a_length():
    with pytest.raises(ConfigError, match=r"length \(0\) of a piece"):
        prompts_of([], length=0)


@pytest.mark.parametrize("kind", ["forget_prompts", "retain_prompts"])
def test_a_prompt_has_a_token(kind):
    with pytest.raises(InputError, match="a prompt has no token"):
        Request(**{kind: ((1,), ())})

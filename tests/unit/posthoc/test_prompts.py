"""Prompts of texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.errors import ConfigError, InputError
from nulls_dist.posthoc.contract import Example, Request
from nulls_dist.posthoc.prompts import pairs_of, prompts_of, request_of


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


@given(st.lists(st.integers(0, 9), min_size=2, max_size=30), st.integers(1, 12))
def test_pairs_ask_for_every_token_of_a_document(tokens, length):
    document = Example(tokens=tuple(tokens))
    pairs = pairs_of([document], length=length)
    assert tuple(each.tokens[: each.start] for each in pairs) == prompts_of(
        [document], length=length
    )
    places = range(0, len(tokens) - 1, length)
    for place, pair in zip(places, pairs, strict=True):
        assert list(pair.tokens) == tokens[place : place + 2 * length]


@pytest.mark.parametrize("asks", [False, True])
def test_a_request_has_documents_or_their_pairs(asks):
    document, answer = Example(tokens=(5, 6, 7, 8)), Example(tokens=(1, 2, 3), start=2)
    request = request_of([document], [answer], asks=asks, length=2, source_ids=[9])
    pairs = pairs_of([document], length=2)
    assert request.forget_text == (pairs if asks else (document,))
    assert request.forget_prompts == ((5, 6), (7,))
    assert (request.retain_text, request.retain_prompts) == ((answer,), ((1, 2),))
    assert request.source_ids == (9,)

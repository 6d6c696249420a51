"""An expert's stream: every token once per epoch, any row from its number alone."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.data.stream import ExpertStream

FIRST_DOCUMENT = 100  # numbers in the corpus are not places in the stream's arrays


def stream_of(lengths, *, context_length=8, seed=0, documents_per_source=2):
    count = len(lengths)
    return ExpertStream(
        documents=np.arange(FIRST_DOCUMENT, FIRST_DOCUMENT + count),
        source_ids=np.array([n // documents_per_source for n in range(count)], dtype=np.uint64),
        doc_indices=np.array([n % documents_per_source for n in range(count)], dtype=np.uint32),
        lengths=np.array(lengths, dtype=np.int64),
        context_length=context_length,
        seed=seed,
    )


def tokens_of(stream, num_rows, *, first=0):
    """(document, token inside it) of every token of some rows, in order."""
    return [
        (piece.document, piece.start + offset)
        for number in range(first, first + num_rows)
        for piece in stream.row(number)
        for offset in range(piece.length)
    ]


def order_of_epoch(stream, lengths, epoch, context_length=8):
    """Documents in the order an epoch visits them."""
    total = sum(lengths)
    tokens = tokens_of(stream, -(-(epoch + 1) * total // context_length))
    return [
        document for document, place in tokens[epoch * total : (epoch + 1) * total] if not place
    ]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(2, 50), st.integers(0, 9))
def test_every_epoch_holds_each_token_of_each_document_exactly_once(lengths, context_length, seed):
    stream = stream_of(lengths, context_length=context_length, seed=seed)
    total = sum(lengths)
    assert stream.tokens_per_epoch == total
    rows = -(-3 * total // context_length)
    tokens = tokens_of(stream, rows)
    assert len(tokens) == rows * context_length
    everything = {
        (FIRST_DOCUMENT + n, place) for n, length in enumerate(lengths) for place in range(length)
    }
    for epoch in range(3):
        seen = tokens[epoch * total : (epoch + 1) * total]
        assert len(seen) == total
        assert set(seen) == everything


@given(st.lists(st.integers(1, 30), min_size=1, max_size=10), st.integers(2, 40))
def test_rows_are_whole_and_their_pieces_lie_inside_documents(lengths, context_length):
    stream = stream_of(lengths, context_length=context_length)
    for number in range(10):
        pieces = stream.row(number)
        assert sum(piece.length for piece in pieces) == context_length
        for piece in pieces:
            assert piece.length >= 1
            assert piece.start >= 0
            assert piece.start + piece.length <= lengths[piece.document - FIRST_DOCUMENT]


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=10),
    st.lists(st.integers(0, 200), min_size=1, max_size=20),
)
def test_rows_do_not_depend_on_what_was_asked_before(lengths, numbers):
    used = stream_of(lengths)
    for number in numbers:
        assert used.row(number) == stream_of(lengths).row(number)


def test_a_late_row_equals_the_one_reached_in_sequence():
    lengths = [3, 17, 5, 1, 40, 2]
    in_order = stream_of(lengths)
    rows = [in_order.row(number) for number in range(300)]
    fresh = stream_of(lengths)
    assert [fresh.row(number) for number in (299, 150, 0, 298)] == [
        rows[number] for number in (299, 150, 0, 298)
    ]


def test_a_document_longer_than_a_row_continues_in_the_next():
    stream = stream_of([20], context_length=8)
    assert [(p.start, p.length) for n in range(5) for p in stream.row(n)] == [
        *[(0, 8), (8, 8), (16, 4), (0, 4), (4, 8), (12, 8)],
    ]


def test_the_order_depends_on_seed_and_epoch_alone():
    lengths = [5] * 20
    first = order_of_epoch(stream_of(lengths), lengths, 0)
    assert sorted(first) == list(range(FIRST_DOCUMENT, FIRST_DOCUMENT + 20))
    assert order_of_epoch(stream_of(lengths), lengths, 0) == first
    assert order_of_epoch(stream_of(lengths), lengths, 1) != first
    assert order_of_epoch(stream_of(lengths, seed=1), lengths, 0) != first


def test_the_order_does_not_follow_how_the_arrays_are_sorted():
    lengths = np.arange(1, 21)
    back = np.arange(20)[::-1]
    arrays = {
        "documents": np.arange(20),
        "source_ids": np.arange(20, dtype=np.uint64) // np.uint64(3),
        "doc_indices": np.arange(20, dtype=np.uint32) % np.uint32(3),
        "lengths": lengths,
    }
    there = ExpertStream(**arrays, context_length=8, seed=0)
    mirrored = {name: array[back] for name, array in arrays.items()}
    again = ExpertStream(**mirrored, context_length=8, seed=0)
    assert [there.row(n) for n in range(60)] == [again.row(n) for n in range(60)]


def test_documents_of_a_source_are_shuffled_apart():
    """Neighbours in the stream are of one source no more often than chance has it."""
    lengths = [1] * 400
    order = order_of_epoch(stream_of(lengths), lengths, 0)
    sources = [(document - FIRST_DOCUMENT) // 2 for document in order]
    together = sum(first == second for first, second in pairwise(sources))
    assert together <= 6  # expected: one


def test_every_place_of_an_epoch_is_equally_likely_for_a_document():
    lengths = [1] * 4
    places = Counter(
        order_of_epoch(stream_of(lengths, seed=seed), lengths, 0).index(FIRST_DOCUMENT)
        for seed in range(400)
    )
    assert all(65 <= places[place] <= 135 for place in range(4))  # 100, within 4 deviations


def test_an_expert_without_documents_is_a_programming_error():
    with pytest.raises(AssertionError, match="an expert owns documents"):
        stream_of([])

"""Derived exposures: what reading every row of every step gives, and numbers worked out by hand."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.data.batches import GlobalBatches
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.exposure import derive_exposures
from nulls_dist.data.stream import ExpertStream
from nulls_dist.routing.buckets import balance_buckets
from tests.corpus_factory import counted_texts, write_corpus

NUM_EXPERTS, CONTEXT, ROWS = 2, 16, 8


class Seen(NamedTuple):
    """One piece in the order of the columns of `Exposures`."""

    step: int
    row: int
    epoch: int
    document: int
    start: int
    length: int


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    corpus = Corpus(write_corpus(tmp_path_factory.mktemp("exposure") / "corpus", counted_texts(12)))
    table = balance_buckets(corpus.tokens_per_bucket(), NUM_EXPERTS)
    return GlobalBatches(
        corpus,
        table[corpus.buckets()].astype(np.int64),
        num_experts=NUM_EXPERTS,
        context_length=CONTEXT,
        rows_per_step=ROWS,
        seed=5,
    )


def as_rows(exposures):
    columns = (getattr(exposures, f"{name}s") for name in Seen._fields)
    return [Seen(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]


def derive(batches, first, last, *, first_data_step=0, documents=None):
    return as_rows(
        derive_exposures(
            batches,
            first_step=first,
            last_step=last,
            first_data_step=first_data_step,
            documents=None if documents is None else np.array(documents),
        )
    )


def read_rows(batches, first, last, *, first_data_step=0):
    """The same, without the epochs, by reading every row as training does."""
    return [
        (step, row, piece.document, piece.start, piece.length)
        for step in range(first + 1, last + 1)
        for row, pieces in enumerate(
            batches.rank_rows(
                step - 1 - first_data_step,
                experts=range(NUM_EXPERTS),
                replica=0,
                num_replicas=1,
            )
        )
        for piece in pieces
    ]


def without_epoch(seen):
    return [(*piece[:2], *piece[3:]) for piece in seen]


@pytest.mark.parametrize(
    ("first", "last", "first_data_step"), [(0, 12, 0), (3, 4, 0), (7, 30, 5), (9, 9, 0), (4, 6, 4)]
)
def test_all_pieces_are_those_that_reading_every_row_gives(batches, first, last, first_data_step):
    derived = derive(batches, first, last, first_data_step=first_data_step)
    assert without_epoch(derived) == read_rows(
        batches, first, last, first_data_step=first_data_step
    )


def test_the_pieces_of_some_documents_are_theirs_among_all(batches):
    everything = derive(batches, 2, 25)
    for documents in ([0], [3, 11, 20], []):
        expected = [piece for piece in everything if piece.document in documents]
        assert derive(batches, 2, 25, documents=documents) == expected
    assert derive(batches, 2, 25, documents=[7]) != []


def test_an_epoch_shows_every_token_of_every_document_once(batches):
    seen = derive(batches, 0, 40)
    for epoch in range(3):
        tokens = [
            (piece.document, piece.start + offset)
            for piece in seen
            if piece.epoch == epoch
            for offset in range(piece.length)
        ]
        lengths = batches._corpus.lengths
        assert sorted(tokens) == [
            (document, place) for document, length in enumerate(lengths) for place in range(length)
        ]


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=9),
    st.integers(2, 30),
    st.integers(1, 4),
    st.integers(0, 6),
    st.integers(0, 6),
)
def test_any_stream_and_any_steps(lengths, width, rows_per_step, first, num_steps):
    """One stream that gives all rows of a step."""
    count = len(lengths)
    stream = ExpertStream(
        documents=np.arange(50, 50 + count),
        source_ids=np.arange(count, dtype=np.uint64),
        doc_indices=np.zeros(count, dtype=np.uint32),
        lengths=np.array(lengths),
        context_length=width,
        seed=1,
    )

    class OneStream:
        rows_per_stream = rows_per_step

        def streams(self):
            return [stream]

    last = first + num_steps
    expected = [
        (
            number // rows_per_step + 1,
            number % rows_per_step,
            piece.document,
            piece.start,
            piece.length,
        )
        for number in range(first * rows_per_step, last * rows_per_step)
        for piece in stream.row(number)
    ]
    assert without_epoch(derive(OneStream(), first, last)) == expected


def test_worked_out_by_hand():
    """Documents of 5 and 3 tokens, rows of 4: the order is A B or B A, the cuts follow."""
    stream = ExpertStream(
        documents=np.array([10, 20]),
        source_ids=np.array([1, 2], dtype=np.uint64),
        doc_indices=np.zeros(2, dtype=np.uint32),
        lengths=np.array([5, 3]),
        context_length=4,
        seed=0,
    )

    class OneStream:
        rows_per_stream = 1

        def streams(self):
            return [stream]

    first_epoch = {
        10: [(1, 10, 0, 4), (2, 10, 4, 1), (2, 20, 0, 3)],
        20: [(1, 20, 0, 3), (1, 10, 0, 1), (2, 10, 1, 4)],
    }
    seen = derive(OneStream(), 0, 2)
    expected = first_epoch[seen[0].document]
    assert [(piece.step, *piece[3:]) for piece in seen] == expected
    assert {piece.epoch for piece in seen} == {0}
    assert {piece.epoch for piece in derive(OneStream(), 2, 4)} == {1}

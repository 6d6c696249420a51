"""Global batches: the same for every world size, each rank its own experts, targets by hand."""

from collections import Counter

import numpy as np
import pytest

from nulls_dist.data.batches import GlobalBatches, next_tokens
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.stream import Piece
from nulls_dist.errors import InputError
from nulls_dist.routing.buckets import balance_buckets
from nulls_dist.segments import SegmentLayout
from tests.corpus_factory import Text, counted_texts, write_corpus

NUM_EXPERTS, CONTEXT, ROWS = 2, 16, 8
WORLDS = [(1, 1), (2, 1), (1, 2), (2, 2), (1, 4), (2, 4)]
TEXTS = counted_texts(12)
TOKENS = {token: text.source_id for text in TEXTS for token in text.tokens}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return Corpus(write_corpus(tmp_path_factory.mktemp("batches") / "corpus", TEXTS))


@pytest.fixture(scope="module")
def experts(corpus):
    table = balance_buckets(corpus.tokens_per_bucket(), NUM_EXPERTS)
    return table[corpus.buckets()].astype(np.int64)


def batches_of(corpus, experts, *, seed=0):
    return GlobalBatches(
        corpus,
        experts,
        num_experts=NUM_EXPERTS,
        context_length=CONTEXT,
        rows_per_step=ROWS,
        seed=seed,
    )


def rows_of_world(batches, step, ep, edp):
    """Rows of every rank, keyed by (block of experts, replica)."""
    per_rank = NUM_EXPERTS // ep
    return {
        (block, replica): batches.rank_rows(
            step,
            experts=range(block * per_rank, (block + 1) * per_rank),
            replica=replica,
            num_replicas=edp,
        )
        for block in range(ep)
        for replica in range(edp)
    }


def as_multiset(ranks):
    return Counter(tuple(row) for rows in ranks.values() for row in rows)


@pytest.mark.parametrize("step", [0, 1, 7, 1000])
def test_the_global_batch_is_the_same_for_every_world_size(corpus, experts, step):
    worlds = [rows_of_world(batches_of(corpus, experts), step, ep, edp) for ep, edp in WORLDS]
    assert sum(as_multiset(worlds[0]).values()) == ROWS
    for ranks, (ep, edp) in zip(worlds, WORLDS, strict=True):
        assert as_multiset(ranks) == as_multiset(worlds[0])
        assert {len(rows) for rows in ranks.values()} == {ROWS // (ep * edp)}


def test_a_rank_trains_documents_of_its_own_experts_only_and_rows_are_of_one_expert(
    corpus, experts
):
    for step in range(5):
        for (block, _), rows in rows_of_world(batches_of(corpus, experts), step, 2, 2).items():
            for row in rows:
                assert {int(experts[piece.document]) for piece in row} == {block}


def test_an_epoch_of_an_expert_passes_through_all_its_tokens(corpus, experts):
    batches = batches_of(corpus, experts)
    for expert in range(NUM_EXPERTS):
        owned = {
            token for token, number in TOKENS.items() if owner(corpus, experts, number) == expert
        }
        steps = -(-len(owned) // (CONTEXT * ROWS // NUM_EXPERTS))
        seen = Counter()
        for step in range(steps):
            rows = batches.rank_rows(
                step, experts=range(expert, expert + 1), replica=0, num_replicas=1
            )
            seen.update(batches.assemble(rows).tokens.tolist())
        assert set(seen) == owned
        assert max(seen.values()) <= 2  # the last step reaches into the next epoch


def owner(corpus, experts, source_id):
    return int(experts[np.flatnonzero(corpus.source_ids == np.uint64(source_id))[0]])


def test_steps_are_consecutive_rows_of_the_streams(corpus, experts):
    batches = batches_of(corpus, experts)
    share = ROWS // NUM_EXPERTS
    for step in range(4):
        rows = batches.rank_rows(step, experts=range(1, 2), replica=0, num_replicas=1)
        stream = batches._stream(1)
        assert rows == [stream.row(step * share + index) for index in range(share)]


def test_a_fresh_object_and_a_late_step_give_the_same_rows(corpus, experts):
    used = batches_of(corpus, experts)
    steps = [rows_of_world(used, step, 1, 1) for step in range(40)]
    assert rows_of_world(batches_of(corpus, experts), 39, 1, 1) == steps[39]
    assert rows_of_world(used, 3, 1, 1) == steps[3]


def test_the_seed_orders_the_documents(corpus, experts):
    first, second = (
        rows_of_world(batches_of(corpus, experts, seed=seed), 0, 1, 1) for seed in (0, 1)
    )
    assert first != second


def test_a_microbatch_is_the_tokens_of_its_pieces_with_targets_inside_each(corpus, experts):
    batches = batches_of(corpus, experts)
    rows = batches.rank_rows(2, experts=range(2), replica=0, num_replicas=1)
    batch = batches.assemble(rows)
    pieces = [piece for row in rows for piece in row]
    assert batch.layout.lengths == tuple(piece.length for piece in pieces)
    assert (
        batch.layout.source_ids.tolist() == corpus.source_ids[[p.document for p in pieces]].tolist()
    )
    assert len(batch.tokens) == ROWS * CONTEXT
    assert [TOKENS[token] for token in batch.tokens.tolist()] == np.repeat(
        batch.layout.source_ids, batch.layout.lengths
    ).tolist()
    # Tokens of a document are consecutive numbers, so a target is the token plus one.
    expected = np.where(batch.layout.has_target, batch.tokens + 1, 0)
    assert np.array_equal(batch.targets, expected)
    assert batch.num_targets == int(batch.layout.has_target.sum()) == ROWS * CONTEXT - len(pieces)


def test_two_pieces_of_one_document_side_by_side_are_two_segments(tmp_path):
    text = Text(key="only", tokens=(1, 2, 3, 4, 5))
    corpus = Corpus(write_corpus(tmp_path / "corpus", [text]))
    batches = GlobalBatches(
        corpus,
        np.zeros(1, dtype=np.int64),
        num_experts=1,
        context_length=5,
        rows_per_step=1,
        seed=0,
    )
    batch = batches.assemble(
        [[Piece(document=0, start=2, length=3), Piece(document=0, start=0, length=2)]]
    )
    assert batch.tokens.tolist() == [3, 4, 5, 1, 2]
    assert batch.targets.tolist() == [4, 5, 0, 2, 0]
    assert batch.layout.position_ids.tolist() == [0, 1, 2, 0, 1]


def test_next_tokens_worked_out_by_hand():
    layout = SegmentLayout(
        lengths=(3, 1, 2),
        source_ids=np.zeros(3, dtype=np.uint64),
        doc_indices=np.zeros(3, dtype=np.uint32),
    )
    tokens = np.array([5, 6, 7, 8, 9, 4])
    assert next_tokens(tokens, layout).tolist() == [6, 7, 0, 0, 4, 0]
    assert tokens.tolist() == [5, 6, 7, 8, 9, 4]


def test_a_rank_builds_the_streams_of_its_own_experts_only(corpus, experts):
    batches = batches_of(corpus, experts)
    assert list(batches._streams) == []
    for step in range(2):
        batches.rank_rows(step, experts=range(1, 2), replica=0, num_replicas=1)
        assert list(batches._streams) == [1]


@pytest.mark.parametrize("lonely", range(NUM_EXPERTS))
def test_an_expert_without_documents_is_refused_on_every_rank(corpus, experts, lonely):
    with pytest.raises(InputError, match="a sink expert owns no document"):
        batches_of(corpus, np.full_like(experts, 1 - lonely))


@pytest.mark.parametrize("num_ranks", [1, 2, 4, 8])
def test_documents_that_are_not_placed_are_one_stream_in_contiguous_shares(corpus, num_ranks):
    batches = GlobalBatches(
        corpus,
        np.zeros(corpus.num_documents, dtype=np.int64),
        num_experts=1,
        context_length=CONTEXT,
        rows_per_step=ROWS,
        seed=0,
    )
    for step in range(3):
        shares = [
            batches.rank_rows(step, experts=range(1), replica=rank, num_replicas=num_ranks)
            for rank in range(num_ranks)
        ]
        assert {len(share) for share in shares} == {ROWS // num_ranks}
        expected = [batches._stream(0).row(step * ROWS + index) for index in range(ROWS)]
        assert [row for share in shares for row in share] == expected
    assert batches._stream(0).tokens_per_epoch == corpus.lengths.sum()


def test_rows_that_cannot_be_shared_equally_are_a_programming_error(corpus, experts):
    with pytest.raises(AssertionError, match="equally many rows"):
        GlobalBatches(
            corpus, experts, num_experts=2, context_length=CONTEXT, rows_per_step=7, seed=0
        )

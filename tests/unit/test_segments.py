"""SegmentLayout: where segments end, where positions restart, which tokens have a target."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.segments import SegmentLayout


def layout_of(*lengths: int) -> SegmentLayout:
    return SegmentLayout(
        lengths=lengths,
        source_ids=np.arange(len(lengths), dtype=np.uint64),
        doc_indices=np.zeros(len(lengths), dtype=np.uint32),
    )


def test_a_layout_worked_out_by_hand():
    layout = layout_of(3, 1, 2)
    assert layout.num_segments == 3
    assert layout.num_tokens == 6
    assert layout.ends.tolist() == [3, 4, 6]
    assert layout.ends.dtype == np.int32
    assert layout.position_ids.tolist() == [0, 1, 2, 0, 0, 1]
    assert layout.position_ids.dtype == np.int64
    assert layout.has_target.tolist() == [True, True, False, False, True, False]


def test_a_layout_may_be_empty():
    layout = layout_of()
    assert layout.num_tokens == 0
    assert layout.ends.tolist() == []
    assert layout.position_ids.tolist() == []
    assert layout.has_target.tolist() == []


@given(st.lists(st.integers(1, 30), max_size=20))
def test_positions_and_targets_follow_from_walking_the_segments(lengths):
    positions, targets = [], []
    for length in lengths:
        positions += range(length)
        targets += [True] * (length - 1) + [False]
    layout = layout_of(*lengths)
    assert layout.position_ids.tolist() == positions
    assert layout.has_target.tolist() == targets
    assert layout.num_tokens == sum(lengths)
    assert int(layout.has_target.sum()) == layout.num_tokens - layout.num_segments


def test_an_empty_segment_is_a_programming_error():
    with pytest.raises(AssertionError, match="segments are not empty"):
        layout_of(2, 0)


@pytest.mark.parametrize("field", ["source_ids", "doc_indices"])
def test_every_segment_has_one_source_and_one_document(field):
    arrays = {
        "source_ids": np.zeros(2, dtype=np.uint64),
        "doc_indices": np.zeros(2, dtype=np.uint32),
    }
    with pytest.raises(AssertionError, match="per segment"):
        SegmentLayout(lengths=(1, 1), **arrays | {field: arrays[field][:1]})

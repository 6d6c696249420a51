"""Sink dropout: the right share, per document and step, whatever else is in the batch."""

import numpy as np
import pytest

from nulls_dist.routing.dropout import draw_dropped
from nulls_dist.segments import SegmentLayout
from nulls_dist.sources import NO_SOURCE

RATE = 0.3


def layout_of(documents: list[tuple[int, int]]) -> SegmentLayout:
    return SegmentLayout(
        lengths=(1,) * len(documents),
        source_ids=np.array([source for source, _ in documents], dtype=np.uint64),
        doc_indices=np.array([index for _, index in documents], dtype=np.uint32),
    )


def draw(documents, *, probability=RATE, seed=0, step=0):
    return draw_dropped(layout_of(documents), probability=probability, seed=seed, step=step)


EVERYONE = [(source, index) for source in range(2000) for index in range(5)]


@pytest.mark.parametrize("probability", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("step", [0, 59_999])
def test_the_share_of_dropped_documents_is_the_probability(probability, step):
    dropped = draw(EVERYONE, probability=probability, step=step)
    spread = (probability * (1 - probability) / len(EVERYONE)) ** 0.5
    assert abs(dropped.mean() - probability) < 4 * spread


def test_the_probability_holds_within_a_source_and_over_the_steps_of_a_document():
    one_source = [(7, index) for index in range(5000)]
    over_steps = np.array([draw([(7, 0)], step=step)[0] for step in range(2000)])
    for dropped in (draw(one_source), over_steps):
        assert abs(dropped.mean() - RATE) < 4 * (RATE * (1 - RATE) / len(dropped)) ** 0.5


def test_probability_0_drops_nobody():
    assert not draw(EVERYONE, probability=0.0).any()


def test_a_document_s_draw_does_not_depend_on_the_batch():
    together = dict(zip(EVERYONE, draw(EVERYONE, step=5), strict=True))
    assert draw(EVERYONE[::-7], step=5).tolist() == [together[one] for one in EVERYONE[::-7]]
    assert [draw([one], step=5)[0] for one in EVERYONE[:50]] == [
        together[one] for one in EVERYONE[:50]
    ]


def test_all_segments_of_a_document_fall_together():
    dropped = draw([document for document in EVERYONE[:500] for _ in range(3)]).reshape(-1, 3)
    assert (dropped == dropped[:, :1]).all()
    assert 0 < dropped.sum() < dropped.size


@pytest.mark.parametrize("change", [{"step": 1}, {"seed": 1}])
def test_steps_and_seeds_draw_independently(change):
    first, second = draw(EVERYONE), draw(EVERYONE, **change)
    both = (first & second).mean()
    assert abs(both - RATE**2) < 4 * (RATE**2 / len(EVERYONE)) ** 0.5


def test_documents_of_one_source_are_drawn_independently():
    dropped = draw(EVERYONE).reshape(-1, 5)
    both = (dropped[:, 0] & dropped[:, 1]).mean()
    assert abs(both - RATE**2) < 4 * (RATE**2 / len(dropped)) ** 0.5


def test_padding_can_be_drawn_too():
    assert draw([(NO_SOURCE, 2**32 - 1)]).dtype == np.bool_

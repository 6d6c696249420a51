"""Covers chosen by hand, and what greedy choice promises about any sets."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from nulls_dist.attacks.set_cover import choose_cover, cover_sources
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.routing.sink_sets import sinks_of

SETS = st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=6)


def matrix(rows):
    return csr_array(np.array(rows, dtype=np.int32))


def test_the_largest_gain_is_taken_and_of_equal_ones_the_first():
    rows = [
        [1, 0, 0, 1, 0, 0],
        [1, 1, 1, 0, 0, 0],  # most
        [0, 1, 1, 1, 0, 0],
        [0, 0, 0, 1, 1, 0],  # then these two add two each: the first of them
        [0, 0, 0, 1, 1, 0],
    ]
    assert choose_cover(matrix(rows), 9) == ([1, 3], (3, 5))  # nobody has the last element
    assert choose_cover(matrix(rows), 1) == ([1], (3,))
    assert choose_cover(matrix([[0] * 6]), 9) == ([], ())
    assert choose_cover(csr_array((0, 3), dtype=np.int32), 9) == ([], ())


def test_greedy_choice_may_need_one_more_than_the_smallest_cover():
    rows = [[1, 1, 0, 1, 1, 0], [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]
    assert choose_cover(matrix(rows), 9) == ([0, 1, 2], (4, 5, 6))


@settings(max_examples=30)
@given(SETS)
def test_a_cover_has_all_that_the_sets_have_and_is_not_much_larger_than_the_smallest(sets):
    has = np.array(sets)
    chosen, covered = choose_cover(matrix(has), len(sets))
    assert len(set(chosen)) == len(chosen)
    for number, count in enumerate(covered):
        assert count == has[chosen[: number + 1]].any(0).sum()
    everything = has.any(0)
    assert (has[chosen].any(0) if chosen else np.zeros(5)).sum() == everything.sum()
    smallest = next(
        size
        for size in range(len(sets) + 1)
        if any(
            (has[list(rows)].any(0) == everything).all()
            for rows in combinations(range(len(sets)), size)
        )
    )
    assert len(chosen) <= smallest * (1 + np.log(5))


@pytest.mark.parametrize("max_members", [2, 40])
def test_the_cover_of_a_source_has_the_sinks_that_it_says(roots, deleted, survivors, max_members):
    with load_for_inference(roots["before"]) as model:
        router = model.router
    covers = list(cover_sources(router, survivors, deleted, max_members=max_members))
    assert sorted(cover.source_id for cover in covers) == deleted
    for cover in covers:
        own = sinks_of(router, np.array([cover.source_id], dtype=np.uint64))
        assert cover.num_slots == own.sum()
        for number, count in enumerate(cover.covered):
            members = np.array(cover.members[: number + 1], dtype=np.uint64)
            assert count == (sinks_of(router, members) & own).sum()
        assert set(cover.members) <= set(survivors.tolist())
        assert len(cover.members) <= max_members
        if max_members == 40:
            assert cover.covered[-1] == (sinks_of(router, survivors) & own).sum()
            assert cover.share == cover.covered[-1] / cover.num_slots

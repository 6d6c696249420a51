"""The bucket table: no expert without buckets, tokens balanced, always the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from nulls_dist.errors import InputError
from nulls_dist.routing.buckets import balance_buckets
from nulls_dist.routing.router import NUM_BUCKETS


def loads_of(tokens: np.ndarray, table: np.ndarray, num_experts: int) -> np.ndarray:
    return np.bincount(table, weights=tokens, minlength=num_experts).astype(np.int64)


@given(
    st.integers(1, 6).flatmap(
        lambda experts: st.tuples(
            st.just(experts),
            st_numpy.arrays(np.int64, st.integers(experts, 40), elements=st.integers(1, 10**12)),
        )
    )
)
def test_every_expert_has_buckets_and_none_exceeds_the_mean_by_a_whole_bucket(case):
    num_experts, tokens = case
    table = balance_buckets(tokens, num_experts)
    assert table.dtype == np.uint16
    assert table.shape == tokens.shape
    loads = loads_of(tokens, table, num_experts)
    assert loads.min() > 0
    assert loads.max() <= tokens.sum() / num_experts + tokens.max()
    assert np.array_equal(balance_buckets(tokens, num_experts), table)


@pytest.mark.parametrize("num_experts", [1, 2, 8, 32])
def test_a_large_corpus_is_balanced_to_a_hundred_thousandth(num_experts):
    tokens = np.random.default_rng(0).poisson(1_000_000, NUM_BUCKETS)
    loads = loads_of(tokens, balance_buckets(tokens, num_experts), num_experts)
    assert loads.max() - loads.min() <= 1e-5 * loads.mean()


def test_balancing_leaves_its_input_alone():
    tokens = np.arange(NUM_BUCKETS, dtype=np.int64)
    balance_buckets(tokens, 4)
    assert np.array_equal(tokens, np.arange(NUM_BUCKETS))


def test_swaps_repair_what_dealing_the_longest_first_gets_wrong():
    # Dealt are 8, 5, 4 against 7, 6; better are 8, 7 against 6, 5, 4.
    tokens = np.array([8, 7, 6, 5, 4], dtype=np.int64)
    loads = loads_of(tokens, balance_buckets(tokens, 2), 2)
    assert sorted(loads.tolist()) == [15, 15]


@pytest.mark.parametrize(
    ("tokens", "num_experts"), [([5], 2), ([3, 0, 0, 0], 2), ([0] * 8, 1), ([1] * 7, 8)]
)
def test_a_corpus_too_small_for_its_experts_is_refused(tokens, num_experts):
    with pytest.raises(InputError, match=f"too small for {num_experts} sink experts"):
        balance_buckets(np.array(tokens, dtype=np.int64), num_experts)

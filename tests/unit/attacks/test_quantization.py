"""Rounded weights are those worked out by hand; rounding twice is rounding once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nulls_dist.attacks.quantization import nf4_levels, round_to_integers, round_to_nf4

# QLoRA, arXiv 2305.14314, appendix E.
PUBLISHED_NF4 = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
]

SCHEMES = {
    "int8": lambda weights: round_to_integers(weights, bits=8),
    "int4": lambda weights: round_to_integers(weights, bits=4, group=3),
    "nf4": lambda weights: round_to_nf4(weights, block=5),
}
MATRICES = st.lists(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=4, max_size=4), min_size=1, max_size=5
).map(torch.tensor)


def test_integers_by_hand():
    row = torch.tensor([[7.0, -3.4, 0.2], [-0.5, 0.26, 0.0]])
    found = round_to_integers(row, bits=4)
    # The second row's step is 0.5 / 7: 0.26 is 3.64 steps.
    torch.testing.assert_close(found, torch.tensor([[7.0, -3.0, 0.0], [-0.5, 4 * 0.5 / 7, 0.0]]))
    eight = round_to_integers(torch.tensor([[127.0, 63.6, -0.4]]), bits=8)
    torch.testing.assert_close(eight, torch.tensor([[127.0, 64.0, 0.0]]))


def test_every_group_has_its_own_scale_and_the_last_may_be_smaller():
    row = torch.tensor([[7.0, 1.4, 0.7, 0.14, 70.0]])
    found = round_to_integers(row, bits=4, group=2)
    torch.testing.assert_close(found, torch.tensor([[7.0, 1.0, 0.7, 0.1, 70.0]]))


def test_the_levels_of_nf4_are_the_published_ones():
    torch.testing.assert_close(nf4_levels(), torch.tensor(PUBLISHED_NF4), atol=1e-6, rtol=0)


def test_nf4_by_hand():
    weights = torch.tensor([[2.0, 0.17, -0.16], [0.0, -0.3, 0.1]])
    found = round_to_nf4(weights, block=4)
    # Blocks run over rows: [2, .17, -.16, 0] by 2, then [-.3, .1] by .3.
    expected = [[2.0, 2 * 0.0795803, 2 * -0.0910500], [0.0, -0.3, 0.3 * 0.3379152]]
    torch.testing.assert_close(found, torch.tensor(expected))


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@settings(max_examples=30)
@given(weights=MATRICES)
def test_rounding_twice_is_rounding_once(scheme, weights):
    once = scheme(weights)
    assert torch.equal(scheme(once), once)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@settings(max_examples=30)
@given(weights=MATRICES)
def test_zeros_stay_and_nothing_moves_by_more_than_half_the_widest_step(scheme, weights):
    rounded = scheme(weights)
    assert (rounded[weights == 0] == 0).all()
    # The widest gap of NF4 is 0.304 of the largest magnitude of a block.
    assert ((rounded - weights).abs() <= 0.153 * weights.abs().max()).all()

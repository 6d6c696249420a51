"""Corruptions of embeddings, against values worked out by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.posthoc.corruptions import Dims, FlipSign, Noise, ZeroOut

TOKEN = torch.tensor([[3.0, -5.0, 1.0]])


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("corruption", "strength", "expected"),
    [
        (ZeroOut(), 1, [3.0, 0.0, 1.0]),
        (ZeroOut(), 1.4, [3.0, 0.0, 1.0]),
        (ZeroOut(), 2, [0.0, 0.0, 1.0]),
        (ZeroOut(), 99, [0.0, 0.0, 0.0]),
        (ZeroOut(dims=Dims.FIRST), 1, [0.0, -5.0, 1.0]),
        (FlipSign(), 2, [-3.0, 5.0, 1.0]),
        (FlipSign(dims=Dims.LARGEST), 1, [3.0, 5.0, 1.0]),
    ],
    ids=str,
)
def test_zeros_and_signs(corruption, strength, expected):
    given_token = TOKEN.clone()
    assert corruption(given_token, strength, draws()).tolist() == [expected]
    assert torch.equal(given_token, TOKEN)


@given(st.sampled_from(Dims), st.integers(1, 6), st.integers(0, 2**40))
def test_noise_has_its_width_and_changes_its_dims_alone(dims, num_dims, seed):
    tokens = torch.randn(500, 6, generator=draws(seed))
    noisy = Noise(dims=dims, num_dims=num_dims)(tokens, 2.0, draws(seed + 1))
    added = noisy - tokens
    assert (added != 0).sum(1).tolist() == [num_dims] * 500
    assert added[added != 0].std() == pytest.approx(2.0, rel=0.2)
    if dims is Dims.FIRST:
        assert not added[:, num_dims:].any()


@given(st.sampled_from(Dims), st.sampled_from([Noise, ZeroOut, FlipSign]))
def test_without_strength_nothing_changes(dims, kind):
    tokens = torch.randn(5, 6, generator=draws()).bfloat16()
    same = kind(dims=dims)(tokens, 0.0, draws(1))
    assert torch.equal(same, tokens)
    assert same.dtype == torch.bfloat16


def test_random_dims_are_those_of_the_seed():
    tokens = torch.ones(50, 8)
    zeros = [ZeroOut(dims=Dims.RANDOM)(tokens, 3, draws(seed)) for seed in (1, 1, 2)]
    assert torch.equal(zeros[0], zeros[1])
    assert not torch.equal(zeros[0], zeros[2])
    assert zeros[0].sum(1).tolist() == [5.0] * 50


def test_a_corruption_says_which_it_is():
    assert Noise(num_dims=1).describe() == {"name": "noise", "dims": "first", "num_dims": 1}

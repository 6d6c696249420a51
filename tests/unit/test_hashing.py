"""The hash: numpy, torch and the written specification in whole numbers are one function."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist import hashing, hashing_torch

U64 = st.integers(0, 2**64 - 1)
M = 2**64 - 1


def mix_in_words(z: int) -> int:
    """The finaliser of splitmix64 on Python's unbounded integers."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & M
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & M
    return z ^ (z >> 31)


def key_in_words(source_id: int, seed: int, domain: int, layer: int) -> int:
    """The key as the specification words it."""
    salted = mix_in_words((source_id + 0x9E3779B97F4A7C15) & M) ^ (
        (seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & M
    )
    place = (layer + 1) * 0xD1B54A32D192ED03 + domain * 0x8CB92BA72F3D8DD7
    return mix_in_words((mix_in_words(salted) + place) & M)


def as_torch(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.view(np.int64).copy())


def as_numpy(values: torch.Tensor) -> np.ndarray:
    return values.numpy().view(np.uint64)


def test_the_purposes_of_keys_keep_their_numbers():
    numbers = {domain.name: domain.value for domain in hashing.Domain}
    assert numbers == {
        "NEURONS": 0,
        "BUCKET": 1,
        "ORDER": 2,
        "DROPOUT": 3,
        "PLACEBO": 4,
        "CHOICE": 5,
    }


def test_mix_gives_the_first_outputs_of_splitmix64():
    """Published outputs of the generator for seed 1234567 (Rosetta Code)."""
    states = np.array([1234567 + n * hashing.GOLDEN_GAMMA & M for n in (1, 2, 3)], dtype=np.uint64)
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert hashing.mix(states).tolist() == expected


@given(
    st.lists(U64, min_size=1, max_size=8),
    st.integers(-(2**70), 2**70),
    st.integers(0, 4),
    st.integers(0, 2**40),
)
def test_keys_of_numpy_and_torch_follow_the_specification(ids, seed, domain, layer):
    source_ids = np.array(ids, dtype=np.uint64)
    keys = hashing.key(source_ids, seed=seed, domain=domain, layer=layer)
    twin = hashing_torch.key(as_torch(source_ids), seed=seed, domain=domain, layer=layer)
    assert keys.tolist() == [key_in_words(number, seed, domain, layer) for number in ids]
    assert as_numpy(twin).tolist() == keys.tolist()


@given(st.lists(U64, min_size=1, max_size=8), U64, st.integers(1, 2**31 - 1))
def test_draws_and_bounded_integers_of_numpy_and_torch_are_equal(values, counter, bound):
    keys, counters = np.array(values, dtype=np.uint64), np.array([counter], dtype=np.uint64)
    draws = hashing.draw(keys, counters)
    expected = [mix_in_words((value + counter * hashing.GOLDEN_GAMMA) & M) for value in values]
    assert draws.tolist() == expected
    assert as_numpy(hashing_torch.draw(as_torch(keys), as_torch(counters))).tolist() == expected
    below = [(value >> 32) * bound >> 32 for value in expected]
    assert hashing.below(draws, bound).tolist() == below
    assert hashing_torch.below(as_torch(draws), bound).tolist() == below


def test_bounded_integers_reach_both_ends_and_never_the_bound():
    ends = np.array([0, M], dtype=np.uint64)
    for bound in (1, 2, 3840, 2**31 - 1):
        assert hashing.below(ends, bound).tolist() == [0, bound - 1]
        assert hashing_torch.below(as_torch(ends), bound).tolist() == [0, bound - 1]


def test_unit_interval_is_exact_at_its_ends():
    values = hashing.unit_interval(np.array([0, 1 << 11, 1 << 63, M], dtype=np.uint64))
    assert values.tolist() == [0.0, 2.0**-53, 0.5, 1 - 2.0**-53]


@given(U64)
def test_lane_sums_add_the_four_16_bit_lanes(value):
    lanes = sum(value >> shift & 0xFFFF for shift in (0, 16, 32, 48))
    assert int(hashing_torch.lane_sums(as_torch(np.array([value], dtype=np.uint64)))) == lanes


@given(st.integers(-(2**66), 2**66))
def test_signed_keeps_the_bits(value):
    folded = hashing_torch.signed(value)
    assert -(2**63) <= folded < 2**63
    assert (folded - value) % 2**64 == 0


@given(st.lists(U64, min_size=1, max_size=8), st.lists(st.integers(0, 40), max_size=4))
def test_keys_of_several_layers_are_those_of_each_and_arguments_stay_as_they_were(values, layers):
    sources = np.array(values, dtype=np.uint64)
    keys = hashing.layer_keys(sources, seed=5, domain=hashing.Domain.NEURONS, layers=layers)
    assert [row.tolist() for row in keys] == [
        [key_in_words(value, 5, 0, layer) for value in values] for layer in layers
    ]
    hashing.mix(sources)
    hashing.below(sources, 7)
    assert sources.tolist() == values

"""Initial values: nearly normal, and a function of seed, name, row and column alone."""

import pytest
import torch
import xxhash

from nulls_dist.initial_values import initial_rows

STD = 0.02


def draw(rows, *, seed=0, name="decoder.layers.0.mlp.sinks.gate", width=64, std=STD, dtype=None):
    return initial_rows(
        seed=seed,
        name=name,
        rows=torch.as_tensor(rows, dtype=torch.int64),
        width=width,
        std=std,
        dtype=dtype or torch.float32,
    )


def value_in_words(seed: int, name: str, row: int, column: int, std: float) -> float:
    """One value from the written definition, in whole numbers and doubles."""
    mask = 2**64 - 1
    counter = (row << 32) + column + 1
    start = xxhash.xxh3_64_intdigest(f"{seed & mask}\0{name}".encode())
    z = (start + counter * 0x9E3779B97F4A7C15) & mask
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
    z ^= z >> 31
    lanes = sum(z >> shift & 0xFFFF for shift in (0, 16, 32, 48))
    return (lanes - 2 * 0xFFFF) * std / (2 * ((2**32 - 1) / 12) ** 0.5)


def test_mean_deviation_kurtosis_and_range_are_those_of_four_uniform_lanes():
    values = draw(torch.arange(4000)).double().flatten() / STD
    count = len(values)
    assert abs(values.mean()) < 4 / count**0.5
    assert abs(values.std() - 1) < 4 * (1.7 / 4 / count) ** 0.5
    kurtosis = (values**4).mean() / (values**2).mean() ** 2 - 3
    assert abs(kurtosis + 0.3) < 0.03
    assert 3.2 < values.abs().max() <= 12**0.5 + 1e-6


def test_neighbouring_rows_and_columns_are_uncorrelated():
    values = draw(torch.arange(2000)).double() / STD
    bound = 4 / values[1:].numel() ** 0.5
    assert abs((values[1:] * values[:-1]).mean()) < bound
    assert abs((values[:, 1:] * values[:, :-1]).mean()) < bound


def test_a_row_is_the_same_whichever_rows_are_asked_for():
    everything = draw(torch.arange(50))
    asked = [49, 3, 3, 17, 0]
    assert torch.equal(draw(asked), everything[asked])
    assert draw([]).shape == (0, 64)


def test_a_row_is_the_same_when_drawn_in_many_blocks(monkeypatch):
    whole = draw(torch.arange(50))
    monkeypatch.setattr("nulls_dist.initial_values._BLOCK_VALUES", 64 * 7)
    assert torch.equal(draw(torch.arange(50)), whole)


@pytest.mark.parametrize("change", [{"seed": 1}, {"seed": -1}, {"name": "decoder.layers.1"}])
def test_other_seeds_and_names_give_unrelated_values(change):
    first, second = draw(torch.arange(200)), draw(torch.arange(200), **change)
    assert (first == second).float().mean() < 1e-3
    correlation = (first * second).double().mean() / STD**2
    assert abs(correlation) < 4 / first.numel() ** 0.5


def test_values_are_frozen_bit_for_bit():
    rows = [0, 1, 2**32 - 1]
    values = draw(rows, seed=5, name="w", width=3, std=0.5)
    assert [[value.hex() for value in row] for row in values.tolist()] == [
        ["0x1.8215be0000000p-4", "-0x1.5049da0000000p-4", "-0x1.144d7e0000000p-2"],
        ["-0x1.3c36dc0000000p-1", "-0x1.6f94960000000p-1", "0x1.0c90060000000p-2"],
        ["0x1.529dae0000000p-5", "0x1.e043e40000000p-3", "0x1.855f860000000p-2"],
    ]


def test_values_follow_the_written_definition():
    rows, seed, name = [0, 7, 3839, 2**31], -3, "decoder.layers.31.mlp.sinks.down"
    values = draw(rows, seed=seed, name=name, width=5)
    expected = [
        [value_in_words(seed, name, row, column, STD) for column in range(5)] for row in rows
    ]
    torch.testing.assert_close(values, torch.tensor(expected), rtol=3e-7, atol=0)


def test_bf16_is_the_rounding_of_float32():
    rows = torch.arange(100)
    rounded = draw(rows, dtype=torch.bfloat16)
    assert rounded.dtype == torch.bfloat16
    assert torch.equal(rounded, draw(rows).to(torch.bfloat16))

"""Probability, perplexity and truth ratio on numbers worked out by hand."""

from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.eval.metrics.likelihood import (
    model_utility,
    normalized_probability,
    option_probability,
    perplexity,
    preference,
)
from nulls_dist.eval.metrics.truth_ratio import (
    Average,
    forget_score,
    nulls_ratio,
    retain_score,
    tofu_ratio,
    truth_probability,
)

RIGHT, WRONG = log(2), [log(2), log(8)]  # probabilities 1/2 against 1/2 and 1/8
NATS = st.floats(0, 50)
SEVERAL = st.lists(NATS, min_size=1, max_size=6)


def test_normalized_probability_divides_by_all_tokens():
    probabilities = np.array([0.5, 0.25, 0.5, 0.25, 0.5])
    assert normalized_probability(np.log(probabilities)) == pytest.approx(0.37893, abs=1e-5)


def test_perplexity_weighs_documents_by_their_tokens():
    assert perplexity([3 * log(4)], [3]) == pytest.approx(4)
    # 1 token of probability 1/16 and 3 of 1/2: 7 bits over 4 tokens
    assert perplexity([log(16), 3 * log(2)], [1, 3]) == pytest.approx(2 ** (7 / 4))


def test_probability_over_the_options():
    assert option_probability(RIGHT, WRONG) == pytest.approx(0.5 / (0.5 + 0.625))
    assert option_probability(RIGHT, WRONG) == pytest.approx(0.44444, abs=1e-5)


def test_preference_counts_ties_half():
    assert preference(RIGHT, WRONG) == 0.75
    assert preference(0.0, [1.0, 2.0]) == 1
    assert preference(3.0, [1.0, 2.0]) == 0


def test_model_utility_is_zero_as_soon_as_one_value_is():
    assert model_utility([1] * 8 + [0.5]) == pytest.approx(0.9)
    assert model_utility([1] * 8 + [0]) == 0


def test_every_variant_of_the_truth_ratio():
    assert tofu_ratio(RIGHT, WRONG, Average.GEOMETRIC) == pytest.approx(0.5)
    assert tofu_ratio(RIGHT, WRONG, Average.ARITHMETIC) == pytest.approx(0.625)
    assert nulls_ratio(RIGHT, WRONG, Average.GEOMETRIC) == pytest.approx(2)
    assert nulls_ratio(RIGHT, WRONG, Average.ARITHMETIC) == pytest.approx(1.6)
    assert truth_probability(RIGHT, WRONG) == pytest.approx(2 / 3)


def test_scores_of_truth_ratios():
    assert forget_score([0.5]) == forget_score([2.0]) == 0.5  # blind to the direction
    assert retain_score([0.5]) == 0.5
    assert retain_score([2.0]) == 0
    assert forget_score([0.5, 1.0]) == 0.75
    assert forget_score([0.0, 1e300]) == pytest.approx(0)


@given(NATS, SEVERAL)
def test_bounds_and_order_of_truth_ratios(right, wrong):
    geometric, arithmetic = (nulls_ratio(right, wrong, how) for how in Average)
    assert 0 < arithmetic <= geometric * (1 + 1e-9)  # the arithmetic mean of p is the larger one
    assert geometric * tofu_ratio(right, wrong, Average.GEOMETRIC) == pytest.approx(1)
    share = truth_probability(right, wrong)
    assert 0 <= share <= 1
    assert share == pytest.approx(geometric / (1 + geometric))
    ratios = [tofu_ratio(right, wrong, how) for how in Average]
    assert 0 <= forget_score(ratios) <= 1
    assert 0 <= retain_score(ratios) <= 1
    assert 0 <= option_probability(right, wrong) <= 1
    lowest = exp(-right) / exp(-min(wrong))
    assert min(lowest, 1e-12) <= arithmetic
    assert arithmetic >= lowest * (1 - 1e-9)


@given(NATS, SEVERAL, st.floats(-20, 20))
def test_a_model_that_is_more_confident_of_all_answers_alike_has_the_same_ratios(
    right, wrong, shift
):
    moved = [nats + shift for nats in wrong]
    for how in Average:
        assert nulls_ratio(right + shift, moved, how) == pytest.approx(
            nulls_ratio(right, wrong, how), rel=1e-6
        )

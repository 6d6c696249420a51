"""Forget quality, intervals, relearning and compression on cases worked out by hand."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.eval.metrics import membership
from nulls_dist.eval.metrics.compression import SearchPlan, shortest_prompt
from nulls_dist.eval.metrics.forget_quality import forget_quality
from nulls_dist.eval.metrics.intervals import clustered_interval, clustered_mean, clustered_ratio
from nulls_dist.eval.metrics.relearning import (
    MemoryCurve,
    relearning_area,
    steps_to_relearn,
)

LOW, HIGH = [0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]
RATIOS = st.lists(st.floats(0.01, 100), min_size=2, max_size=20)


def test_forget_quality_of_samples_that_do_not_overlap():
    found = forget_quality(LOW, HIGH)
    assert found.p_value == pytest.approx(2 / 70)
    assert (found.distance, found.num_unlearned, found.num_retrained) == (1, 4, 4)
    result = found.to_result("unique")
    assert (result.value, result.n) == (found.p_value, 4)
    assert result.details == {"D": 1, "n_retrained": 4}


def test_forget_quality_of_equal_samples_is_one():
    assert forget_quality(LOW, LOW).p_value == 1


def test_forget_quality_sees_the_direction():
    ratios = np.array([0.5, 0.4, 0.3, 0.2])
    assert forget_quality(ratios, 1 / ratios).p_value == pytest.approx(0.0286, abs=1e-4)


@given(RATIOS, RATIOS)
def test_forget_quality_is_symmetric_and_sees_the_order_alone(first, second):
    found, swapped = forget_quality(first, second), forget_quality(second, first)
    assert found.p_value == pytest.approx(swapped.p_value)
    assert found.distance == pytest.approx(swapped.distance)
    assert 0 <= found.p_value <= 1
    assert 0 <= found.distance <= 1
    assert forget_quality(np.array(first) * 2, np.array(second) * 2) == found


def test_facts_of_one_source_are_drawn_together():
    values = np.repeat([0.0, 1.0] * 10, 50)  # 20 sources, of which each knows all or nothing
    sources = np.repeat(np.arange(20), 50)
    together, apart = clustered_mean(values, sources), clustered_mean(values, np.arange(1000))
    # half-widths of a mean of 20, or of 1000, draws of 0 or 1: 1.96 * 0.5 / sqrt(n)
    assert (together.high - together.low) / 2 == pytest.approx(0.219, abs=0.035)
    assert (apart.high - apart.low) / 2 == pytest.approx(0.031, abs=0.005)


def test_an_interval_needs_two_sources():
    assert clustered_mean([0.0, 1.0], [7, 7]) is None
    assert clustered_interval(lambda rows: 0.0, [7, 8], [1, 1]) is None


def test_the_ways_to_an_interval_agree():
    draws = np.random.default_rng(0)
    values, sizes = draws.normal(size=40), draws.integers(1, 9, size=40)
    sources = draws.integers(0, 12, size=40)
    slow = clustered_interval(lambda rows: values[rows].sum() / sizes[rows].sum(), sources)
    fast = clustered_ratio(values, sizes, sources)
    assert (slow.low, slow.high) == pytest.approx((fast.low, fast.high))
    assert slow.low < values.sum() / sizes.sum() < slow.high


def test_two_samples_are_drawn_independently():
    found = clustered_interval(
        lambda inside, outside: membership.auc(np.array(LOW)[inside], np.array(HIGH)[outside]),
        [1, 1, 2, 2],
        [1, 2, 3, 4],
    )
    assert (found.low, found.high, found.num_sources) == (1, 1, 2)


def test_steps_to_relearn():
    curve = MemoryCurve(steps=[0, 10, 20, 40], values=[0.0, 0.2, 0.6, 1.0])
    assert steps_to_relearn(curve, floor=0.0, target=1.0) == 17.5
    assert steps_to_relearn(curve, floor=0.0, target=0.4) == 10
    assert steps_to_relearn(curve, floor=0.0, target=1.0, share=0.1) == 5
    assert steps_to_relearn(curve, floor=-1.0, target=0.5) == 0  # never gone
    assert steps_to_relearn(curve, floor=0.4, target=2.0) is None  # censored
    assert relearning_area(curve, floor=0.0, target=1.0) == pytest.approx((1 + 4 + 16) / 40)
    assert relearning_area(curve, floor=0.0, target=2.0) == pytest.approx((1 + 4 + 16) / 80)


def test_a_flat_curve_has_no_area():
    curve = MemoryCurve(steps=[0, 5], values=[0.25, 0.25])
    assert relearning_area(curve, floor=0.25, target=1.0) == 0


def lengths_tried(shortest):
    asked = []

    def elicit(length, num_steps):
        asked.append((length, num_steps))
        return range(length) if length >= shortest else None

    return shortest_prompt(6, elicit, SearchPlan()), asked


@pytest.mark.parametrize(
    ("shortest", "tried", "ratio"),
    [
        (3, (5, 4, 3, 2), 2),
        (8, (5, 10, 9, 8, 7), 0.75),
        (1, (5, 4, 3, 2, 1), 6),
        (29, (5, 10, 15, 20, 25, 30, 29, 28), 6 / 29),  # the cap itself is tried
        (99, (5, 10, 15, 20, 25, 30), 0.2),
    ],
)
def test_the_search_for_the_shortest_prompt(shortest, tried, ratio):
    found, asked = lengths_tried(shortest)
    assert found.tried == tuple(length for length, _ in asked) == tried
    assert found.ratio == ratio
    assert (found.prompt is None) == (shortest == 99)
    assert found.is_memorized == (ratio > 1)


def test_failures_lengthen_the_search():
    _, asked = lengths_tried(12)
    assert asked == [(5, 200), (10, 240), (15, 288), (14, 288), (13, 288), (12, 288), (11, 288)]


def test_compression_of_a_text_that_two_tokens_elicit():
    def look_up(length, num_steps):
        prompts = product(range(16), repeat=length) if length <= 2 else ()
        return next((prompt for prompt in prompts if prompt == (7, 9)), None)

    found = shortest_prompt(6, look_up, SearchPlan(first_length=1, stride=1))
    assert found.prompt == (7, 9)
    assert found.ratio == 3
    assert found.is_memorized

"""What is recited, on toy texts whose values are worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.eval.metrics.memorization import (
    exact_memorization,
    extraction_likelihood,
    extraction_strength,
    verbatim_share,
)
from nulls_dist.eval.metrics.outliers import (
    count_above_quartiles,
    count_above_threshold,
    count_outside_band,
)
from nulls_dist.eval.metrics.overlap import rouge_l

TRUTH = [1, 2, 3, 1]
TOKENS = st.lists(st.integers(0, 3), min_size=1, max_size=12)


def test_exact_memorization_counts_every_token_that_is_given():
    assert exact_memorization([1, 2, 0, 1], TRUTH) == 0.75
    assert exact_memorization([1, 2, 0, 1, 2], [*TRUTH, 2]) == 0.8


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ([1, 2, 3, 1], 1),
        ([0, 2, 3, 1], 0.75),
        ([1, 2, 0, 1], 0.25),
        ([1, 2, 3, 0], 0),
        ([0, 0, 0, 0], 0),
    ],
)
def test_extraction_strength(choices, expected):
    assert extraction_strength(choices, TRUTH) == expected


@given(TOKENS, st.data())
def test_extraction_strength_never_exceeds_exact_memorization(truth, data):
    choices = data.draw(st.lists(st.integers(0, 3), min_size=len(truth), max_size=len(truth)))
    strength, exact = extraction_strength(choices, truth), exact_memorization(choices, truth)
    assert 0 <= strength <= exact <= 1
    assert (strength == 1) == (exact == 1) == (choices == truth)


def test_extraction_likelihood():
    text = [1, 2, 3, 4]
    perfect = {1: [2, 3, 4], 2: [3, 4], 3: [4]}
    never = {1: [9, 9, 9], 2: [9, 9], 3: [9]}
    later = {1: [2, 9, 9], 2: [3, 4], 3: [4]}  # right once two true tokens were seen
    assert extraction_likelihood(text, perfect, n=2) == 1
    assert extraction_likelihood(text, never, n=2) == 0
    assert extraction_likelihood(text, later, n=2) == 0.5
    assert extraction_likelihood(text, later, n=1) == pytest.approx(0.77778, abs=1e-5)
    firsts = [later[t][0] for t in (1, 2, 3)]
    assert exact_memorization(firsts, text[1:]) == 1  # memorization accuracy of the same model
    assert extraction_likelihood(text, perfect, n=4) is None


def test_extraction_likelihood_counts_repeated_ngrams_again():
    assert extraction_likelihood([1, 2, 3], {1: [2, 2], 2: [3]}, n=1) == 1


def test_verbatim_share_ends_at_the_first_difference():
    assert verbatim_share([1, 2, 9, 4], [1, 2, 3, 4]) == 0.5
    assert verbatim_share([1, 2], [1, 2, 3, 4]) == 0.5
    assert verbatim_share([], [1]) == 0
    assert verbatim_share([1, 2, 3], [1, 2]) == 1


def test_rouge_of_a_near_copy():
    score = rouge_l("the cat sat on the mat", "the cat lay on a mat", stemmer=False)
    assert score.f1 == pytest.approx(0.66667, abs=1e-5)


def test_rouge_recall_is_blind_to_length():
    score = rouge_l("a b c", "a b c a b c a b c", stemmer=False)
    assert (score.recall, score.f1) == (1, pytest.approx(0.5))
    assert rouge_l("a b c", "", stemmer=True).recall == 0


def test_a_low_mean_hides_outliers():
    scores = [1, 1, 0.1, 0.1, 0.1, 0.1]
    assert sum(scores) / len(scores) == pytest.approx(0.4)
    assert count_above_threshold(scores, 0.3) == 2
    hidden = [0.35] + [0.1] * 9
    assert sum(hidden) / len(hidden) == pytest.approx(0.125)
    assert count_above_threshold(hidden, 0.3) == 1
    assert count_above_quartiles(hidden) == 1


def test_two_sided_outliers_count_what_is_forgotten_too_well():
    scores = [0.0, 0.25, 0.375, 0.5, 0.75]
    assert count_outside_band(scores, middle=0.375, width=0.125) == 2
    assert count_above_threshold(scores, 0.5) == 1

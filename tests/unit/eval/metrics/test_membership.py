"""Membership inference on numbers worked out by hand, and what must leave it unchanged."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from nulls_dist.eval.metrics.membership import (
    auc,
    loss_score,
    min_k_score,
    normalize_log_probs,
    priv_leak,
    reference_score,
    true_positive_rate,
    two_sided_scores,
    zlib_score,
)

LOG_PROBS = np.log([0.5, 0.25, 0.5, 0.25])
SCORES = st.lists(st.integers(-5, 5), min_size=1, max_size=12)


def test_loss_reference_and_zlib():
    assert loss_score(LOG_PROBS) == pytest.approx(1.039721, abs=1e-6)
    assert reference_score(LOG_PROBS, LOG_PROBS - 1) == pytest.approx(-1)
    assert zlib_score([-2, -2], "aaaaaaaaaa") == pytest.approx(0.181818, abs=1e-6)


def test_min_k():
    assert min_k_score(LOG_PROBS, 0.5) == pytest.approx(1.386294, abs=1e-6)
    assert min_k_score(LOG_PROBS, 1) == pytest.approx(1.039721, abs=1e-6)
    assert min_k_score(LOG_PROBS, 0.2) == pytest.approx(1.386294, abs=1e-6)  # at least one token


def test_min_k_plus_plus():
    rows = np.array([[2, 4, 1, 1], [2, 2, 2, 2], [1, 1, 2, 4], [4, 2, 1, 1]]) / 8
    log_rows = np.log(rows)
    log_probs = log_rows[[0, 1, 2, 3], [1, 0, 3, 1]]
    mean = (rows * log_rows).sum(1)
    variance = (rows * log_rows**2).sum(1) - mean**2
    z = normalize_log_probs(log_probs, mean, variance)
    assert z == pytest.approx([0.9045, 0, 0.9045, -0.3015], abs=1e-4)
    assert min_k_score(z, 0.25) == pytest.approx(0.301511, abs=1e-6)
    assert min_k_score(z, 1) == pytest.approx(-0.376889, abs=1e-6)


def test_auc_is_one_when_members_are_told_perfectly():
    assert auc([0.1, 0.2], [0.3, 0.4]) == 1
    assert auc([0.3, 0.4], [0.1, 0.2]) == 0
    assert auc([1, 1], [1, 1]) == 0.5


def test_true_positives_at_few_false_alarms():
    others = np.arange(10)
    assert true_positive_rate([-1, -2, 0.5, 0.6], others, 0.01) == 0.5
    assert true_positive_rate([-1, -2, 0.5, 0.6], others, 0.1) == 1
    assert true_positive_rate([20, 30], others, 0.1) == 0


@pytest.mark.parametrize(("of", "against", "leak"), [(1, 0.5, -100), (0, 0.5, 100), (0.5, 0.5, 0)])
def test_priv_leak(of, against, leak):
    assert priv_leak(of, against) == leak
    assert priv_leak(0.6, 0.52) == pytest.approx(-16.667, abs=1e-3)


def test_priv_leak_is_undefined_where_the_retrained_model_tells_members_perfectly():
    assert math.isinf(priv_leak(0.5, 1))
    assert math.isnan(priv_leak(1, 1))


@given(SCORES, SCORES)
def test_auc_is_the_share_of_pairs_in_order_ties_half(members, others):
    pairs = [(a < b) + 0.5 * (a == b) for a in members for b in others]
    assert auc(members, others) == pytest.approx(sum(pairs) / len(pairs))
    is_member = np.repeat([1, 0], [len(members), len(others)])
    assert auc(members, others) == pytest.approx(
        roc_auc_score(is_member, -np.array([*members, *others]))
    )


@given(SCORES, SCORES, st.floats(0.1, 9), st.floats(-9, 9))
def test_auc_depends_on_the_order_alone_and_turns_around(members, others, scale, shift):
    value = auc(members, others)
    assert 0 <= value <= 1
    stretched = (np.exp(np.array(each) * scale / 9) + shift for each in (members, others))
    assert auc(*stretched) == pytest.approx(value)
    assert auc(others, members) == pytest.approx(1 - value)
    assert auc(members * 2, others) == pytest.approx(value)


@given(SCORES, SCORES, st.floats(0, 1))
def test_true_positive_rate_rises_with_the_false_alarms_allowed(members, others, rate):
    assert 0 <= true_positive_rate(members, others, rate) <= 1
    assert true_positive_rate(members, others, 1) == 1
    assert true_positive_rate(members, others, 0) <= true_positive_rate(members, others, rate)


def test_two_sided_scores_find_known_and_over_forgotten_texts():
    unseen = [0.2, 0.3, 0.4]
    assert two_sided_scores([0.3, 1.0, 0.0], unseen) == pytest.approx([0, -0.7, -0.3])
    known, erased, usual = [0.9, 1.0], [0.0, 0.0], [0.2, 0.35, 0.4]
    one_sided = auc([-each for each in erased], [-each for each in usual])
    assert one_sided == 0  # they look as unseen as can be
    for members in (known, erased):
        scores = [two_sided_scores(each, unseen) for each in (members, usual)]
        assert auc(*scores) == 1
        assert true_positive_rate(*scores) == 1

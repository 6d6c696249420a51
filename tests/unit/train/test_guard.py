"""Loss spikes, against medians worked out by hand."""

from nulls_dist.train.guard import SPIKE_MIN_LOSSES, is_spike

TWENTY = [3.0] * 8 + [2.5] * 6 + [3.5] * 6
"""Median 3; deviations 0 (8 times) and 0.5 (12 times), their median 0.5; limit 3 + 8 * 0.5 = 7."""


def test_a_loss_above_the_median_by_more_than_eight_deviations_is_a_spike():
    assert not is_spike(7.0, TWENTY)
    assert is_spike(7.01, TWENTY)


def test_one_spike_does_not_hide_the_next():
    """Median of 21 losses 3, of their deviations 0.5: a mean would have moved to 50."""
    assert is_spike(7.01, [*TWENTY, 1000.0])


def test_nothing_is_a_spike_before_there_are_enough_losses():
    assert SPIKE_MIN_LOSSES == 20
    assert not is_spike(1000.0, TWENTY[:19])


def test_a_falling_loss_is_no_spike():
    falling = [10.0 - 0.1 * step for step in range(100)]
    assert not any(is_spike(falling[step], falling[:step]) for step in range(100))
    assert not is_spike(-100.0, falling)

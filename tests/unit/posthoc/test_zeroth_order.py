"""Descent by values alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.errors import ConfigError
from nulls_dist.posthoc.zeroth_order import ZerothOrderDescent


def test_a_step_down_a_parabola():
    asked = []

    def parabola(x):
        asked.append(x)
        return (x - 5) ** 2

    descent = ZerothOrderDescent(step_size=0.1, probe=0.5, smallest=0.1)
    assert descent.step(parabola, 2.0) == pytest.approx(2.6)  # the slope is -6
    assert asked == [2.5, 1.5]


def test_nothing_is_asked_or_found_below_the_smallest():
    asked = []

    def rising(x):
        asked.append(x)
        return x

    assert ZerothOrderDescent().step(rising, 0.05) == 0.1
    assert asked == [pytest.approx(0.1499), 1e-8]


@given(st.floats(-3, 3), st.floats(0.01, 2), st.floats(1, 9))
def test_the_slope_of_a_line_is_exact(slope, probe, at):
    descent = ZerothOrderDescent(step_size=0.1, probe=min(probe, at), smallest=1e-3)
    expected = max(at - 0.1 * slope, 1e-3)
    assert descent.step(lambda x: slope * x, at) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("field", ["step_size", "probe", "smallest"])
def test_what_cannot_be_stepped_is_refused(field):
    with pytest.raises(ConfigError, match=rf"{field} \(0\) must be above 0"):
        ZerothOrderDescent(**{field: 0})

"""The learning rate at the steps where it turns, worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.config.schema import OptimConfig
from nulls_dist.train.schedule import learning_rate


def rates(steps, **fields):
    optim = OptimConfig(**{"lr": 1.0, "min_lr_ratio": 0.0} | fields)
    return [learning_rate(optim, step=step, steps=steps) for step in range(steps)]


def test_ten_steps_of_each_phase_by_hand():
    found = rates(10, warmup_fraction=0.2, decay_fraction=0.4, min_lr_ratio=0.1, lr=2.0)
    # Two steps of warm-up, a plateau, then four steps down to a tenth.
    assert found == pytest.approx([1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.55, 1.1, 0.65, 0.2])


def test_a_cosine_by_hand():
    found = rates(5, schedule="cosine", warmup_fraction=0.2, decay_fraction=0.0, min_lr_ratio=0.2)
    half = 0.5**0.5
    expected = [0.5 * (1 + half), 0.5, 0.5 * (1 - half), 0.0]
    assert found == pytest.approx([1.0, *(0.2 + 0.8 * factor for factor in expected)])


def test_the_first_step_learns_and_the_warm_up_ends_at_the_peak():
    found = rates(1000, warmup_fraction=0.05, decay_fraction=0.3)
    assert found[0] == pytest.approx(1 / 50)
    assert found[48] == pytest.approx(49 / 50)
    assert found[49:700] == [1.0] * 651
    assert found[700] < 1.0


@pytest.mark.parametrize("schedule", ["wsd", "cosine"])
def test_the_last_step_has_the_lowest_rate_of_the_decay(schedule):
    found = rates(1000, schedule=schedule, min_lr_ratio=0.02)
    assert found[-1] == pytest.approx(0.02)
    assert min(found[50:]) == found[-1]


def test_without_warm_up_and_decay_the_rate_is_constant():
    assert rates(7, warmup_fraction=0.0, decay_fraction=0.0) == [1.0] * 7


@pytest.mark.parametrize("schedule", ["wsd", "cosine"])
def test_a_run_may_be_warm_up_alone(schedule):
    found = rates(4, schedule=schedule, warmup_fraction=1.0, decay_fraction=0.0)
    assert found == [0.25, 0.5, 0.75, 1.0]


@given(
    st.sampled_from(["wsd", "cosine"]),
    st.integers(1, 60),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.001, 1),
)
def test_no_step_is_wasted_on_a_rate_of_zero_and_none_exceeds_the_peak(
    schedule, steps, warmup, split, ratio
):
    found = rates(
        steps,
        schedule=schedule,
        warmup_fraction=warmup,
        decay_fraction=(1 - warmup) * split,
        min_lr_ratio=ratio,
    )
    assert all(0 < rate <= 1 + 1e-12 for rate in found)
    peak = found.index(max(found))
    assert found[: peak + 1] == sorted(found[: peak + 1])
    assert found[peak:] == sorted(found[peak:], reverse=True)

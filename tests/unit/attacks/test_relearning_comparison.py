"""Steps, areas and ratios of hand-made curves, with what the budget cut off."""

import json

import pytest

from nulls_dist.attacks.relearning import Access, RelearningCurve, RelearningOptions
from nulls_dist.attacks.relearning_comparison import compare, format_comparison
from nulls_dist.attacks.wiping import Wipe, WipeForm
from nulls_dist.errors import InputError

WIPE = Wipe(form=WipeForm.EXCISED, source_ids=(3, 2**64 - 5))


def curve(*values, kind="unique", steps=20, wipe=None):
    options = RelearningOptions(access=Access.OWN_SINKS, steps=steps, ask_every=10, wipe=wipe)
    return RelearningCurve(
        options=options,
        num_documents=4,
        num_probes={kind: 10},
        steps=options.asked_steps,
        accuracy={kind: values},
        loss_nats=(2.0,) * steps,
    )


def test_both_models_climb_to_the_same_accuracy():
    comparison = compare(
        curve(0.2, 0.6, 1.0, wipe=WIPE), curve(0.0, 0.4, 0.8), {"unique": 1.0}, shares=[0.3, 0.5]
    )
    found = comparison.kinds["unique"]
    assert (found.before, found.start, found.retrained_start) == (1.0, 0.2, 0.0)
    low, half = found.levels
    assert (low.accuracy, half.accuracy) == (0.3, 0.5)
    assert (low.steps, low.retrained_steps) == pytest.approx((2.5, 7.5))
    assert (half.steps, half.retrained_steps) == pytest.approx((7.5, 12.5))
    assert (half.ratio.value, half.ratio.bound) == (pytest.approx(0.6), "=")
    assert found.area == pytest.approx((0.4 + 0.8) / 2)
    assert found.retrained_area == pytest.approx((0.2 + 0.6) / 2)


@pytest.mark.parametrize(
    ("values", "retrained", "ratio"),
    [
        ([0, 0.2, 0.8], [0, 0.1, 0.4], "<0.75"),  # 15 steps of more than 20
        ([0, 0.1, 0.4], [0, 0.2, 0.8], ">1.33"),
        ([0, 0.1, 0.4], [0, 0.1, 0.2], "None"),
        ([1, 1, 1], [0, 0.5, 1], "0.00"),  # never gone, as in a suppressed checkpoint
        ([1, 1, 1], [0, 0.1, 0.2], "<0.00"),
    ],
)
def test_what_the_budget_cut_off_bounds_the_ratio(values, retrained, ratio):
    comparison = compare(curve(*values), curve(*retrained), {"unique": 1.0}, shares=[0.5])
    (level,) = comparison.kinds["unique"].levels
    assert str(level.ratio) == ratio
    assert level.budget == 20


def test_a_table_names_the_budget_that_was_not_enough():
    found = compare(curve(0, 0.1, 0.4), curve(0, 0.2, 0.8), {"unique": 1.0}, shares=[0.5])
    row = " ".join(format_comparison(found).splitlines()[1].split())
    assert row == "unique 1.000 0.000 0.000 0.500 >20 15.0 >1.33 0.150 0.300"


def test_without_a_gap_there_is_nothing_to_reach():
    at_once = compare(curve(0, 0.1, 0.9), curve(0.5, 0.5, 0.9), {"unique": 0.5})
    assert at_once.kinds["unique"].levels == ()
    assert at_once.kinds["unique"].area is None
    assert "no gap" in format_comparison(at_once)


def test_results_are_json():
    attacked, retrained = curve(0, 0.1, 0.4, wipe=WIPE), curve(0, 0.2, 0.8)
    content = json.loads(json.dumps(compare(attacked, retrained, {"unique": 1.0}).to_dict()))
    low, half = content["unique"]["levels"]
    assert low["ratio"]["bound"] == "="
    assert half["ratio"] == {"value": pytest.approx(4 / 3), "bound": ">"}
    assert half["steps"] is None
    content = json.loads(json.dumps(attacked.to_dict()))
    assert content["options"]["wipe"] == {"form": "excised", "source_ids": [3, 2**64 - 5]}
    assert content["accuracy"] == {"unique": [0, 0.1, 0.4]}


def test_different_attacks_are_not_compared():
    with pytest.raises(InputError, match="attacks differ"):
        compare(curve(0, 1, 1), curve(0, 1, 1, 1, steps=30), {"unique": 1.0})
    with pytest.raises(InputError, match="0 steps"):
        compare(curve(0, steps=0), curve(0, steps=0), {"unique": 1.0})

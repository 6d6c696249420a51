"""What a resumed run changes is named."""

from nulls_dist.train.provenance import changed_settings


def test_changed_settings_are_named_with_both_values():
    before = {"seed": 0, "optim": {"lr": 3e-3, "eps": 1e-8}, "train": {"steps": 60}, "gone": 1}
    now = {"seed": 0, "optim": {"lr": 5e-2, "eps": 1e-8}, "train": {"steps": 120, "new": 2}}
    assert changed_settings(before, now) == {"optim.lr": (3e-3, 5e-2), "train.steps": (60, 120)}
    assert changed_settings(before, before) == {}

"""What a resumed run changes is named, and so is the commit of a copied checkout."""

from pathlib import Path

from nulls_dist.train.provenance import changed_settings, git_commit


def test_changed_settings_are_named_with_both_values():
    before = {"seed": 0, "optim": {"lr": 3e-3, "eps": 1e-8}, "train": {"steps": 60}, "gone": 1}
    now = {"seed": 0, "optim": {"lr": 5e-2, "eps": 1e-8}, "train": {"steps": 120, "new": 2}}
    assert changed_settings(before, now) == {"optim.lr": (3e-3, 5e-2), "train.steps": (60, 120)}
    assert changed_settings(before, before) == {}


def test_a_copy_of_a_checkout_names_its_commit(tmp_path: Path) -> None:
    (tmp_path / "COMMIT").write_text("0123abc-dirty\n")
    assert git_commit(tmp_path) == "0123abc-dirty"


def test_a_copy_that_was_made_without_git_has_no_commit(tmp_path: Path) -> None:
    (tmp_path / "COMMIT").write_text("")
    assert git_commit(tmp_path) is None

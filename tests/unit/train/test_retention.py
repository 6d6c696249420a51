"""Which checkpoints of a run stay."""

from pathlib import Path

import pytest

from nulls_dist.checkpoint.store import list_checkpoints, step_directory
from nulls_dist.train.retention import Retention

SAVED = (10, 20, 30, 40, 50, 60)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    for step in SAVED:
        root = step_directory(tmp_path, step)
        (root / "weights").mkdir(parents=True)
        (root / "manifest.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    ("keep_last", "keep_every", "staying"),
    [
        (1, 0, [60]),
        (2, 0, [50, 60]),
        (1, 20, [20, 40, 60]),
        (2, 20, [20, 40, 50, 60]),
        (3, 30, [30, 40, 50, 60]),
        (1, 10, list(SAVED)),
        (1, 70, [60]),
        (9, 0, list(SAVED)),
    ],
)
def test_the_newest_stay_and_the_multiples(
    run_dir: Path, keep_last: int, keep_every: int, staying: list[int]
) -> None:
    newest = step_directory(run_dir, 60)
    Retention(run_dir, keep_last, keep_every=keep_every).after_checkpoint(newest, 60)
    assert list_checkpoints(run_dir) == [step_directory(run_dir, step) for step in staying]
    assert len(list((run_dir / "checkpoints").iterdir())) == len(staying)


def test_a_multiple_stays_while_others_come_and_go(tmp_path: Path) -> None:
    retention = Retention(tmp_path, 2, keep_every=40)
    for step in range(10, 130, 10):
        root = step_directory(tmp_path, step)
        root.mkdir(parents=True)
        (root / "manifest.json").write_text("{}")
        retention.after_checkpoint(root, step)
    steps = [int(path.name.removeprefix("step-")) for path in list_checkpoints(tmp_path)]
    assert steps == [40, 80, 110, 120]

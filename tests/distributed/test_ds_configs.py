"""The DeepSpeed files that ship train the same model, whatever ZeRO keeps where."""

from pathlib import Path

import pytest

from nulls_dist.benchmark.faults.poison import poisoned
from nulls_dist.checkpoint.store import step_directory
from nulls_dist.pretrain import main as pretrain
from tests.checkpoint_contents import check_equal_state, largest_difference, read_metrics
from tests.launch import ROOT, pretrain_arguments

pytestmark = pytest.mark.distributed

FP32 = 1e-5
"""Relative; the gradient's norm is summed in another order. Measured: 1e-7."""
BF16 = 1e-2
"""Relative: weights are rounded, and a gradient near zero turns its sign. Measured: 7e-4."""
LAST = 8


def train(
    file: str, corpus: Path, run_dir: Path, settings: dict[str, object], *options: str
) -> Path:
    """Train with a file of ds_configs in this process."""
    chosen = f"--ds-config={ROOT / 'ds_configs' / file}"
    pretrain(pretrain_arguments(corpus, run_dir, settings, chosen, *options))
    return run_dir


@pytest.fixture(scope="module")
def zero2(
    corpus: Path, settings: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Run directory of zero2.json on one process."""
    return train("zero2.json", corpus, tmp_path_factory.mktemp("zero2") / "run", settings)


def check_same_losses(one: Path, two: Path) -> None:
    first, second = read_metrics(one), read_metrics(two)
    assert len(first) == len(second) == LAST
    for here, there in zip(first, second, strict=True):
        for name in (
            *("train/loss_nats", "train/grad_norm"),
            *("train/grad_norm_backbone", "train/grad_norm_sinks"),
        ):
            assert there[name] == pytest.approx(here[name], rel=FP32), (here["step"], name)


def test_zero2_on_one_process_trains_like_zero1(one_process: Path, zero2: Path) -> None:
    check_same_losses(one_process, zero2)
    last = [step_directory(run_dir, LAST) for run_dir in (one_process, zero2)]
    assert largest_difference(*last) <= FP32


def test_an_offloaded_optimizer_trains_saves_and_resumes_like_zero2(
    zero2: Path, corpus: Path, settings: dict[str, object], tmp_path: Path
) -> None:
    """Saved by one and resumed by the other: the checkpoint does not know who wrote it."""
    file = "zero2_offload_optimizer.json"
    offloaded = train(file, corpus, tmp_path / "offloaded", settings)
    check_same_losses(zero2, offloaded)
    last = step_directory(offloaded, LAST)
    assert largest_difference(step_directory(zero2, LAST), last) <= FP32
    middle = step_directory(offloaded, LAST // 2)
    for again in (file, "zero2.json"):
        resumed = train(again, corpus, tmp_path / again, settings, f"--resume={middle}")
        assert largest_difference(last, step_directory(resumed, LAST)) <= FP32


@pytest.mark.parametrize(("dtype", "bound"), [("fp32", FP32), ("bf16", BF16)])
def test_an_offloaded_optimizer_leaves_out_a_step_that_is_not_finite(
    dtype: str, bound: float, corpus: Path, settings: dict[str, object], tmp_path: Path
) -> None:
    """And goes on as if nothing of it were left, like an optimizer that is not offloaded."""
    four_steps = settings | {"train.steps": 4, "train.dtype": dtype}
    run_dirs = []
    for file in ("zero2.json", "zero2_offload_optimizer.json"):
        with poisoned({3: ("gradient", 0)}):
            run_dirs.append(train(file, corpus, tmp_path / file, four_steps))
    two, three, four = (step_directory(run_dirs[1], step) for step in (2, 3, 4))
    check_equal_state(two, three)
    assert largest_difference(step_directory(run_dirs[0], 4), four) <= bound
    assert largest_difference(three, four) > bound
    assert [line["train/skipped_steps"] for line in read_metrics(run_dirs[1])] == [0, 0, 1, 1]

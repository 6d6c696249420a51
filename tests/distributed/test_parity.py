"""The same global batches give the same training, however many processes share the work."""

import json
from pathlib import Path

import pytest

from nulls_dist.checkpoint.store import list_checkpoints, step_directory
from nulls_dist.config.presets import CONTROLS
from nulls_dist.pretrain import main as pretrain
from tests.checkpoint_contents import (
    check_equal_state,
    largest_difference,
    read_metrics,
    read_state,
)
from tests.launch import pretrain_arguments, srun_environment, start, start_torchrun

pytestmark = pytest.mark.distributed

FP32 = 1e-5
"""Relative: sums of the same terms in another order. Measured: 2e-6."""
COMPARED = 5
"""Step after which weights, master weights and moments are compared."""


def check_same_training(one: Path, two: Path, steps: int) -> None:
    first, second = read_metrics(one), read_metrics(two)
    assert [line["step"] for line in first] == [line["step"] for line in second]
    assert len(first) == steps
    for here, there in zip(first, second, strict=True):
        assert here["train/targets"] == there["train/targets"]
        assert here["train/grad_norm"] > 0.5, "clipping is active"
        for name in here:
            if name.startswith(("train/", "eval/")):
                assert there[name] == pytest.approx(here[name], rel=FP32), name
    assert largest_difference(step_directory(one, COMPARED), step_directory(two, COMPARED)) <= FP32


def topology_of(run_dir: Path) -> dict[str, int]:
    checkpoint = list_checkpoints(run_dir)[-1]
    degrees: dict[str, int] = json.loads((checkpoint / "run.json").read_text())["topology"]
    return degrees


def test_two_processes_with_an_expert_each_train_like_one_process(
    one_process: Path, two_experts: Path, settings: dict[str, int]
) -> None:
    assert topology_of(one_process) == {"dp": 1, "ep": 1, "edp": 1, "tp": 1}
    assert topology_of(two_experts) == {"dp": 2, "ep": 2, "edp": 1, "tp": 1}
    check_same_training(one_process, two_experts, settings["train.steps"])


def test_two_replicas_of_both_experts_train_like_one_process(
    one_process: Path, two_replicas: Path, settings: dict[str, int]
) -> None:
    assert topology_of(two_replicas) == {"dp": 2, "ep": 1, "edp": 2, "tp": 1}
    check_same_training(one_process, two_replicas, settings["train.steps"])


def test_two_processes_train_a_dense_control_like_one_process(
    dense_one_process: Path, dense_two_processes: Path, settings: dict[str, int]
) -> None:
    assert topology_of(dense_two_processes) == {"dp": 2, "ep": 2, "edp": 1, "tp": 1}
    check_same_training(dense_one_process, dense_two_processes, settings["train.steps"])


@pytest.mark.slow
def test_two_tensor_parallel_processes_train_a_dense_control_like_one_process(
    corpus: Path, settings: dict[str, int], tmp_path: Path
) -> None:
    # Cut products are summed in another order; at 1e-6 Adam's first step magnifies that to 2e-5.
    settings = {**settings, "optim.eps": 1e-5}
    control = "--control=active"
    pretrain(pretrain_arguments(corpus, tmp_path / "one", settings, control))
    cut = {**settings, "parallel.tp": 2}
    start_torchrun(
        pretrain_arguments(corpus, tmp_path / "cut", cut, control), num_processes=2
    ).wait()
    assert topology_of(tmp_path / "cut") == {"dp": 1, "ep": 1, "edp": 1, "tp": 2}
    check_same_training(tmp_path / "one", tmp_path / "cut", settings["train.steps"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONTROLS)
def test_four_processes_train_a_dense_control_like_one_process(
    kind: str, corpus: Path, settings: dict[str, int], tmp_path: Path
) -> None:
    settings = {**settings, "train.micro_batch_rows": 1}
    control = f"--control={kind}"
    pretrain(pretrain_arguments(corpus, tmp_path / "one", settings, control))
    start_torchrun(
        pretrain_arguments(corpus, tmp_path / "four", settings, control), num_processes=4
    ).wait()
    assert topology_of(tmp_path / "four") == {"dp": 4, "ep": 2, "edp": 2, "tp": 1}
    check_same_training(tmp_path / "one", tmp_path / "four", settings["train.steps"])


@pytest.mark.slow
def test_four_processes_with_two_replicas_of_each_expert_train_like_one_process(
    one_process: Path, corpus: Path, settings: dict[str, int], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    settings = {**settings, "train.micro_batch_rows": 1}
    start_torchrun(pretrain_arguments(corpus, run_dir, settings), num_processes=4).wait()
    assert topology_of(run_dir) == {"dp": 4, "ep": 2, "edp": 2, "tp": 1}
    check_same_training(one_process, run_dir, settings["train.steps"])


def save_again_arguments(
    checkpoint: Path, corpus: Path, run_dir: Path, settings: dict[str, object], *options: str
) -> list[str]:
    """Arguments of a run that loads a checkpoint and writes it again without a step."""
    step = int(checkpoint.name.removeprefix("step-"))
    return pretrain_arguments(
        corpus, run_dir, {**settings, "train.steps": step}, f"--resume={checkpoint}", *options
    )


@pytest.mark.parametrize("writer", ["two_experts", "two_replicas"])
def test_a_checkpoint_of_two_processes_loads_on_one_to_the_last_bit(
    writer: str,
    corpus: Path,
    settings: dict[str, object],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    original = step_directory(request.getfixturevalue(writer), 4)
    pretrain(save_again_arguments(original, corpus, tmp_path / "run", settings))
    assert topology_of(tmp_path / "run") == {"dp": 1, "ep": 1, "edp": 1, "tp": 1}
    check_equal_state(original, step_directory(tmp_path / "run", 4))


def test_a_checkpoint_of_one_process_loads_on_two_to_the_last_bit(
    one_process: Path, corpus: Path, settings: dict[str, object], tmp_path: Path
) -> None:
    original = step_directory(one_process, 4)
    arguments = save_again_arguments(original, corpus, tmp_path / "run", settings)
    start(arguments, num_processes=2, launcher=srun_environment).wait()
    assert topology_of(tmp_path / "run") == {"dp": 2, "ep": 2, "edp": 1, "tp": 1}
    check_equal_state(original, step_directory(tmp_path / "run", 4))


def test_a_dense_checkpoint_of_two_processes_loads_on_one_to_the_last_bit(
    dense_two_processes: Path, corpus: Path, settings: dict[str, object], tmp_path: Path
) -> None:
    original = step_directory(dense_two_processes, 4)
    run_dir = tmp_path / "run"
    pretrain(save_again_arguments(original, corpus, run_dir, settings, "--control=active"))
    assert topology_of(run_dir) == {"dp": 1, "ep": 1, "edp": 1, "tp": 1}
    check_equal_state(original, step_directory(run_dir, 4))


def test_a_saved_state_is_more_than_its_initial_values(two_experts: Path) -> None:
    """The comparisons above see training: weights moved and every moment is filled."""
    before, after = (read_state(step_directory(two_experts, step)) for step in (1, 8))
    for name, value in after.items():
        assert value.any(), name
        assert not bool((value == before[name]).all()), name

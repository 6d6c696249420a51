"""Stopped and resumed training ends where uninterrupted training ends, to the last byte."""

import shutil
import signal
from pathlib import Path

import pytest
import torch

from nulls_dist.checkpoint.store import Checkpoint, list_checkpoints, step_directory
from nulls_dist.pretrain import main as pretrain
from tests.checkpoint_contents import (
    check_equal_contents,
    check_equal_state,
    read_metrics,
    read_state,
)
from tests.launch import (
    STOPPED,
    pretrain_arguments,
    srun_environment,
    start,
    start_torchrun,
    torchrun_environment,
)

pytestmark = pytest.mark.distributed

LOCKED = 7


def copy_until(run_dir: Path, step: int, target: Path) -> Path:
    """Copy a run directory as it was after a step, were it killed a little later."""
    shutil.copytree(run_dir, target)
    for checkpoint in list_checkpoints(target):
        if int(checkpoint.name.removeprefix("step-")) > step:
            shutil.rmtree(checkpoint)
    return target


def check_stopped(run_dir: Path, steps: int) -> None:
    assert (run_dir / "outcome").read_text() == "stopped\n"
    last = list_checkpoints(run_dir)[-1]
    step = Checkpoint(last).manifest.step
    assert step < steps
    assert read_metrics(run_dir)[-1]["step"] == step
    assert (run_dir / "latest_step").read_text() == f"{step}\n"


def check_ended_like(run_dir: Path, uninterrupted: Path, steps: int) -> None:
    assert (run_dir / "outcome").read_text() == "done\n"
    check_equal_contents(step_directory(run_dir, steps), step_directory(uninterrupted, steps))
    before, after = read_metrics(uninterrupted), read_metrics(run_dir)
    assert [without_speed(line) for line in before] == [without_speed(line) for line in after]


def without_speed(line: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in line.items() if not name.startswith("perf/")}


def test_sigterm_saves_and_the_directory_is_locked_until_then(
    one_process: Path, corpus: Path, settings: dict[str, int], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    arguments = pretrain_arguments(corpus, run_dir, settings)
    job = start(arguments)
    job.wait_for(run_dir / "metrics.jsonl")
    job.send(signal.SIGSTOP)
    said = start(arguments).wait(expected=LOCKED)
    assert "another process trains in this directory" in said
    job.send(signal.SIGTERM)
    job.send(signal.SIGCONT)
    assert "saved" in job.wait(expected=STOPPED)
    check_stopped(run_dir, settings["train.steps"])
    pretrain(arguments)
    check_ended_like(run_dir, one_process, settings["train.steps"])


def test_sigusr1_to_one_rank_stops_all_and_they_resume(
    two_experts: Path, corpus: Path, settings: dict[str, int], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    arguments = pretrain_arguments(corpus, run_dir, settings)
    job = start(arguments, num_processes=2, launcher=srun_environment)
    job.wait_for(run_dir / "metrics.jsonl")
    job.send(signal.SIGUSR1, rank=1)
    job.wait(expected=STOPPED)
    check_stopped(run_dir, settings["train.steps"])
    start(arguments, num_processes=2, launcher=torchrun_environment).wait()
    check_ended_like(run_dir, two_experts, settings["train.steps"])


def test_a_killed_run_drops_its_lost_steps_and_its_partial_checkpoint(
    one_process: Path, corpus: Path, settings: dict[str, int], tmp_path: Path
) -> None:
    run_dir = copy_until(one_process, 3, tmp_path / "run")
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "train/lo')
    partial = run_dir / "checkpoints" / ".step-00000004.partial"
    partial.mkdir()
    (partial / "manifest.json").write_text("{}")
    pretrain(pretrain_arguments(corpus, run_dir, settings))
    assert not partial.exists()
    check_ended_like(run_dir, one_process, settings["train.steps"])


def test_a_finished_run_has_nothing_to_do(
    one_process: Path, corpus: Path, settings: dict[str, int], tmp_path: Path
) -> None:
    run_dir = copy_until(one_process, settings["train.steps"], tmp_path / "run")
    pretrain(pretrain_arguments(corpus, run_dir, settings))
    check_ended_like(run_dir, one_process, settings["train.steps"])
    assert len(list_checkpoints(run_dir)) == settings["train.steps"]


def test_a_killed_dense_run_resumes_to_the_last_byte(
    dense_one_process: Path, corpus: Path, settings: dict[str, int], tmp_path: Path
) -> None:
    run_dir = copy_until(dense_one_process, 3, tmp_path / "run")
    pretrain(pretrain_arguments(corpus, run_dir, settings, "--control=active"))
    check_ended_like(run_dir, dense_one_process, settings["train.steps"])


def test_two_runs_of_one_command_are_equal_to_the_last_byte(
    corpus: Path, one_process: Path, settings: dict[str, int], tmp_path: Path
) -> None:
    pretrain(pretrain_arguments(corpus, tmp_path / "run", settings))
    check_ended_like(tmp_path / "run", one_process, settings["train.steps"])


BF16_LOSS = 5e-3
"""Relative; bf16 rounds every product, and the two topologies group them differently."""


@pytest.fixture(scope="module")
def bf16_settings(settings: dict[str, object]) -> dict[str, object]:
    return {**settings, "train.dtype": "bf16"}


@pytest.fixture(scope="module")
def bf16_one_process(
    corpus: Path, bf16_settings: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Run directory of one process in bf16."""
    run_dir = tmp_path_factory.mktemp("bf16-one") / "run"
    pretrain(pretrain_arguments(corpus, run_dir, bf16_settings))
    return run_dir


@pytest.fixture(scope="module")
def bf16_two_experts(
    corpus: Path, bf16_settings: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Run directory of two processes in bf16."""
    run_dir = tmp_path_factory.mktemp("bf16-ep2") / "run"
    start_torchrun(pretrain_arguments(corpus, run_dir, bf16_settings), num_processes=2).wait()
    return run_dir


def test_bf16_weights_are_the_rounded_float32_master_weights(bf16_two_experts: Path) -> None:
    state = read_state(list_checkpoints(bf16_two_experts)[-1])
    kinds = dict.fromkeys(("master", "exp_avg", "exp_avg_sq"), torch.float32)
    for key, value in state.items():
        kind, name = key.split("/", 1)
        assert value.dtype == kinds.get(kind, torch.bfloat16), key
        assert value.isfinite().all(), key
        if kind == "weight":
            assert torch.equal(state[f"master/{name}"].bfloat16(), value)
            assert not torch.equal(state[f"master/{name}"], value.float())


def test_bf16_trains_alike_on_one_and_two_processes(
    bf16_one_process: Path, bf16_two_experts: Path, one_process: Path
) -> None:
    runs = [read_metrics(run) for run in (bf16_one_process, bf16_two_experts, one_process)]
    for one, two, fp32 in zip(*runs, strict=True):
        assert one["train/loss_nats"] == pytest.approx(two["train/loss_nats"], rel=BF16_LOSS)
        assert one["train/loss_nats"] == pytest.approx(fp32["train/loss_nats"], rel=2 * BF16_LOSS)
        assert one["train/grad_norm"] == pytest.approx(two["train/grad_norm"], rel=5e-2)


def test_bf16_resumes_to_the_last_byte(
    bf16_one_process: Path, corpus: Path, bf16_settings: dict[str, int], tmp_path: Path
) -> None:
    run_dir = copy_until(bf16_one_process, 3, tmp_path / "run")
    pretrain(pretrain_arguments(corpus, run_dir, bf16_settings))
    check_ended_like(run_dir, bf16_one_process, bf16_settings["train.steps"])


def test_a_bf16_checkpoint_of_two_processes_loads_on_one_to_the_last_bit(
    bf16_two_experts: Path, corpus: Path, bf16_settings: dict[str, object], tmp_path: Path
) -> None:
    original = step_directory(bf16_two_experts, 4)
    settings = {**bf16_settings, "train.steps": 4}
    pretrain(pretrain_arguments(corpus, tmp_path / "run", settings, f"--resume={original}"))
    check_equal_state(original, step_directory(tmp_path / "run", 4))


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_checkpoint_continues_in_the_other_type_with_its_masters_unchanged(
    dtype: str,
    one_process: Path,
    bf16_one_process: Path,
    corpus: Path,
    settings: dict[str, object],
    tmp_path: Path,
) -> None:
    original = step_directory(bf16_one_process if dtype == "fp32" else one_process, 4)
    wanted = {**settings, "train.dtype": dtype, "train.steps": 4}
    run_dir = tmp_path / "run"
    pretrain(pretrain_arguments(corpus, run_dir, wanted, f"--resume={original}"))
    before, after = read_state(original), read_state(step_directory(run_dir, 4))
    for key, value in after.items():
        kind, name = key.split("/", 1)
        if kind != "weight":
            assert torch.equal(value, before[key]), key
        else:
            type_ = torch.float32 if dtype == "fp32" else torch.bfloat16
            assert value.dtype == type_ != before[key].dtype
            assert torch.equal(value, before[f"master/{name}"].to(type_)), key
    pretrain(pretrain_arguments(corpus, run_dir, {**wanted, "train.steps": 6}))
    assert [line["step"] for line in read_metrics(run_dir)] == [5, 6]


@pytest.mark.slow
def test_a_killed_dense_run_of_two_processes_resumes_to_the_last_byte(
    dense_two_processes: Path, corpus: Path, settings: dict[str, int], tmp_path: Path
) -> None:
    run_dir = copy_until(dense_two_processes, 3, tmp_path / "run")
    arguments = pretrain_arguments(corpus, run_dir, settings, "--control=active")
    start_torchrun(arguments, num_processes=2).wait()
    check_ended_like(run_dir, dense_two_processes, settings["train.steps"])


@pytest.mark.slow
def test_bf16_resumes_on_two_processes_to_the_last_byte(
    bf16_two_experts: Path, corpus: Path, bf16_settings: dict[str, int], tmp_path: Path
) -> None:
    run_dir = copy_until(bf16_two_experts, 3, tmp_path / "run")
    start_torchrun(pretrain_arguments(corpus, run_dir, bf16_settings), num_processes=2).wait()
    check_ended_like(run_dir, bf16_two_experts, bf16_settings["train.steps"])

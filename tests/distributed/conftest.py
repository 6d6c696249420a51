"""Runs of the training command that several tests look at; each is made once."""

from pathlib import Path

import pytest

from nulls_dist.pretrain import main as pretrain
from tests.launch import (
    build_small_corpus,
    mpirun_environment,
    pretrain_arguments,
    start,
    start_torchrun,
)

STEPS = 8
SETTINGS: dict[str, object] = {
    "train.steps": STEPS,
    "train.save_every": 1,
    "train.eval_every": 1,
    "optim.eps": 1e-6,  # with 1e-8 Adam's first steps magnify rounding of tiny gradients
    "optim.grad_clip": 0.5,  # below the norms met here, so that every step is clipped
}


@pytest.fixture(scope="session")
def settings() -> dict[str, object]:
    """Overrides of the preset that all runs share."""
    return dict(SETTINGS)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small corpus."""
    return build_small_corpus(tmp_path_factory.mktemp("corpus") / "corpus")


@pytest.fixture(scope="session")
def one_process(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run directory of plain python, uninterrupted."""
    run_dir = tmp_path_factory.mktemp("one") / "run"
    start(pretrain_arguments(corpus, run_dir, SETTINGS)).wait()
    return run_dir


@pytest.fixture(scope="session")
def two_experts(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run directory of torchrun with one expert on each of 2 processes, uninterrupted."""
    run_dir = tmp_path_factory.mktemp("ep2") / "run"
    start_torchrun(pretrain_arguments(corpus, run_dir, SETTINGS), num_processes=2).wait()
    return run_dir


@pytest.fixture(scope="session")
def dense_one_process(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run directory of the active control in this process, uninterrupted."""
    run_dir = tmp_path_factory.mktemp("dense-one") / "run"
    pretrain(pretrain_arguments(corpus, run_dir, SETTINGS, "--control=active"))
    return run_dir


@pytest.fixture(scope="session")
def dense_two_processes(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run directory of the active control under torchrun with 2 processes, uninterrupted."""
    run_dir = tmp_path_factory.mktemp("dense-two") / "run"
    arguments = pretrain_arguments(corpus, run_dir, SETTINGS, "--control=active")
    start_torchrun(arguments, num_processes=2).wait()
    return run_dir


@pytest.fixture(scope="session")
def two_replicas(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run directory of mpirun's processes, both experts on both, gradients sent while computing."""
    folder = tmp_path_factory.mktemp("edp2")
    overlapping = folder / "overlap.json"
    overlapping.write_text('{"zero_optimization": {"stage": 1, "overlap_comm": true}}')
    arguments = pretrain_arguments(
        *(corpus, folder / "run", {**SETTINGS, "parallel.ep": 1}), f"--ds-config={overlapping}"
    )
    start(arguments, num_processes=2, launcher=mpirun_environment).wait()
    return folder / "run"

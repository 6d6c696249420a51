"""A step that is not finite leaves the model as it was and a record of its documents."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from nulls_dist.benchmark.faults.poison import Poison
from nulls_dist.benchmark.faults.poison import poisoned as poisoned_training
from nulls_dist.checkpoint.store import Checkpoint, list_checkpoints, step_directory
from nulls_dist.cli import run_command
from nulls_dist.config.presets import load_preset
from nulls_dist.data.batches import GlobalBatches
from nulls_dist.data.corpus import Corpus
from nulls_dist.pretrain import main as pretrain
from tests.checkpoint_contents import (
    check_equal_contents,
    check_equal_state,
    largest_difference,
    read_metrics,
)
from tests.launch import pretrain_arguments, start, torchrun_environment

pytestmark = pytest.mark.distributed

STEPS = 6
POISON: Poison = {3: ("gradient", 0), 5: ("loss", 0)}
FP32 = 1e-5
INTEGRITY = 5


def read_bad_steps(run_dir: Path) -> list[dict[str, Any]]:
    lines = (run_dir / "log" / "bad_steps.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def train_poisoned(
    corpus: Path, run_dir: Path, settings: dict[str, object], poison: Poison
) -> None:
    with poisoned_training(poison):
        pretrain(pretrain_arguments(corpus, run_dir, settings))


@pytest.fixture(scope="module")
def six_steps(settings: dict[str, object]) -> dict[str, object]:
    """A run of 6 steps with a checkpoint after each."""
    return settings | {"train.steps": STEPS}


@pytest.fixture(scope="module")
def poisoned(
    corpus: Path, six_steps: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Run directory of one process with a NaN gradient at step 3 and an infinite loss at step 5."""
    run_dir = tmp_path_factory.mktemp("poisoned") / "run"
    train_poisoned(corpus, run_dir, six_steps, POISON)
    return run_dir


def check_skipped(run_dir: Path) -> None:
    """Weights, master weights and moments after steps 3 and 5 are those of the steps before."""
    for step in (2, 4):
        check_equal_state(step_directory(run_dir, step), step_directory(run_dir, step + 1))
    for step, moved in ((1, 2), (3, 4), (5, 6)):
        before, after = step_directory(run_dir, step), step_directory(run_dir, moved)
        assert largest_difference(before, after) > 0
    counts = [
        json.loads((step_directory(run_dir, step) / "data.json").read_text())["skipped_steps"]
        for step in range(1, STEPS + 1)
    ]
    assert counts == [0, 0, 1, 1, 2, 2]
    metrics = read_metrics(run_dir)
    assert [line["train/skipped_steps"] for line in metrics] == counts
    assert [line["train/tokens"] for line in metrics] == [1024 * n for n in range(1, STEPS + 1)]
    assert [line["step"] for line in metrics if line["train/grad_norm"] is None] == [3, 5]
    assert [line["step"] for line in metrics if line["train/loss_nats"] is None] == [5]


def test_a_step_that_is_not_finite_changes_nothing(poisoned: Path) -> None:
    check_skipped(poisoned)


def test_the_gradient_norms_say_where_the_nan_was(poisoned: Path) -> None:
    gradient, loss = read_bad_steps(poisoned)
    assert gradient["loss_nats"] > 0
    assert gradient["grad_norm_backbone"] > 0
    assert gradient["grad_norm_sinks"] is None
    assert [gradient["step"], loss["step"]] == [3, 5]
    assert gradient["kind"] == loss["kind"] == "not_finite"
    assert loss["loss_nats"] is None


def documents_of(corpus_dir: Path, run_dir: Path, step: int) -> set[tuple[int, int]]:
    """The documents of a step's global batch."""
    corpus, config = Corpus(corpus_dir), load_preset("nulls_tiny")
    router = Checkpoint(list_checkpoints(run_dir)[0]).manifest.build_router()
    batches = GlobalBatches(
        corpus,
        router.experts_of(corpus.source_ids),
        num_experts=config.model.num_experts,
        context_length=config.model.context_length,
        rows_per_step=config.train.global_batch_rows,
        seed=0,
    )
    rows = batches.rank_rows(step - 1, experts=range(2), replica=0, num_replicas=1)
    layout = batches.assemble(rows).layout
    return set(zip(layout.source_ids.tolist(), layout.doc_indices.tolist(), strict=True))


def test_the_documents_of_a_bad_step_are_recorded(poisoned: Path, corpus: Path) -> None:
    record, _ = read_bad_steps(poisoned)
    (rank,) = record["ranks"]
    assert rank["rank"] == 0
    assert {tuple(pair) for pair in rank["documents"]} == documents_of(corpus, poisoned, 3)


@pytest.mark.parametrize("saved", [3, 4])
def test_a_run_resumed_after_a_skipped_step_ends_alike_to_the_last_byte(
    poisoned: Path, corpus: Path, six_steps: dict[str, object], tmp_path: Path, saved: int
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(poisoned, run_dir)
    for step in range(saved + 1, STEPS + 1):
        shutil.rmtree(step_directory(run_dir, step))
    train_poisoned(corpus, run_dir, six_steps, POISON)
    check_equal_contents(step_directory(run_dir, STEPS), step_directory(poisoned, STEPS))


def test_a_first_step_that_is_skipped_can_be_resumed(
    corpus: Path, six_steps: dict[str, object], tmp_path: Path
) -> None:
    """Adam has no moments yet."""
    settings = six_steps | {"train.steps": 3, "train.save_every": 1, "train.eval_every": 0}
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    train_poisoned(corpus, whole, settings, {1: ("gradient", 0)})
    shutil.copytree(whole, resumed)
    for step in (2, 3):
        shutil.rmtree(step_directory(resumed, step))
    pretrain(pretrain_arguments(corpus, resumed, settings))
    check_equal_contents(step_directory(whole, 3), step_directory(resumed, 3))


@pytest.mark.parametrize("ep", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_two_processes_skip_what_one_of_them_finds(
    poisoned: Path, corpus: Path, six_steps: dict[str, object], tmp_path: Path, ep: int
) -> None:
    """With an expert each, the NaN is in sinks that the other process does not have."""
    run_dir = tmp_path / "run"
    poison = {3: ("gradient", 1), 5: ("loss", 1)}
    arguments = pretrain_arguments(corpus, run_dir, six_steps | {"parallel.ep": ep})
    start(
        [json.dumps(poison), *arguments],
        num_processes=2,
        launcher=torchrun_environment,
        module="nulls_dist.benchmark.faults.poison",
    ).wait()
    check_skipped(run_dir)
    one, two = read_metrics(poisoned), read_metrics(run_dir)
    for name in ("train/loss_nats", "train/grad_norm", "train/grad_norm_backbone"):
        for here, there in zip(one, two, strict=True):
            if here[name] is None:
                assert there[name] is None, name
            else:
                assert there[name] == pytest.approx(here[name], rel=FP32), name
    for record in read_bad_steps(run_dir):
        documents = [{tuple(pair) for pair in rank["documents"]} for rank in record["ranks"]]
        assert [rank["rank"] for rank in record["ranks"]] == [0, 1]
        assert documents[0] | documents[1] == documents_of(corpus, run_dir, record["step"])


def test_a_bf16_step_that_is_not_finite_changes_nothing(
    corpus: Path, six_steps: dict[str, object], tmp_path: Path
) -> None:
    train_poisoned(corpus, tmp_path / "run", six_steps | {"train.dtype": "bf16"}, POISON)
    check_skipped(tmp_path / "run")
    for line in read_metrics(tmp_path / "run"):
        if line["step"] not in POISON:
            parts = line["train/grad_norm_backbone"], line["train/grad_norm_sinks"]
            assert line["train/grad_norm"] == pytest.approx(math.hypot(*parts), rel=1e-5)


def test_a_spike_is_recorded_and_trained_on(
    corpus: Path, settings: dict[str, object], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    wanted = {"train.steps": 23, "train.save_every": 23, "train.eval_every": 0}
    train_poisoned(corpus, run_dir, settings | wanted, {22: ("spike", 0)})
    (record,) = read_bad_steps(run_dir)
    losses = [line["train/loss_nats"] for line in read_metrics(run_dir)]
    assert (record["kind"], record["step"], record["loss_nats"]) == ("spike", 22, losses[21])
    assert losses[21] == pytest.approx(losses[20] + 9, abs=0.5)
    (rank,) = record["ranks"]
    assert {tuple(pair) for pair in rank["documents"]} == documents_of(corpus, run_dir, 22)
    data = json.loads((step_directory(run_dir, 23) / "data.json").read_text())
    assert data["skipped_steps"] == 0


@pytest.mark.parametrize(("tolerated", "last"), [(0, 2), (2, 4)])
def test_a_run_ends_at_one_bad_step_in_a_row_more_than_it_may_have(
    corpus: Path,
    settings: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tolerated: int,
    last: int,
) -> None:
    """Step 1 takes the weights to where every gradient overflows."""
    wanted = settings | {"optim.lr": 1e30, "train.max_bad_steps": tolerated}
    assert run_command(pretrain, pretrain_arguments(corpus, tmp_path / "run", wanted)) == 1
    said = capsys.readouterr().err
    assert f"error: step {last}: loss 5.99" in said
    assert f"gradient norm inf: not finite, {tolerated + 1} in a row" in said
    assert (tmp_path / "run" / "outcome").read_text() == "failed\n"
    assert [record["step"] for record in read_bad_steps(tmp_path / "run")] == [*range(2, last + 1)]


def test_a_norm_that_drifts_apart_between_tensor_parallel_ranks_is_never_saved(
    corpus: Path, six_steps: dict[str, object], tmp_path: Path
) -> None:
    """Rank 0 would save its own as what both of them hold."""
    wanted = six_steps | {"parallel.tp": 2, "model.vocab_size": 512}
    run_dir = tmp_path / "run"
    poison = json.dumps({3: ("norm", 1)})
    said = start(
        [poison, *pretrain_arguments(corpus, run_dir, wanted)],
        num_processes=2,
        launcher=torchrun_environment,
        module="nulls_dist.benchmark.faults.poison",
    ).wait(expected=INTEGRITY)
    assert "decoder.final_layernorm.weight and 0 more parameters differ" in said
    assert [path.name for path in list_checkpoints(run_dir)] == ["step-00000001"]

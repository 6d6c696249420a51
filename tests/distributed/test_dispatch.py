"""Tokens that travel to their sinks: two ranks against dense compute, runs against one process."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nulls_dist.checkpoint.format import DATA_FILE
from nulls_dist.checkpoint.shapes import model_of
from nulls_dist.checkpoint.store import Checkpoint, list_checkpoints, step_directory
from nulls_dist.cli import run_command
from nulls_dist.data.batches import GlobalBatches
from nulls_dist.data.corpus import Corpus
from nulls_dist.durable import record_file, write_json
from nulls_dist.pretrain import main as pretrain
from tests.checkpoint_contents import read_metrics
from tests.checkpoint_factory import edit_manifest
from tests.dispatch_ranks import CASES, NUM_RANKS, PARTS, run_dense
from tests.distributed.test_parity import check_same_training, topology_of
from tests.distributed.test_reference_step import check_update, plain_step
from tests.distributed.test_resume import check_ended_like, copy_until
from tests.launch import (
    pretrain_arguments,
    srun_environment,
    start,
    start_module,
    start_torchrun,
    torchrun_environment,
)
from tests.small_models import relative_error

pytestmark = pytest.mark.distributed

FP32 = 1e-5
BF16 = 2e-2
"""Largest error over scale of two layers in bf16. Measured: 8e-3."""
USAGE = 2


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    """What each of two ranks computed: rank -> case -> name -> tensor."""
    out = tmp_path_factory.mktemp("ranks")
    words = ["tests.dispatch_ranks", str(out)]
    start_module(words, num_processes=NUM_RANKS, launcher=torchrun_environment).wait()
    return [torch.load(out / f"rank-{rank}.pt", weights_only=True) for rank in range(NUM_RANKS)]


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_compute_what_dense_sinks_do(
    name: str, ranks: list[dict[str, dict[str, Tensor]]]
) -> None:
    case = CASES[name]
    bound = FP32 if case.dtype == torch.float32 else BF16
    outputs, gradients = run_dense(case)
    found = [of_rank[name] for of_rank in ranks]
    for rank, output in enumerate(outputs):
        assert found[rank]["output"].dtype == case.dtype
        assert relative_error(found[rank]["output"], output) <= bound
    for part in ("x", *PARTS):
        together = torch.cat([of_rank[part] for of_rank in found])
        assert relative_error(together, gradients[part]) <= bound, part


def test_the_cases_reach_both_experts_of_both_ranks_and_none_at_all() -> None:
    """Otherwise the comparisons above could be of zeros."""
    used = {
        name: [bool(block.any()) for block in run_dense(case)[1]["down"].chunk(4)]
        for name, case in CASES.items()
    }
    assert used["both send and receive"] == [True] * 4
    assert used["rank 0 receives nothing"][:2] == [False] * 2
    assert used["rank 1 receives nothing, recomputed"][2:] == [False] * 2
    assert used["all are dropped"] == [False] * 4


def test_recomputation_changes_no_bit(ranks: list[dict[str, dict[str, Tensor]]]) -> None:
    for of_rank in ranks:
        for name, value in of_rank["both send and receive"].items():
            assert torch.equal(value, of_rank["recomputed"][name]), name


@pytest.fixture(scope="module")
def settings_not_placed(settings: dict[str, object]) -> dict[str, object]:
    """Four experts on at most two ranks, and numbers of rows that four experts could not share."""
    return {
        **settings,
        "parallel.dispatcher": "all_to_all",
        "model.num_experts": 4,
        "train.global_batch_rows": 6,
        "train.eval_rows": 10,
        "train.micro_batch_rows": 1,
    }


@pytest.fixture(scope="module")
def not_placed(
    corpus: Path,
    settings_not_placed: dict[str, object],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Run directory of one process, uninterrupted."""
    run_dir = tmp_path_factory.mktemp("not-placed") / "run"
    pretrain(pretrain_arguments(corpus, run_dir, settings_not_placed))
    return run_dir


def test_a_step_of_one_process_is_that_of_plain_autograd(not_placed: Path, corpus: Path) -> None:
    first = Checkpoint(step_directory(not_placed, 1))
    model, router = model_of(first), first.manifest.build_router()
    documents = Corpus(corpus)
    rows = GlobalBatches(
        documents,
        np.zeros(documents.num_documents, dtype=np.int64),
        num_experts=1,
        context_length=model.context_length,
        rows_per_step=6,
        seed=0,
    )
    batch = rows.assemble(rows.rank_rows(0, experts=range(1), replica=0, num_replicas=1))
    assert len(set(router.experts_of(batch.layout.source_ids).tolist())) > 1
    reference = plain_step(model, router, batch)
    reported = read_metrics(not_placed)[0]
    assert reported["train/targets"] == reference["targets"]
    assert reported["train/loss_nats"] == pytest.approx(reference["loss"], rel=1e-6)
    assert reported["train/grad_norm"] == pytest.approx(reference["norm"], rel=1e-5)
    check_update(not_placed, reference, model.num_experts)


def test_two_processes_with_two_experts_each_train_like_one_process(
    not_placed: Path, corpus: Path, settings_not_placed: dict[str, object], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    start_torchrun(pretrain_arguments(corpus, run_dir, settings_not_placed), num_processes=2).wait()
    assert topology_of(run_dir) == {"dp": 2, "ep": 2, "edp": 1, "tp": 1}
    check_same_training(not_placed, run_dir, settings_not_placed["train.steps"])


def test_two_replicas_of_all_experts_train_like_one_process(
    not_placed: Path, corpus: Path, settings_not_placed: dict[str, object], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    wanted = {**settings_not_placed, "parallel.ep": 1}
    arguments = pretrain_arguments(corpus, run_dir, wanted)
    start(arguments, num_processes=2, launcher=srun_environment).wait()
    assert topology_of(run_dir) == {"dp": 2, "ep": 1, "edp": 2, "tp": 1}
    check_same_training(not_placed, run_dir, settings_not_placed["train.steps"])


@pytest.mark.slow
def test_four_processes_with_two_replicas_of_each_expert_train_like_one_process(
    corpus: Path, settings_not_placed: dict[str, object], tmp_path: Path
) -> None:
    wanted = {
        **settings_not_placed,
        "parallel.ep": 2,
        "train.global_batch_rows": 8,
        "train.eval_rows": 8,
    }
    one, four = tmp_path / "one", tmp_path / "four"
    overlapping = tmp_path / "overlap.json"
    overlapping.write_text('{"zero_optimization": {"stage": 1, "overlap_comm": true}}')
    pretrain(pretrain_arguments(corpus, one, {**wanted, "parallel.ep": 1}))
    arguments = pretrain_arguments(corpus, four, wanted, f"--ds-config={overlapping}")
    start_torchrun(arguments, num_processes=4).wait()
    assert topology_of(four) == {"dp": 4, "ep": 2, "edp": 2, "tp": 1}
    check_same_training(one, four, wanted["train.steps"])


def test_a_killed_run_resumes_to_the_last_byte(
    not_placed: Path, corpus: Path, settings_not_placed: dict[str, object], tmp_path: Path
) -> None:
    run_dir = copy_until(not_placed, 5, tmp_path / "run")
    pretrain(pretrain_arguments(corpus, run_dir, settings_not_placed))
    check_ended_like(run_dir, not_placed, settings_not_placed["train.steps"])


def check_refused(
    run_dir: Path,
    corpus: Path,
    settings: dict[str, object],
    capsys: pytest.CaptureFixture[str],
    message: str,
) -> None:
    before = list_checkpoints(run_dir)
    wanted = {**settings, "train.steps": 20}
    assert run_command(pretrain, pretrain_arguments(corpus, run_dir, wanted)) == USAGE
    assert message in capsys.readouterr().err
    assert list_checkpoints(run_dir) == before


def test_a_run_does_not_change_its_dispatcher(
    not_placed: Path,
    corpus: Path,
    settings_not_placed: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_dir = copy_until(not_placed, 2, tmp_path / "run")
    wanted = {
        **settings_not_placed,
        "parallel.dispatcher": "local",
        "train.global_batch_rows": 8,
        "train.eval_rows": 8,
    }
    check_refused(
        *(run_dir, corpus, wanted, capsys),
        "parallel.dispatcher (local) differs from the checkpoint's (all_to_all): the order of the "
        "data would change",
    )


def edit_data(checkpoint: Path, data: dict[str, object]) -> None:
    """Replace a checkpoint's data.json and its record in the manifest."""
    (checkpoint / DATA_FILE).unlink()
    write_json(checkpoint / DATA_FILE, data)
    record = record_file(checkpoint, DATA_FILE)
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    for entry in manifest["files"]:
        if entry["path"] == DATA_FILE:
            entry |= asdict(record)
    edit_manifest(checkpoint, files=manifest["files"])


def test_a_checkpoint_that_does_not_name_its_dispatcher_was_placed(
    one_process: Path,
    corpus: Path,
    settings: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_dir = copy_until(one_process, 2, tmp_path / "run")
    data = json.loads((step_directory(run_dir, 2) / DATA_FILE).read_text())
    assert data.pop("dispatcher") == "local"
    edit_data(step_directory(run_dir, 2), data)
    check_refused(
        *(run_dir, corpus, {**settings, "parallel.dispatcher": "all_to_all"}, capsys),
        "parallel.dispatcher (all_to_all) differs from the checkpoint's (local)",
    )
    pretrain(pretrain_arguments(corpus, run_dir, settings))
    check_ended_like(run_dir, one_process, settings["train.steps"])

"""What a run does besides training: retention, sink load, W&B; another corpus after deletion."""

import gc
import json
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data_prep.build import main as build
from nulls_dist.checkpoint.format import Grade
from nulls_dist.checkpoint.store import Checkpoint, list_checkpoints, step_directory
from nulls_dist.cli import run_command
from nulls_dist.config.presets import load_preset
from nulls_dist.data.batches import GlobalBatches
from nulls_dist.data.corpus import Corpus
from nulls_dist.pretrain import main as pretrain
from nulls_dist.unlearn.plan import open_sources, plan_deletion
from tests.checkpoint_contents import read_metrics
from tests.deletions import write_stripped
from tests.launch import pretrain_arguments
from tools import strip_sources, trace_source, verify_checkpoint

pytestmark = pytest.mark.distributed


def test_only_the_newest_checkpoints_stay_and_metrics_reach_wandb_and_tensorboard(
    corpus: Path, tmp_path: Path, settings: dict[str, object]
) -> None:
    reports = {"report.wandb": "offline", "report.tensorboard": "true"}
    wanted = {"train.steps": 4, "train.keep_last": 2, **reports}
    run_dir = tmp_path / "run"
    pretrain(pretrain_arguments(corpus, run_dir, settings | wanted))
    assert [path.name for path in list_checkpoints(run_dir)] == ["step-00000003", "step-00000004"]
    assert sorted(path.name for path in (run_dir / "checkpoints").iterdir()) == [
        "step-00000003",
        "step-00000004",
    ]
    (record,) = (run_dir / "wandb").glob("offline-run-*/run-*.wandb")
    content = record.read_bytes()
    for name in (b"train/loss_nats", b"eval/loss_placebo_nats", b"sinks/dead_fraction"):
        assert name in content
    events = EventAccumulator(str(run_dir / "log" / "tensorboard")).Reload()
    lines = read_metrics(run_dir)
    for name in ("train/loss_nats", "sinks/dead_fraction"):
        written = [(event.step, event.value) for event in events.Scalars(name)]
        assert written == [(line["step"], np.float32(line[name])) for line in lines]


def test_a_training_leaves_no_engine_behind(
    corpus: Path, tmp_path: Path, settings: dict[str, object]
) -> None:
    """An engine that stays keeps the model and, per process group, threads that poll."""

    def count_engines() -> int:
        gc.collect()
        return sum(type(each).__name__ == "DeepSpeedEngine" for each in gc.get_objects())

    before = count_engines()
    pretrain(pretrain_arguments(corpus, tmp_path / "run", settings | {"train.steps": 1}))
    assert count_engines() == before


def test_multiples_of_keep_every_stay_beside_the_newest(
    corpus: Path, tmp_path: Path, settings: dict[str, object]
) -> None:
    wanted = {"train.steps": 7, "train.keep_last": 1, "train.keep_every": 3, "train.eval_every": 0}
    for asynchronous in ("true", "false"):
        run_dir = tmp_path / asynchronous
        more = {"train.async_save": asynchronous}
        pretrain(pretrain_arguments(corpus, run_dir, settings | wanted | more))
        assert sorted(path.name for path in (run_dir / "checkpoints").iterdir()) == [
            "step-00000003",
            "step-00000006",
            "step-00000007",
        ]


def test_a_run_without_a_step_left_removes_what_a_killed_life_did_not(
    corpus: Path, tmp_path: Path, settings: dict[str, object]
) -> None:
    """A life that is killed between publishing its last checkpoint and removing older ones."""
    wanted = {"train.steps": 4, "train.eval_every": 0}
    run_dir = tmp_path / "run"
    pretrain(pretrain_arguments(corpus, run_dir, settings | wanted | {"train.keep_last": 0}))
    assert len(list_checkpoints(run_dir)) == 4
    pretrain(pretrain_arguments(corpus, run_dir, settings | wanted | {"train.keep_last": 1}))
    assert [path.name for path in list_checkpoints(run_dir)] == ["step-00000004"]


def test_sink_load_equals_a_count_over_the_rows_of_each_step(
    two_experts: Path, corpus: Path
) -> None:
    """Evaluations are at every step, so each line reports the load of its own step."""
    router = Checkpoint(step_directory(two_experts, 8)).manifest.build_router()
    config = load_preset("nulls_tiny")
    documents = Corpus(corpus)
    batches = GlobalBatches(
        documents,
        router.experts_of(documents.source_ids),
        num_experts=2,
        context_length=config.model.context_length,
        rows_per_step=config.train.global_batch_rows,
        seed=0,
    )
    for line in read_metrics(two_experts):
        rows = batches.rank_rows(line["step"] - 1, experts=range(2), replica=0, num_replicas=1)
        layout = batches.assemble(rows).layout
        load = np.zeros((2, router.spec.num_sinks))
        for source_id, length in zip(layout.source_ids, layout.lengths, strict=True):
            one = np.array([source_id])
            load[router.experts_of(one)[0], router.active_sinks(one)[0, 0]] += length
        tokens = load.sum(1) / router.spec.num_active
        assert [line["sinks/expert_0000_tokens"], line["sinks/expert_0001_tokens"]] == list(tokens)
        assert line["sinks/dead_fraction"] == pytest.approx((load == 0).mean())
        assert line["sinks/hottest_over_mean"] == pytest.approx(load.max() / load.mean())


def build_without(corpus: Path, folder: Path, *source_ids: int) -> Path:
    """Build the corpus of all tests again, without some sources."""
    request, without = folder / "sources.txt", folder / "without"
    request.write_text("".join(f"id:{source_id}\n" for source_id in source_ids))
    build(
        (
            "--input generated --format generated --name uneven --articles 24 --partitions 4 "
            f"--workers 1 --tokenizer {corpus}/tokenizer/spm.model --out {without} "
            f"--exclude {request}"
        ).split()
    )
    assert not set(source_ids) & set(Corpus(without).source_ids.tolist())
    return without


def test_a_stripped_checkpoint_continues_on_a_corpus_without_the_deleted_source(
    one_process: Path,
    corpus: Path,
    settings: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    checkpoint = Checkpoint(step_directory(one_process, 4))
    table = open_sources(checkpoint)
    source_id = int(table.source_ids[0])
    plan = plan_deletion(checkpoint, table, [source_id], Grade.EXCISED)
    write_stripped(checkpoint, plan, tmp_path / "stripped")
    without = build_without(corpus, tmp_path, source_id)
    arguments = pretrain_arguments(
        without, tmp_path / "run", settings | {"train.steps": 6}, f"--resume={tmp_path}/stripped"
    )
    pretrain(arguments)
    after = Checkpoint(step_directory(tmp_path / "run", 6))
    assert [entry.source_id for entry in after.manifest.tombstones] == [source_id]
    data = json.loads(after.path("data.json").read_text())
    assert (data["first_step"], data["step"]) == (4, 6)
    other = int(open_sources(after).source_ids[-1])
    where = [str(after.root), str(without), f"id:{other}", f"id:{source_id}"]
    assert run_command(trace_source.main, [*where, "--json"]) == 0
    assert "steps 1 to 4 were trained on another corpus" in caplog.text
    traced, deleted = json.loads(capsys.readouterr().out)
    documents = Corpus(without)
    tokens = int(documents.lengths[documents.source_ids == np.uint64(other)].sum())
    assert traced["num_tokens"] == tokens > 0
    assert set(traced["steps"]) <= {5, 6}
    assert (deleted["outcome"], deleted["num_documents"], deleted["steps"]) == ("matched", 0, [])
    assert [line["step"] for line in read_metrics(tmp_path / "run")] == [5, 6]


def test_every_source_ever_trained_on_can_be_deleted_after_the_corpus_was_changed(
    one_process: Path,
    corpus: Path,
    settings: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One source is suppressed and then left out of the corpus, another one only left out."""
    checkpoint = Checkpoint(step_directory(one_process, 4))
    table = open_sources(checkpoint)
    suppressed, left_out = map(int, table.source_ids[:2])
    plan = plan_deletion(checkpoint, table, [suppressed], Grade.SUPPRESSED)
    write_stripped(checkpoint, plan, tmp_path / "suppressed")
    without = build_without(corpus, tmp_path, suppressed, left_out)
    run_dir = tmp_path / "run"
    short = settings | {"train.steps": 5}
    pretrain(pretrain_arguments(without, run_dir, short, f"--resume={tmp_path}/suppressed"))
    pretrain(pretrain_arguments(without, run_dir, settings | {"train.steps": 6}))
    first, after = (step_directory(run_dir, step) for step in (5, 6))
    assert (first / "sources.parquet").read_bytes() == (after / "sources.parquet").read_bytes()
    sources = open_sources(Checkpoint(after))
    assert sources.source_ids.tolist() == table.source_ids.tolist()
    assert sources.table.column("title").equals(table.table.column("title"))

    def strip(root: Path, out: Path) -> str:
        request = tmp_path / "delete.txt"
        request.write_text(f"{table.title_of(suppressed)}\n{table.title_of(left_out)}\n")
        options = [*map(str, (root, request)), f"--out={out}", "--max-collateral=1"]
        assert run_command(strip_sources.main, options) == 0
        return capsys.readouterr().out

    assert "2 to delete now, 2 in all" in strip(after, tmp_path / "excised")
    assert "0 to delete now, 2 in all" in strip(tmp_path / "excised", tmp_path / "again")
    excised = Checkpoint(tmp_path / "again").manifest.tombstones
    assert [(entry.source_id, entry.grade) for entry in excised] == [
        (suppressed, Grade.EXCISED),
        (left_out, Grade.EXCISED),
    ]
    assert run_command(verify_checkpoint.main, [str(tmp_path / "again")]) == 0

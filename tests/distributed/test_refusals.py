"""What must not train does not train, says why and ends with the promised exit code."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from data_prep.build import main as build
from nulls_dist.checkpoint.format import Grade, backbone_weights_file
from nulls_dist.checkpoint.store import Checkpoint, list_checkpoints, step_directory, write_tensors
from nulls_dist.cli import run_command
from nulls_dist.durable import record_file
from nulls_dist.pretrain import main as pretrain
from nulls_dist.unlearn.plan import open_sources, plan_deletion
from tests.checkpoint_contents import read_state
from tests.checkpoint_factory import edit_manifest
from tests.corpus_contents import read_texts
from tests.deletions import write_stripped
from tests.launch import pretrain_arguments, start, torchrun_environment
from tools import strip_sources

pytestmark = pytest.mark.distributed

USAGE, BAD_INPUT, INTEGRITY, REFUSED = 2, 3, 5, 6
BACKBONE = backbone_weights_file(0)


def files_of(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_resume_none_refuses_a_used_directory_before_the_ranks_meet(
    one_process: Path, corpus: Path, settings: dict[str, object]
) -> None:
    """Only one of two ranks is started: it would wait for the other one for ten minutes."""
    before = files_of(one_process)
    arguments = pretrain_arguments(corpus, one_process, settings, "--resume=none")
    job = start(arguments, launcher=lambda rank, _: torchrun_environment(rank, 2))
    said = job.wait(expected=USAGE)
    assert "--resume none: run directory" in said
    assert "is used (it has step-00000008)" in said
    assert files_of(one_process) == before


def test_a_run_does_not_write_into_its_corpus(
    corpus: Path, settings: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(corpus)
    for run_dir in (corpus, corpus / "run"):
        assert run_command(pretrain, pretrain_arguments(corpus, run_dir, settings)) == BAD_INPUT
        assert "is not touched" in capsys.readouterr().err
    assert files_of(corpus) == before


def test_a_bad_override_is_a_usage_error_before_the_ranks_meet(
    corpus: Path, tmp_path: Path
) -> None:
    arguments = pretrain_arguments(corpus, tmp_path / "run", {"train.stepz": 3})
    job = start(arguments, launcher=lambda rank, _: torchrun_environment(rank, 2))
    assert "train.stepz" in job.wait(expected=USAGE)
    assert not (tmp_path / "run").exists()


def test_a_stripped_checkpoint_refuses_the_corpus_that_holds_the_deleted_source(
    one_process: Path,
    corpus: Path,
    settings: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = Checkpoint(step_directory(one_process, 4))
    table = open_sources(checkpoint)
    deleted = int(table.source_ids[0])
    plan = plan_deletion(checkpoint, table, [deleted], Grade.EXCISED)
    write_stripped(checkpoint, plan, tmp_path / "stripped")
    arguments = pretrain_arguments(
        corpus, tmp_path / "run", settings, f"--resume={tmp_path / 'stripped'}"
    )
    assert run_command(pretrain, arguments) == REFUSED
    assert f"first id:{deleted}" in capsys.readouterr().err
    assert not list_checkpoints(tmp_path / "run")


def test_a_text_that_was_deleted_with_its_corpus_trains_under_no_other_name(
    one_process: Path,
    corpus: Path,
    settings: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    key, texts = next(iter(read_texts(corpus).items()))
    (tmp_path / "sources.txt").write_text(f"key:{key}\n")
    stripped, left = tmp_path / "stripped", tmp_path / "left"
    words = [step_directory(one_process, 4), tmp_path / "sources.txt", "--out", stripped]
    words += ["--corpus", corpus, "--corpus-out", left, "--max-collateral", 1]
    words += ["--records", tmp_path / "records"]
    assert run_command(strip_sources.main, list(map(str, words))) == 0
    lines = [{"id": "another", "title": "Another", "text": max(texts, key=len)}]
    lines += [{"id": "z", "title": "Zeno", "text": "An arrow does not fly."}]
    (tmp_path / "new.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    build(
        f"--input {tmp_path}/new.jsonl --format jsonl --name uneven --out {tmp_path}/new "
        f"--tokenizer {corpus}/tokenizer/spm.model --workers 1".split()
    )
    resume = f"--resume={stripped}"
    arguments = pretrain_arguments(tmp_path / "new", tmp_path / "refused", settings, resume)
    assert run_command(pretrain, arguments) == REFUSED
    said = capsys.readouterr().err
    assert "('Another'), a text of" in said
    assert not list_checkpoints(tmp_path / "refused")
    short = settings | {"train.steps": 5}
    assert run_command(pretrain, pretrain_arguments(left, tmp_path / "run", short, resume)) == 0
    after = Checkpoint(step_directory(tmp_path / "run", 5)).manifest
    assert after.tombstones == Checkpoint(stripped).manifest.tombstones


def flip_a_bit(file: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        content = bytearray((root / file).read_bytes())
        content[-7] ^= 1
        (root / file).write_bytes(content)

    return damage


def cut_the_manifest(root: Path) -> None:
    text = (root / "manifest.json").read_text()
    (root / "manifest.json").write_text(text[: len(text) // 2])


def weights_of_another_run(root: Path) -> None:
    """Consistent checksums, but weights that are not the rounded masters."""
    weights = load_file(root / BACKBONE)
    weights["decoder.final_layernorm.weight"][5] += 1e-3
    (root / BACKBONE).unlink()
    write_tensors(root / BACKBONE, weights)
    record = record_file(root, BACKBONE)
    manifest = json.loads((root / "manifest.json").read_text())
    for entry in manifest["files"]:
        if entry["path"] == BACKBONE:
            entry |= {"sha256": record.sha256}
    edit_manifest(root, files=manifest["files"])


def router_of_another_model(root: Path) -> None:
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["router"]["num_active"] *= 2
    edit_manifest(root, router=manifest["router"])


DAMAGES = {
    "backbone": flip_a_bit(BACKBONE),
    "sinks": flip_a_bit("weights/sinks-expert-0001.safetensors"),
    "optimizer": flip_a_bit("optimizer/backbone-part0000.safetensors"),
    "manifest": cut_the_manifest,
    "router": router_of_another_model,
    "other weights": weights_of_another_run,
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_checkpoint_does_not_train(
    what: str, one_process: Path, corpus: Path, settings: dict[str, object], tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(step_directory(one_process, 4), damaged)
    DAMAGES[what](damaged)
    arguments = pretrain_arguments(corpus, tmp_path / "run", settings, f"--resume={damaged}")
    assert run_command(pretrain, arguments) == INTEGRITY
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def cut(file: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        (root / file).write_bytes((root / file).read_bytes()[:-9])

    return damage


CORPUS_FILES = (
    "manifest.json",
    "partitions/part-00001.arrow",
    "sources.parquet",
    "tokenizer/spm.model",
)


@pytest.mark.parametrize("damage", [flip_a_bit, cut])
@pytest.mark.parametrize("file", CORPUS_FILES)
def test_a_damaged_corpus_does_not_train_and_the_file_is_named(
    damage: Callable[[str], Callable[[Path], None]],
    file: str,
    corpus: Path,
    settings: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(corpus, damaged)
    damage(file)(damaged)
    arguments = pretrain_arguments(damaged, tmp_path / "run", settings)
    assert run_command(pretrain, arguments) == INTEGRITY
    assert str(damaged / file) in capsys.readouterr().err
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_damage_that_one_rank_finds_ends_all_of_them(
    corpus: Path, settings: dict[str, object], tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(corpus, damaged)
    flip_a_bit("sources.parquet")(damaged)
    arguments = pretrain_arguments(damaged, tmp_path / "run", settings)
    job = start(arguments, num_processes=2, launcher=torchrun_environment)
    said = job.wait(expected=INTEGRITY)
    assert said.count("error: ") == 2
    assert "sources.parquet: contents differ from the checksum" in said


def test_a_run_that_diverges_fails_and_saves_no_weights_that_are_not_finite(
    corpus: Path,
    settings: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_dir = tmp_path / "run"
    arguments = pretrain_arguments(corpus, run_dir, {**settings, "optim.lr": 1e30})
    assert run_command(pretrain, arguments) == 1
    assert "error: step 5: loss" in capsys.readouterr().err
    assert (run_dir / "outcome").read_text() == "failed\n"
    saved = list_checkpoints(run_dir)
    assert [path.name for path in saved] == [f"step-{step:08d}" for step in range(1, 5)]
    for path in saved:
        assert all(value.isfinite().all() for value in read_state(path).values())

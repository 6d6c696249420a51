"""Save and resume: all ranks write their files into one directory that appears when complete."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch.distributed as dist

from nulls_dist import durable
from nulls_dist.checkpoint.format import (
    DATA_FILE,
    MANIFEST_FILE,
    RUN_FILE,
    SOURCES_FILE,
    TOKENIZER_DIR,
    CheckpointManifest,
)
from nulls_dist.checkpoint.fragments import OptimizerFragments
from nulls_dist.checkpoint.store import Checkpoint, step_directory, write_tensors
from nulls_dist.data.source_table import write_source_table
from nulls_dist.durable import FileRecord, read_json, record_file
from nulls_dist.model.state import check_weights, model_weights
from nulls_dist.train.optimizer_state import load_optimizer, optimizer_tensors
from nulls_dist.train.provenance import describe_run
from nulls_dist.train.run import Run
from nulls_dist.train.zero_state import adam_step, create_adam_state, publish_master

LATEST_FILE = "latest_step"


def save_checkpoint(run: Run, engine: Any, step: int) -> Path:
    """Write a checkpoint after `step` steps, skipped ones included.

    Every rank calls this at the same step.

    Returns:
        The checkpoint's directory. One that exists already is left as it is: the same step of the
        same run has the same contents.
    """
    final = step_directory(run.run_dir, step)
    topology = run.groups.topology
    if _is_saved(final):
        return final
    updates = adam_step(engine.optimizer)
    assert updates + engine.skipped_steps == step, "Adam counts the steps that were applied"
    if step and not updates:
        create_adam_state(engine.optimizer, updates)  # files of steps have moments, here zeros
    partial = durable.partial_directory(final)
    if topology.rank == 0:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    dist.barrier()
    files = model_weights(engine.module, run.groups) | optimizer_tensors(engine, topology)
    for name, tensors in files.items():
        write_tensors(partial / name, tensors)
        durable.sync_path(partial / name)  # rank 0 cannot flush what another node has in memory
    records = [record_file(partial, name) for name in sorted(files)]
    gathered: list[list[FileRecord]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(gathered, records)
    if topology.rank == 0:
        shared = _write_shared_files(run, partial, step, num_skipped=engine.skipped_steps)
        everyone = [record for of_rank in gathered for record in of_rank]
        manifest = _manifest(run, step, everyone + shared)
        durable.write_json(partial / MANIFEST_FILE, manifest.to_dict())
        durable.publish_directory(partial, final)
        durable.write_text(run.run_dir / LATEST_FILE, f"{step}\n")
    dist.barrier()
    return final


def _is_saved(final: Path) -> bool:
    """Say what rank 0 sees: on a slow file system others may see an older state."""
    found = [final.exists()]
    dist.broadcast_object_list(found, src=0)
    return found[0]


def _write_shared_files(
    run: Run, partial: Path, step: int, *, num_skipped: int
) -> list[FileRecord]:
    corpus = run.corpus
    tokenizer = corpus.manifest.tokenizer.file
    assert tokenizer.startswith(f"{TOKENIZER_DIR}/")
    durable.link_or_copy(corpus.root / tokenizer, partial / tokenizer)
    if run.source_table is None:
        durable.link_or_copy(corpus.root / SOURCES_FILE, partial / SOURCES_FILE)
    else:
        write_source_table(partial / SOURCES_FILE, run.source_table)
    durable.write_json(partial / RUN_FILE, describe_run(run))
    durable.write_json(
        partial / DATA_FILE,
        {
            "dispatcher": run.config.parallel.dispatcher,
            "first_step": run.first_data_step,
            "rows_per_step": run.config.train.global_batch_rows,
            "seed": run.config.seed,
            "skipped_steps": num_skipped,
            "step": step,
        },
    )
    names = (SOURCES_FILE, tokenizer, RUN_FILE, DATA_FILE)
    return [record_file(partial, name) for name in names]


def _manifest(run: Run, step: int, files: list[FileRecord]) -> CheckpointManifest:
    return CheckpointManifest(
        step=step,
        model={**run.config.to_dict()["model"]},
        router=run.router.spec,
        bucket_table=run.router.bucket_table,
        corpus=run.corpus.manifest.fingerprint,
        tokenizer=run.corpus.manifest.to_dict()["tokenizer"],
        tombstones=run.tombstones,
        files=tuple(sorted(files, key=lambda record: record.path)),
    )


def restore(run: Run, engine: Any, checkpoint: Checkpoint) -> None:
    """Load weights, master weights and moments into an engine, whatever topology saved them.

    Raises:
        IntegrityError: a file is damaged, the fragments do not tile the parameters, or the weights
            are not the rounded master weights.
    """
    topology = run.groups.topology
    step = checkpoint.manifest.step
    fragments = OptimizerFragments(checkpoint)
    fragments.check()
    # Checkpoints from before steps could be skipped do not say how many were.
    num_skipped = read_json(checkpoint.path(DATA_FILE)).get("skipped_steps", 0)
    if step:
        create_adam_state(engine.optimizer, step - num_skipped)
    load_optimizer(engine, fragments, topology)
    publish_master(engine.optimizer)
    engine.global_steps = step
    engine.skipped_steps = num_skipped
    check_weights(engine.module, checkpoint, topology)


def drop_partial(run_dir: Path) -> None:
    """Remove what an interrupted save left behind."""
    folder = run_dir / "checkpoints"
    if folder.is_dir():
        for entry in os.scandir(folder):
            if entry.name.startswith(".") and entry.name.endswith(".partial"):
                shutil.rmtree(entry.path, ignore_errors=True)

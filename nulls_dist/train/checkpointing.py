"""What a running job saves and restores: contents of its checkpoints, whoever writes them when."""

from pathlib import Path
from typing import Any

from torch import Tensor

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
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.source_table import write_source_table
from nulls_dist.durable import FileRecord, read_json, record_file
from nulls_dist.model.state import check_replicas, check_weights, model_weights
from nulls_dist.train.optimizer_state import load_optimizer, optimizer_tensors
from nulls_dist.train.provenance import describe_run
from nulls_dist.train.run import Run
from nulls_dist.train.zero_state import adam_step, create_adam_state, publish_master

LATEST_FILE = "latest_step"


def checkpoint_tensors(run: Run, engine: Any, step: int) -> dict[str, dict[str, Tensor]]:
    """Return what this rank writes after `step` steps: file -> tensor name -> tensor, not copied.

    Steps that were skipped count. All ranks call this together; what they return together is the
    weights, master weights and moments of the whole model.
    """
    updates = adam_step(engine.optimizer)
    assert updates + engine.skipped_steps == step, "Adam counts the steps that were applied"
    if step and not updates:
        create_adam_state(engine.optimizer, updates)  # files of steps have moments, here zeros
    topology = run.groups.topology
    if topology.tp > 1:
        check_replicas(engine.module, run.groups)
    return model_weights(engine.module, run.groups) | optimizer_tensors(engine, topology)


def data_cursor(run: Run, engine: Any, step: int) -> dict[str, Any]:
    """Return where the data stands after `step` steps, for data.json."""
    return {
        "dispatcher": run.config.parallel.dispatcher,
        "first_step": run.first_data_step,
        "rows_per_step": run.config.train.global_batch_rows,
        "seed": run.config.seed,
        "skipped_steps": engine.skipped_steps,
        "step": step,
    }


def publish_checkpoint(
    run: Run, final: Path, cursor: dict[str, Any], records: list[FileRecord]
) -> None:
    """Complete a partial directory that holds all ranks' files and let the checkpoint appear.

    Args:
        run: the run.
        final: directory of the checkpoint.
        cursor: where the data stood when the ranks took their tensors.
        records: the ranks' files.

    Raises:
        OSError: it cannot be written.
    """
    partial, step = durable.partial_directory(final), cursor["step"]
    shared = _write_shared_files(run, partial, cursor)
    manifest = _manifest(run, step, records + shared)
    durable.write_json(partial / MANIFEST_FILE, manifest.to_dict())
    durable.publish_directory(partial, final)
    durable.write_text(run.run_dir / LATEST_FILE, f"{step}\n")


def _write_shared_files(run: Run, partial: Path, cursor: dict[str, Any]) -> list[FileRecord]:
    corpus = run.corpus
    tokenizer = corpus.manifest.tokenizer.file
    assert tokenizer.startswith(f"{TOKENIZER_DIR}/")
    durable.link_or_copy(corpus.root / tokenizer, partial / tokenizer)
    if run.source_table is None:
        durable.link_or_copy(corpus.root / SOURCES_FILE, partial / SOURCES_FILE)
    else:
        write_source_table(partial / SOURCES_FILE, run.source_table)
    durable.write_json(partial / RUN_FILE, describe_run(run))
    durable.write_json(partial / DATA_FILE, cursor)
    names = (SOURCES_FILE, tokenizer, RUN_FILE, DATA_FILE)
    return [record_file(partial, name) for name in names]


def _manifest(run: Run, step: int, files: list[FileRecord]) -> CheckpointManifest:
    return CheckpointManifest(
        step=step,
        model={**run.config.to_dict()["model"]},
        router=run.router.spec,
        bucket_table=run.router.bucket_table,
        private_sources=tuple(run.router.private.source_ids.tolist()),
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

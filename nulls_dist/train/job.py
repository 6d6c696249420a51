"""The composition root: every part of a training job, constructed in one place and order."""

import fcntl
import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch.distributed as dist

from nulls_dist import durable
from nulls_dist.checkpoint.format import RUN_FILE
from nulls_dist.checkpoint.store import Checkpoint, list_checkpoints
from nulls_dist.config.environment import LaunchedProcess
from nulls_dist.config.schema import RunConfig
from nulls_dist.data.corpus import Corpus
from nulls_dist.errors import ConfigError, LockedError, TemporaryError
from nulls_dist.parallel.accelerator import select_accelerator
from nulls_dist.parallel.groups import model_parallel, process_group
from nulls_dist.parallel.quiet import quiet_libraries
from nulls_dist.parallel.topology import resolve_topology
from nulls_dist.train.signals import StopRequest

logger = logging.getLogger(__name__)


def train_job(
    config: RunConfig,
    *,
    corpus_dir: Path,
    run_dir: Path,
    resume: str,
    deepspeed_file: dict[str, Any],
    launch: LaunchedProcess,
    stop: StopRequest,
) -> None:
    """Train a model from whatever state its run directory is in.

    Args:
        config: the run's configuration.
        corpus_dir: what to train on.
        run_dir: where metrics and checkpoints go.
        resume: "auto" continues the newest checkpoint of the run directory, "none" demands an
            unused one, anything else names a checkpoint to continue in an unused one.
        deepspeed_file: content of the DeepSpeed file.
        launch: this process's place among the others.
        stop: set by a signal.

    Raises:
        TemporaryError: the run was asked to stop; it saved and can continue.
    """
    topology = resolve_topology(config, world_size=launch.world_size, rank=launch.rank)
    corpus = Corpus(corpus_dir)
    checkpoint = find_checkpoint(run_dir, resume)
    accelerator = select_accelerator(launch.local_rank)
    with ExitStack() as stack:
        if launch.rank == 0:
            stack.enter_context(_locked(run_dir))
        stack.enter_context(process_group(launch, accelerator))
        groups = stack.enter_context(model_parallel(topology))
        stack.enter_context(quiet_libraries())
        # Megatron and DeepSpeed are imported after the accelerator is chosen.
        from nulls_dist.model.gpt import build_model, initialize
        from nulls_dist.train.checkpointing import drop_partial, restore
        from nulls_dist.train.engine import build_engine
        from nulls_dist.train.loop import fit, write_outcome
        from nulls_dist.train.provenance import describe_run
        from nulls_dist.train.run import assemble_run
        from nulls_dist.train.standard_hooks import standard_hooks

        run = assemble_run(
            config,
            run_dir=run_dir,
            corpus=corpus,
            groups=groups,
            checkpoint=checkpoint,
            allow_new_corpus=resume not in ("auto", "none"),
        )
        model = build_model(run.config.model, topology, accelerator.device)
        initialize(model, run.config.model, topology, config.seed)
        engine = build_engine(model, run.config, groups, deepspeed_file)
        if checkpoint is not None:
            restore(run, engine, checkpoint)
        if launch.rank == 0:
            drop_partial(run_dir)
            durable.write_json(run_dir / RUN_FILE, describe_run(run))
            _describe(run.config, topology.to_dict(), checkpoint)
        try:
            with standard_hooks(run) as hooks:
                outcome = fit(run, engine, stop, hooks)
        except BaseException:
            write_outcome(run, "failed")
            raise
        if launch.rank == 0:
            write_outcome(run, outcome)
        dist.barrier()  # a launcher may end all ranks when the first one leaves
    if outcome == "stopped":
        raise TemporaryError("asked to stop: saved; run the same command again to continue")


def find_checkpoint(run_dir: Path, resume: str) -> Checkpoint | None:
    """Return the checkpoint that a run continues from.

    Raises:
        ConfigError: the run directory is used where it must not be.
        InputError: the named checkpoint is none.
    """
    own = list_checkpoints(run_dir)
    if resume == "auto":
        return Checkpoint(own[-1]) if own else None
    if own or (run_dir / "metrics.jsonl").exists():
        raise ConfigError(
            f"--resume {resume}: run directory {run_dir} is used (it has "
            f"{own[-1].name if own else 'metrics'}); name a new one, or continue it with "
            "--resume auto"
        )
    return None if resume == "none" else Checkpoint(Path(resume))


@contextmanager
def _locked(run_dir: Path) -> Iterator[None]:
    """Hold a run directory for this process.

    Raises:
        LockedError: another process trains there.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LockedError(f"{run_dir}: another process trains in this directory") from None
        yield


def _describe(config: RunConfig, degrees: dict[str, int], checkpoint: Checkpoint | None) -> None:
    start = "new run" if checkpoint is None else f"continuing {checkpoint.root}"
    logger.info(
        "%s: %s, seed %d, %s, %d rows of %d tokens per step, %s",
        config.preset,
        start,
        config.seed,
        json.dumps(degrees),
        config.train.global_batch_rows,
        config.model.context_length,
        config.train.dtype,
    )

"""The composition root: every part of a training run, constructed in one place and order."""

import json
import logging
from pathlib import Path
from typing import Any

from nulls_dist import durable
from nulls_dist.checkpoint.format import RUN_FILE
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.config.schema import RunConfig
from nulls_dist.data.corpus import Corpus
from nulls_dist.durable import read_json
from nulls_dist.model.gpt import build_model, initialize
from nulls_dist.parallel.accelerator import Accelerator
from nulls_dist.parallel.groups import Groups
from nulls_dist.train.checkpointing import restore
from nulls_dist.train.engine import open_engine
from nulls_dist.train.event_log import event_log
from nulls_dist.train.inputs import training_batches
from nulls_dist.train.leftovers import drop_leftovers
from nulls_dist.train.life_log import life_of
from nulls_dist.train.loop import fit
from nulls_dist.train.outcome import Ended
from nulls_dist.train.provenance import changed_settings, describe_run
from nulls_dist.train.requests import RequestWatch
from nulls_dist.train.run import Run, assemble_run
from nulls_dist.train.saving import CheckpointSaver
from nulls_dist.train.signals import StopRequest
from nulls_dist.train.standard_hooks import standard_hooks

logger = logging.getLogger(__name__)


def build_and_fit(
    config: RunConfig,
    *,
    corpus: Corpus,
    run_dir: Path,
    checkpoint: Checkpoint | None,
    allow_new_corpus: bool,
    deepspeed_file: dict[str, Any],
    profile: range | None,
    groups: Groups,
    accelerator: Accelerator,
    stop: StopRequest,
) -> Ended:
    """Build a run from its parts, train it and say how it ended.

    Args:
        config: the run's configuration.
        corpus: what to train on.
        run_dir: where metrics and checkpoints go.
        checkpoint: what to continue from, if anything.
        allow_new_corpus: whether the corpus may be another build than the checkpoint's.
        deepspeed_file: content of the DeepSpeed file.
        profile: steps to trace, from 0.
        groups: the ranks.
        accelerator: this rank's device.
        stop: set by a signal.
    """
    run = assemble_run(
        config,
        run_dir=run_dir,
        corpus=corpus,
        groups=groups,
        checkpoint=checkpoint,
        allow_new_corpus=allow_new_corpus,
    )
    model = build_model(
        run.config.model, groups.topology, accelerator.device, recompute=config.train.recompute
    )
    initialize(model, run.config.model, groups.topology, config.seed)
    with open_engine(model, run.config, groups, deepspeed_file) as engine:
        if checkpoint is not None:
            restore(run, engine, checkpoint)
        rank = groups.topology.rank
        watch = RequestWatch(stop, None if rank else run_dir)
        with life_of(run) as life, event_log(run_dir, life.number, rank=rank) as events:
            if rank == 0:
                drop_leftovers(run_dir)
                durable.write_json(run_dir / RUN_FILE, describe_run(run))
                _announce(run, checkpoint)
            more = (watch, *events)
            with (
                standard_hooks(run, accelerator.device, life, more, profile=profile) as hooks,
                CheckpointSaver(run, engine, hooks) as saver,
                training_batches(run, accelerator.device) as ahead,
            ):
                outcome = fit(run, engine, ahead, watch, hooks, saver)
                life.end(outcome)
                return outcome


def _announce(run: Run, checkpoint: Checkpoint | None) -> None:
    logger.info(
        "%s: %s, seed %d, %s, %d rows of %d tokens per step, %s",
        run.config.preset,
        "new run" if checkpoint is None else f"continuing {checkpoint.root}",
        run.config.seed,
        json.dumps(run.groups.topology.to_dict()),
        run.config.train.global_batch_rows,
        run.config.model.context_length,
        run.config.train.dtype,
    )
    if checkpoint is not None:
        saved = read_json(checkpoint.path(RUN_FILE))["config"]
        for name, (before, now) in changed_settings(saved, run.config.to_dict()).items():
            logger.warning("%s was %s and is %s from here on", name, before, now)

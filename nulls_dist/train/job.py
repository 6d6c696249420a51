"""A training job as a process: its place among the others, its lock, its outcome."""

from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch.distributed as dist

from nulls_dist.checkpoint.store import Checkpoint, list_checkpoints
from nulls_dist.config.deepspeed import settle_deepspeed_file
from nulls_dist.config.environment import LaunchedProcess
from nulls_dist.config.schema import ReportConfig, RunConfig
from nulls_dist.data.corpus import Corpus
from nulls_dist.durable import check_outside
from nulls_dist.errors import ConfigError, IntegrityError, TemporaryError
from nulls_dist.parallel.accelerator import Accelerator, select_accelerator
from nulls_dist.parallel.groups import model_parallel, process_group
from nulls_dist.parallel.quiet import quiet_libraries
from nulls_dist.parallel.topology import resolve_topology
from nulls_dist.train.outcome import forget_outcome, write_outcome
from nulls_dist.train.run_lock import locked
from nulls_dist.train.signals import StopRequest


def train_job(
    config: RunConfig,
    *,
    corpus_dir: Path,
    run_dir: Path,
    resume: str,
    deepspeed_file: dict[str, Any],
    profile: range | None,
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
        profile: steps to trace, from 0.
        launch: this process's place among the others.
        stop: set by a signal.

    Raises:
        InputError: the run directory lies in the corpus.
        IntegrityError: a file of the corpus or of the checkpoint is damaged.
        TemporaryError: the run was asked to stop; it saved and can continue.
    """
    topology = resolve_topology(config, world_size=launch.world_size, rank=launch.rank)
    check_reporters(config.report)
    corpus = Corpus(corpus_dir)
    check_outside(run_dir, corpus_dir)
    found = find_checkpoint(run_dir, resume)
    accelerator = select_accelerator(launch.local_rank)
    config = resolve_dtype(config, accelerator)
    deepspeed_file = settle_deepspeed_file(deepspeed_file, config, data_parallel=topology.dp)
    with ExitStack() as stack:
        stack.enter_context(quiet_libraries())
        if launch.rank == 0:
            stack.enter_context(locked(run_dir))
            forget_outcome(run_dir)
        stack.enter_context(process_group(launch, accelerator))
        _check_contents(corpus, launch)
        checkpoint = _agree_on(found)
        groups = stack.enter_context(model_parallel(topology))
        # Megatron and DeepSpeed are imported after the accelerator is chosen.
        from nulls_dist.train.build import build_and_fit

        try:
            outcome = build_and_fit(
                config,
                corpus=corpus,
                run_dir=run_dir,
                checkpoint=checkpoint,
                allow_new_corpus=resume not in ("auto", "none"),
                deepspeed_file=deepspeed_file,
                profile=profile,
                groups=groups,
                accelerator=accelerator,
                stop=stop,
            )
        except BaseException:
            write_outcome(run_dir, "failed")
            raise
        if launch.rank == 0:
            write_outcome(run_dir, outcome)
        dist.barrier()  # a launcher may end all ranks when the first one leaves
    if outcome != "done":
        raise TemporaryError("stopped as asked, and saved; run the same command again to continue")


def resolve_dtype(config: RunConfig, accelerator: Accelerator) -> RunConfig:
    """Replace train.dtype=auto by what the accelerator is good at."""
    if config.train.dtype != "auto":
        return config
    return replace(config, train=replace(config.train, dtype=accelerator.dtype))


def check_reporters(report: ReportConfig) -> None:
    """Refuse reports whose package is missing, on every rank: only rank 0 would use it.

    Raises:
        ConfigError: it is not installed.
    """
    for package, wanted in (("wandb", report.wandb != "off"), ("tensorboard", report.tensorboard)):
        if wanted and find_spec(package) is None:
            raise ConfigError(
                f"report.{package} ({getattr(report, package)}) needs a package that is not "
                f"installed: pip install 'nulls-dist[{package}]'"
            )


def find_checkpoint(run_dir: Path, resume: str) -> Path | None:
    """Return the checkpoint that a run continues from.

    Raises:
        ConfigError: the run directory is used where it must not be.
    """
    own = list_checkpoints(run_dir)
    if resume == "auto":
        return own[-1] if own else None
    if own or (run_dir / "metrics.jsonl").exists():
        raise ConfigError(
            f"--resume {resume}: run directory {run_dir} is used (it has "
            f"{own[-1].name if own else 'metrics'}); name a new one, or continue it with "
            "--resume auto"
        )
    return None if resume == "none" else Path(resume)


def _check_contents(corpus: Corpus, launch: LaunchedProcess) -> None:
    """Compare all files of the corpus with their checksums, the ranks sharing the work.

    Raises:
        IntegrityError: on every rank, the first damage that any of them found.
    """
    damage: str | None = None
    try:
        corpus.check_contents(part=launch.rank, num_parts=launch.world_size)
    except IntegrityError as error:
        damage = str(error)
    damages: list[str | None] = [None] * launch.world_size
    dist.all_gather_object(damages, damage)
    for message in damages:
        if message is not None:
            raise IntegrityError(message)


def _agree_on(found: Path | None) -> Checkpoint | None:
    """Open the checkpoint that rank 0 found: on a slow file system others may see an older one."""
    choice = [found]
    dist.broadcast_object_list(choice, src=0)
    return None if choice[0] is None else Checkpoint(choice[0])

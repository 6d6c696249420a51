"""The loop: steps, evaluation, checkpoints, until done or asked to stop."""

import logging
import math
import time
from collections.abc import Sequence
from typing import Any, Literal

from nulls_dist.data.batches import GlobalBatches, Microbatch
from nulls_dist.errors import NullsError
from nulls_dist.train.hooks import Hook, StepEvent
from nulls_dist.train.run import Run
from nulls_dist.train.saving import CheckpointSaver
from nulls_dist.train.schedule import learning_rate
from nulls_dist.train.signals import StopRequest
from nulls_dist.train.step import StepResult, train_step

logger = logging.getLogger(__name__)


def fit(
    run: Run, engine: Any, stop: StopRequest, hooks: Sequence[Hook], saver: CheckpointSaver
) -> Literal["done", "stopped"]:
    """Train from the run's first step to its last.

    A checkpoint is written every `train.save_every` steps, at the last step and before leaving on
    request; a run without a step left writes what it loaded, for the ranks it has now. Of these,
    only those of `train.save_every` may be written beside training.

    Returns:
        "stopped" when a signal ended the run early.

    Raises:
        NullsError: the loss or the gradient is not finite.
    """
    train = run.config.train
    stream = run.batches(seed=run.config.seed, rows_per_step=train.global_batch_rows)
    for step in range(run.first_step, train.steps):
        saver.poll()
        started = time.monotonic()
        batches = _microbatches(run, stream, step)
        result = train_step(
            run,
            engine,
            batches,
            step=step,
            learning_rate=learning_rate(run.config.optim, step=step, steps=train.steps),
            stop_requested=stop.requested,
        )
        done = step + 1
        _check_finite(result, done)
        is_last = done == train.steps
        event = StepEvent(
            step=done,
            is_last=is_last,
            batches=batches,
            metrics=_step_metrics(run, result, done, time.monotonic() - started) | saver.metrics(),
            engine=engine,
        )
        for hook in hooks:
            hook.after_step(event)
        if done % train.save_every == 0 or is_last or result.stop_requested:
            saver.save(done, wait=is_last or result.stop_requested or not train.async_save)
        if result.stop_requested and not is_last:
            return "stopped"
    if run.first_step >= train.steps:
        logger.info("nothing to do: %d of %d steps are done", run.first_step, train.steps)
        saver.save(run.first_step, wait=True)
    return "done"


def _microbatches(run: Run, stream: GlobalBatches, step: int) -> list[Microbatch]:
    topology = run.groups.topology
    rows = stream.rank_rows(
        step - run.first_data_step,
        experts=topology.local_experts,
        replica=topology.edp_rank,
        num_replicas=topology.edp,
    )
    size = run.config.train.micro_batch_rows
    return [stream.assemble(rows[begin : begin + size]) for begin in range(0, len(rows), size)]


def _check_finite(result: StepResult, step: int) -> None:
    if not (math.isfinite(result.loss_nats) and math.isfinite(result.grad_norm)):
        raise NullsError(
            f"step {step}: loss {result.loss_nats}, gradient norm {result.grad_norm}: not finite. "
            "The last checkpoint is from before; lower optim.lr or raise optim.warmup_fraction"
        )


def _step_metrics(run: Run, result: StepResult, done: int, seconds: float) -> dict[str, Any]:
    train = run.config.train
    tokens_per_step = train.global_batch_rows * run.config.model.context_length
    return {
        "step": done,
        "train/loss_nats": result.loss_nats,
        "train/grad_norm": result.grad_norm,
        "train/learning_rate": learning_rate(run.config.optim, step=done - 1, steps=train.steps),
        "train/targets": result.num_targets,
        "train/tokens": (done - run.first_data_step) * tokens_per_step,
        "perf/step_s": seconds,
        "perf/tokens_per_s": tokens_per_step / seconds,
    }

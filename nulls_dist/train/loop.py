"""The loop: steps, evaluation, checkpoints, until done or asked to stop."""

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

from nulls_dist.train.guard import StepGuard
from nulls_dist.train.hooks import Hook, StepEvent
from nulls_dist.train.inputs import HostBatch
from nulls_dist.train.outcome import Ended
from nulls_dist.train.performance import PerformanceMeter
from nulls_dist.train.requests import RequestWatch
from nulls_dist.train.run import Run
from nulls_dist.train.saving import CheckpointSaver
from nulls_dist.train.schedule import learning_rate
from nulls_dist.train.step import StepResult, train_step

logger = logging.getLogger(__name__)


def fit(
    run: Run,
    engine: Any,
    ahead: Iterator[list[HostBatch]],
    watch: RequestWatch,
    hooks: Sequence[Hook],
    saver: CheckpointSaver,
) -> Ended:
    """Train from the run's first step to its last.

    A checkpoint is written every `train.save_every` steps, at the last step, on request and before
    leaving on request; a run without a step left writes what it loaded, for the ranks it has now.
    Of these, only those after which training goes on may be written beside it.

    Args:
        run: the run.
        engine: the DeepSpeed engine.
        ahead: this rank's microbatches of every step that is left, made ahead of time.
        watch: knows what this rank is asked to do.
        hooks: told of every step and checkpoint.
        saver: writes checkpoints.

    Returns:
        How it ended; "stopped" and "halted" are ends before the last step.

    Raises:
        NullsError: the loss or the gradient was not finite too many times in a row.
    """
    train = run.config.train
    guard, meter = StepGuard(run), PerformanceMeter(run, engine.device)
    for step in range(run.first_step, train.steps):
        saver.poll()
        started = time.monotonic()
        prepared = next(ahead)  # waits only where the data are slower than the model
        data_s = time.monotonic() - started
        batches = [batch.microbatch for batch in prepared]
        result = train_step(
            run,
            engine,
            prepared,
            learning_rate=learning_rate(run.config.optim, step=step, steps=train.steps),
            requests=watch.look(),
        )
        step_s = time.monotonic() - started
        done = step + 1
        guard.check(result, batches, done)
        is_last = done == train.steps
        event = StepEvent(
            step=done,
            is_last=is_last,
            batches=batches,
            metrics=_step_metrics(run, result, done)
            | meter.measure(step_s=step_s, data_s=data_s)
            | saver.metrics(),
            engine=engine,
        )
        for hook in hooks:
            hook.after_step(event)
        asked = result.requests
        if done % train.save_every == 0 or is_last or asked.save or asked.leave:
            saver.save(done, wait=is_last or asked.leave or not train.async_save)
        if asked.leave and not is_last:
            return "halted" if asked.halt else "stopped"
    if run.first_step >= train.steps:
        logger.info("nothing to do: %d of %d steps are done", run.first_step, train.steps)
        saver.save(run.first_step, wait=True)
    return "done"


def _step_metrics(run: Run, result: StepResult, done: int) -> dict[str, Any]:
    train = run.config.train
    tokens_per_step = train.global_batch_rows * run.config.model.context_length
    return {
        "step": done,
        "train/loss_nats": result.loss_nats,
        "train/grad_norm": result.grad_norm,
        "train/grad_norm_backbone": result.grad_norm_backbone,
        "train/grad_norm_sinks": result.grad_norm_sinks,
        "train/learning_rate": learning_rate(run.config.optim, step=done - 1, steps=train.steps),
        "train/targets": result.num_targets,
        "train/tokens": (done - run.first_data_step) * tokens_per_step,
        "train/skipped_steps": result.num_skipped,
    }

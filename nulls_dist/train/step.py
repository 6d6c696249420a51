"""One optimizer step over this rank's share of the global batch."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from nulls_dist.model.gpt import token_losses
from nulls_dist.train.inputs import HostBatch, to_device
from nulls_dist.train.run import Run


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """What a step reports, equal on all ranks."""

    loss_nats: float
    """Mean over all targets of the global batch."""
    grad_norm: float
    """Global norm before clipping."""
    num_targets: int
    stop_requested: bool
    """Whether any rank was asked to stop."""


def sum_over_ranks(values: list[float], device: torch.device) -> list[float]:
    """Return the sums of some numbers over all ranks, in float64.

    Tensor-parallel ranks train the same rows, so what rows have counts once for each of them.
    """
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return [float(value) for value in total.tolist()]


def train_step(
    run: Run,
    engine: Any,
    batches: list[HostBatch],
    *,
    learning_rate: float,
    stop_requested: bool,
) -> StepResult:
    """Take one optimizer step.

    The loss is the mean over all targets of the global batch, also when ranks and microbatches
    hold different numbers of them: targets are counted over all ranks before the first backward
    pass, and every microbatch's sum is scaled by that one number. DeepSpeed divides by the
    data-parallel size and by the accumulation, hence both factors.

    Args:
        run: the run.
        engine: the DeepSpeed engine.
        batches: this rank's microbatches, routed for the step.
        learning_rate: of this step.
        stop_requested: whether this rank was asked to stop.
    """
    device = engine.device
    local_targets = sum(batch.microbatch.num_targets for batch in batches)
    topology = run.groups.topology
    target_sum, stops = sum_over_ranks([local_targets, stop_requested], device)
    targets = target_sum / topology.tp
    scale = topology.dp * len(batches) / targets
    for group in engine.optimizer.param_groups:
        group["lr"] = learning_rate
    local_loss = torch.zeros((), dtype=torch.float64, device=device)
    for batch in batches:
        inputs = to_device(run, batch, device)
        losses = token_losses(engine, inputs.tokens, inputs.targets, inputs.rows)
        loss_sum = (losses * inputs.has_target).sum()
        engine.backward(loss_sum * scale)
        engine.step()
        local_loss += loss_sum.detach()
    (loss_sum_all,) = sum_over_ranks([float(local_loss)], device)
    return StepResult(
        loss_nats=loss_sum_all / target_sum,
        grad_norm=float(engine.get_global_grad_norm() or 0.0),
        num_targets=int(targets),
        stop_requested=stops > 0,
    )

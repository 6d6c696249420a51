"""One optimizer step over this rank's share of the global batch."""

import math
from dataclasses import astuple, dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from nulls_dist.model.gpt import loss_sum
from nulls_dist.train.inputs import HostBatch, to_device
from nulls_dist.train.requests import Requests
from nulls_dist.train.run import Run
from nulls_dist.train.zero_state import drop_gradients, gradient_squares


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """What a step reports, equal on all ranks."""

    loss_nats: float
    """Mean over all targets of the global batch."""
    grad_norm: float
    """Global norm before clipping."""
    grad_norm_backbone: float
    """Its part of all parameters but the sinks."""
    grad_norm_sinks: float
    num_targets: int
    is_applied: bool
    """False where the loss or the gradient is not finite: the model and the optimizer are as they
    were before the step."""
    num_skipped: int
    """Steps of the run so far that were not applied."""
    requests: Requests
    """What any rank was asked to do."""


def sum_over_ranks(values: list[float], device: torch.device) -> list[float]:
    """Return the sums of some numbers over all ranks, in float64.

    Tensor-parallel ranks train the same rows, so what rows have counts once for each of them.
    """
    return _reduce_over_ranks(values, device, dist.ReduceOp.SUM)


def max_over_ranks(values: list[float], device: torch.device) -> list[float]:
    """Return the largest of every number over all ranks, in float64."""
    return _reduce_over_ranks(values, device, dist.ReduceOp.MAX)


def _reduce_over_ranks(
    values: list[float], device: torch.device, operation: dist.ReduceOp.RedOpType
) -> list[float]:
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total, op=operation)
    return [float(value) for value in total.tolist()]


def train_step(
    run: Run,
    engine: Any,
    batches: list[HostBatch],
    *,
    learning_rate: float,
    requests: Requests,
) -> StepResult:
    """Take one optimizer step, or none where the loss or the gradient is not finite.

    The loss is the mean over all targets of the global batch, also when ranks and microbatches
    hold different numbers of them: targets are counted over all ranks before the first backward
    pass, and every microbatch's sum is scaled by that one number. DeepSpeed divides by the
    data-parallel size and by the accumulation, hence both factors.

    DeepSpeed leaves out a step whose gradient norm is not finite, on all ranks alike, whatever the
    precision. A loss that is not finite on any rank is made to spoil the gradient of every rank.

    Args:
        run: the run.
        engine: the DeepSpeed engine.
        batches: this rank's microbatches, routed for the step.
        learning_rate: of this step.
        requests: what this rank was asked to do.
    """
    device = engine.device
    local_targets = sum(batch.microbatch.num_targets for batch in batches)
    topology = run.groups.topology
    target_sum, *asked = sum_over_ranks([local_targets, *astuple(requests)], device)
    targets = target_sum / topology.tp
    scale = topology.dp * len(batches) / targets
    for group in engine.optimizer.param_groups:
        group["lr"] = learning_rate
    total_loss = torch.zeros((), dtype=torch.float64, device=device)
    for batch in batches:
        inputs = to_device(run, batch, device)
        loss = loss_sum(engine, inputs.tokens, inputs.targets, inputs.has_target, inputs.rows)
        total_loss += loss.detach()
        is_last = batch is batches[-1]
        if is_last:
            dist.all_reduce(total_loss)
            loss = loss * _one_if_finite(total_loss).to(loss.dtype)
        engine.backward(loss * scale)
        if is_last:
            squares = gradient_squares(engine.optimizer, device, tp_rank=topology.tp_rank)
        engine.step()
    dist.all_reduce(squares)
    mean_loss, norm = float(total_loss) / target_sum, float(engine.get_global_grad_norm() or 0.0)
    is_applied = engine.was_step_applied()
    assert is_applied == (math.isfinite(mean_loss) and math.isfinite(norm)), "DeepSpeed's own check"
    if not is_applied:
        drop_gradients(engine.optimizer)
    return StepResult(
        loss_nats=mean_loss,
        grad_norm=norm,
        grad_norm_backbone=math.sqrt(float(squares[0])),
        grad_norm_sinks=math.sqrt(float(squares[1])),
        num_targets=int(targets),
        is_applied=is_applied,
        num_skipped=engine.skipped_steps,
        requests=Requests(*(count > 0 for count in asked)),
    )


def _one_if_finite(value: Tensor) -> Tensor:
    """Return 1, or NaN if the value is not finite, without waiting for the device."""
    return torch.where(torch.isfinite(value), 1.0, math.nan)

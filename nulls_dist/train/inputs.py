"""What a step computes on: assembled and routed on the host ahead of time, then moved.

Everything that depends on the batch alone is done in the background: rows, tokens, sink dropout,
the plan of the sinks. The training thread only starts copies, and no layer waits for the host.
Where tokens travel between ranks, these agree on the plan on the training thread: two threads
that communicate would get into each other's way.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nulls_dist.data.batches import GlobalBatches, Microbatch
from nulls_dist.data.prefetch import prefetch
from nulls_dist.model.dispatch import LOCAL, plan_dispatch
from nulls_dist.model.packed import PackedRows, pack_rows
from nulls_dist.parallel.accelerator import pin_memory
from nulls_dist.routing.dropout import draw_dropped
from nulls_dist.routing.plan import SinkPlan, build_plan
from nulls_dist.train.run import Run

_STEPS_AHEAD: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class HostBatch:
    """A routed microbatch on the host, from where the device can copy it; T tokens."""

    microbatch: Microbatch
    tokens: Tensor
    """(T,) int64."""
    targets: Tensor
    """(T,) int64."""
    has_target: Tensor
    """(T,) float32, 1 where the token has a target."""
    dropped: npt.NDArray[np.bool_]
    """(S,) segments that use the backbone alone."""
    plan: SinkPlan | None
    """None where the ranks have to agree on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceBatch:
    """A microbatch on the device, ready for the model; T tokens."""

    tokens: Tensor
    targets: Tensor
    has_target: Tensor
    """(T,) float32, 1 where the token has a target."""
    rows: PackedRows


def route(
    run: Run, batch: Microbatch, device: torch.device, *, dropped: npt.NDArray[np.bool_]
) -> HostBatch:
    """Route a microbatch and lay it out for a device.

    Args:
        run: the run.
        batch: as read from the corpus.
        device: where it will be used.
        dropped: (S,) bool, segments that use the backbone alone.
    """
    pin = partial(pin_memory, device=device)
    plan = None
    if run.is_placed:
        experts = run.groups.topology.local_experts
        plan = build_plan(run.router, batch.layout, local_experts=experts, dropped=dropped)
    return HostBatch(
        microbatch=batch,
        tokens=pin(torch.from_numpy(batch.tokens)),
        targets=pin(torch.from_numpy(batch.targets)),
        has_target=pin(torch.from_numpy(batch.layout.has_target).to(torch.float32)),
        dropped=dropped,
        plan=plan and plan.map(pin),
    )


def to_device(run: Run, batch: HostBatch, device: torch.device) -> DeviceBatch:
    """Start copying a microbatch to the device; all ranks call this together.

    Nothing is waited for, unless the ranks have to agree on the plan.
    """
    model, layout = run.config.model, batch.microbatch.layout
    if batch.plan is None:
        plan, dispatcher = plan_dispatch(
            run.router,
            layout,
            groups=run.groups,
            device=device,
            dropped=batch.dropped,
        )
    else:
        plan, dispatcher = batch.plan, LOCAL
    return DeviceBatch(
        tokens=batch.tokens.to(device, non_blocking=True),
        targets=batch.targets.to(device, non_blocking=True),
        has_target=batch.has_target.to(device, non_blocking=True),
        rows=pack_rows(
            layout,
            plan,
            head_dim=model.head_dim,
            rope_theta=model.rope_theta,
            device=device,
            dispatcher=dispatcher,
        ),
    )


@contextmanager
def training_batches(run: Run, device: torch.device) -> Iterator[Iterator[list[HostBatch]]]:
    """Yield an iterator over this rank's microbatches of every step that is left."""
    train = run.config.train
    stream = run.batches(seed=run.config.seed, rows_per_step=train.global_batch_rows)
    steps = range(run.first_step, train.steps)
    with prefetch(partial(step_batches, run, stream, device), steps, ahead=_STEPS_AHEAD) as ready:
        yield ready


def step_batches(
    run: Run, stream: GlobalBatches, device: torch.device, step: int
) -> list[HostBatch]:
    """Return this rank's microbatches of a step."""
    rows = run.rank_rows(stream, step - run.first_data_step)
    size = run.config.train.micro_batch_rows
    batches = [stream.assemble(rows[begin : begin + size]) for begin in range(0, len(rows), size)]
    return [route(run, batch, device, dropped=_dropped(run, batch, step)) for batch in batches]


def _dropped(run: Run, batch: Microbatch, step: int) -> npt.NDArray[np.bool_]:
    return draw_dropped(
        batch.layout,
        probability=run.config.model.sink_dropout,
        seed=run.config.seed,
        step=step,
    )

"""Where ZeRO keeps the float32 master weights and moments of each parameter.

The one file that reads private attributes of DeepSpeed's optimizers (0.19.8, stages 1 and 2 and
the bf16 optimizer):

1. DeepSpeed lays the parameters of a group end to end in one flat tensor (every model parameter is
   a view of it) and cuts it in equal parts over the group's data-parallel ranks: all ranks for
   dense parameters, the replicas of the experts for sinks.
2. Where a parameter lies follows from the storage offset of its view.
3. This rank's float32 part is the optimizer's parameter, and the key of its Adam state; where the
   optimizer is offloaded, both lie in the host's memory.
4. Averaged gradients are cut alike: a list of tensors that make up this rank's part, or, in the
   bf16 optimizer, that part of a flat tensor of all of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from nulls_dist.checkpoint.format import OPTIMIZER_KINDS


@dataclass(frozen=True, kw_only=True, slots=True)
class Fragment:
    """The part of a parameter whose optimizer state is this rank's."""

    parameter: nn.Parameter
    start: int
    """First element inside the flattened parameter."""
    length: int
    state: dict[str, Tensor]
    """Views of the float32 state by kind, each (length,); moments only after the first step."""


def zero_fragments(optimizer: Any) -> Iterator[Fragment]:
    """Yield this rank's fragments of every parameter, group by group."""
    for index, group in enumerate(optimizer.optimizer.param_groups):
        (master,) = group["params"]
        buffers = _buffers(optimizer, master)
        for place in _places(optimizer, index):
            yield Fragment(
                parameter=place.parameter,
                start=place.start,
                length=place.length,
                state={kind: place.of(buffer) for kind, buffer in buffers.items()},
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where a fragment lies in this rank's part of a group."""

    parameter: nn.Parameter
    start: int
    """First element inside the flattened parameter."""
    at: int
    """First element inside the part."""
    length: int

    def of(self, part: Tensor) -> Tensor:
        return part[self.at : self.at + self.length]


def _places(optimizer: Any, index: int) -> Iterator[_Place]:
    bf16 = _is_bf16(optimizer)
    groups = optimizer.bf16_groups if bf16 else optimizer.bit16_groups
    flats = optimizer.bf16_groups_flat if bf16 else optimizer.bit16_groups_flat
    process_group, flat = optimizer.real_dp_process_group[index], flats[index]
    (master,) = optimizer.optimizer.param_groups[index]["params"]
    begin = dist.get_rank(process_group) * master.numel()
    assert flat.numel() == master.numel() * dist.get_world_size(process_group)
    for parameter in groups[index]:
        offset = _offset_in(flat, parameter)
        first = max(offset, begin)
        last = min(offset + parameter.numel(), begin + master.numel())
        if first < last:
            yield _Place(
                parameter=parameter, start=first - offset, at=first - begin, length=last - first
            )


def _is_bf16(optimizer: Any) -> bool:
    return not hasattr(optimizer, "bit16_groups")


def _offset_in(flat: Tensor, parameter: nn.Parameter) -> int:
    same = parameter.untyped_storage().data_ptr() == flat.untyped_storage().data_ptr()
    assert same, "every model parameter is a view of its group's flat tensor"
    assert parameter.is_contiguous(), "every model parameter is a contiguous view"
    return int(parameter.storage_offset() - flat.storage_offset())


def _buffers(optimizer: Any, master: Tensor) -> dict[str, Tensor]:
    state = optimizer.optimizer.state[master]
    moments = {kind: state[kind] for kind in OPTIMIZER_KINDS[1:] if kind in state}
    return {OPTIMIZER_KINDS[0]: master.detach(), **moments}


def gradient_squares(optimizer: Any, device: torch.device, *, tp_rank: int) -> Tensor:
    """Return this rank's share of the squared gradient norms of backbone and sinks: (2,) float64.

    Between the last backward pass of a step and the step itself. What all ranks return adds up to
    the squared norms: every element of a gradient lies in the part of one data-parallel rank, and
    what tensor-parallel ranks hold alike counts on the first of them.
    """
    squares = torch.zeros(2, dtype=torch.float64, device=device)
    for index, group in enumerate(optimizer.optimizer.param_groups):
        norms = [
            torch.linalg.vector_norm(gradient.float()).to(device)
            for parameter, gradient in _gradients(optimizer, index)
            if tp_rank == 0 or getattr(parameter, "tensor_model_parallel", False)
        ]
        if norms:
            squares[int(group.get("moe", False))] += torch.stack(norms).double().square().sum()
    return squares


def _gradients(optimizer: Any, index: int) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Yield this rank's averaged gradients of a group with the parameters they belong to."""
    if not _is_bf16(optimizer) and not optimizer.cpu_offload:
        parameters = optimizer.params_in_partition[index]
        yield from zip(parameters, optimizer.averaged_gradients[index], strict=False)
        return
    if _is_bf16(optimizer):
        part = optimizer.fp32_groups_gradient_flat_partition[index]
    else:
        optimizer._wait_for_offload_copies()  # from the device, they may still be under way
        part = optimizer.single_partition_of_fp32_groups[index].grad
    yield from ((place.parameter, place.of(part)) for place in _places(optimizer, index))


def drop_gradients(optimizer: Any) -> None:
    """Forget the gradients of a step that was left out because they were not finite.

    DeepSpeed keeps the sums of an offloaded bf16 run, and would add the next gradients to them.
    """
    if not _is_bf16(optimizer) and optimizer.cpu_offload:
        optimizer.averaged_gradients.clear()


def adam_step(optimizer: Any) -> int:
    """Return how many updates Adam has counted, the same for every group."""
    steps = {
        int(optimizer.optimizer.state[master].get("step", 0))
        for group in optimizer.optimizer.param_groups
        for master in group["params"]
    }
    assert len(steps) == 1, f"groups disagree on Adam's step: {steps}"
    return steps.pop()


def create_adam_state(optimizer: Any, updates: int) -> None:
    """Give every group the state that Adam has after some updates, with zero moments."""
    for group in optimizer.optimizer.param_groups:
        for master in group["params"]:
            state = optimizer.optimizer.state[master]
            state.clear()
            state["step"] = torch.tensor(float(updates), device=master.device)  # as fused AdamW's
            for kind in OPTIMIZER_KINDS[1:]:
                state[kind] = torch.zeros_like(master, requires_grad=False)


def publish_master(optimizer: Any) -> None:
    """Round the master weights into the model, on every rank; the model is stale before it."""
    optimizer.update_lp_params()

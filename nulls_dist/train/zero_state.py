"""Where ZeRO keeps the float32 master weights and moments of each parameter.

The one file that reads private attributes of DeepSpeed's optimizers (0.19.8, stages 1 and 2 and
the bf16 optimizer):

1. DeepSpeed lays the parameters of a group end to end in one flat tensor (every model parameter is
   a view of it) and cuts it in equal parts over the group's data-parallel ranks: all ranks for
   dense parameters, the replicas of the experts for sinks.
2. Where a parameter lies follows from the storage offset of its view.
3. This rank's float32 part is the optimizer's parameter, and the key of its Adam state.
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
    bf16 = not hasattr(optimizer, "bit16_groups")
    groups = optimizer.bf16_groups if bf16 else optimizer.bit16_groups
    flats = optimizer.bf16_groups_flat if bf16 else optimizer.bit16_groups_flat
    for index, process_group in enumerate(optimizer.real_dp_process_group):
        (master,) = optimizer.optimizer.param_groups[index]["params"]
        buffers = _buffers(optimizer, master)
        flat = flats[index]
        begin = dist.get_rank(process_group) * master.numel()
        assert flat.numel() == master.numel() * dist.get_world_size(process_group)
        for parameter in groups[index]:
            offset = _offset_in(flat, parameter)
            first = max(offset, begin)
            last = min(offset + parameter.numel(), begin + master.numel())
            if first < last:
                yield Fragment(
                    parameter=parameter,
                    start=first - offset,
                    length=last - first,
                    state={
                        kind: buffer[first - begin : last - begin]
                        for kind, buffer in buffers.items()
                    },
                )


def _offset_in(flat: Tensor, parameter: nn.Parameter) -> int:
    same = parameter.untyped_storage().data_ptr() == flat.untyped_storage().data_ptr()
    assert same, "every model parameter is a view of its group's flat tensor"
    assert parameter.is_contiguous(), "every model parameter is a contiguous view"
    return int(parameter.storage_offset() - flat.storage_offset())


def _buffers(optimizer: Any, master: Tensor) -> dict[str, Tensor]:
    state = optimizer.optimizer.state[master]
    moments = {kind: state[kind] for kind in OPTIMIZER_KINDS[1:] if kind in state}
    return {OPTIMIZER_KINDS[0]: master.detach(), **moments}


def adam_step(optimizer: Any) -> int:
    """Return how many steps Adam has counted, the same for every group."""
    steps = {
        int(optimizer.optimizer.state[master].get("step", 0))
        for group in optimizer.optimizer.param_groups
        for master in group["params"]
    }
    assert len(steps) == 1, f"groups disagree on Adam's step: {steps}"
    return steps.pop()


def create_adam_state(optimizer: Any, step: int) -> None:
    """Give every group the state that Adam has after `step` steps, with zero moments."""
    for group in optimizer.optimizer.param_groups:
        for master in group["params"]:
            state = optimizer.optimizer.state[master]
            state.clear()
            if step:
                state["step"] = torch.tensor(float(step), device=master.device)  # fused AdamW's
                for kind in OPTIMIZER_KINDS[1:]:
                    state[kind] = torch.zeros_like(master, requires_grad=False)


def publish_master(optimizer: Any) -> None:
    """Round the master weights into the model, on every rank; the model is stale before it."""
    optimizer.update_lp_params()

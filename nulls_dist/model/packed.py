"""PackedRows: the tokens' metadata on its way through Megatron's layers.

It travels in the slot that Megatron already passes to every layer, also under recomputation.
"""

from dataclasses import dataclass, field
from typing import Final

import torch
from megatron.core.packed_seq_params import PackedSeqParams
from torch import Tensor
from torch.nn import functional

from nulls_dist.model.dispatch import LOCAL, Dispatcher
from nulls_dist.parallel.accelerator import pin_memory
from nulls_dist.routing.plan import SinkPlan
from nulls_dist.segments import SegmentLayout


@dataclass(frozen=True, kw_only=True, slots=True)
class Gains:
    """What the two parts of every MLP are multiplied by; other than 1 only where models are asked.

    Weights that were trained with masks of varying size are asked with rescaled parts.
    """

    backbone: float = 1.0
    sinks: float = 1.0


NO_GAINS: Final = Gains()


@dataclass(kw_only=True)
class PackedRows(PackedSeqParams):  # type: ignore[misc]
    """Segments, rotary angles and sinks of one microbatch of T tokens.

    Megatron's class is a bag of optional fields; these are the ones this model reads.
    """

    lengths: tuple[int, ...]
    """Tokens per segment, on the host: layers never wait for the device."""
    rotary: tuple[Tensor, Tensor]
    """Cosine and sine, each (T, 1, head_dim) float32."""
    plan: SinkPlan
    """Of the tokens whose sinks run on this rank."""
    dispatcher: Dispatcher
    """Brings them here."""
    gains: Gains = NO_GAINS
    qkv_format: str = field(default="thd")


def pack_rows(
    layout: SegmentLayout,
    plan: SinkPlan,
    *,
    head_dim: int,
    rope_theta: float,
    device: torch.device,
    dispatcher: Dispatcher = LOCAL,
    gains: Gains = NO_GAINS,
) -> PackedRows:
    """Prepare a microbatch's metadata on a device, once for all layers.

    Args:
        layout: at least one segment.
        plan: the sinks that run on this rank: of its segments, unless a dispatcher brings others.
        head_dim: even.
        rope_theta: base of the rotary frequencies.
        device: where the model runs.
        dispatcher: moves tokens to their sinks.
        gains: of the parts of the MLPs.
    """
    ends = pin_memory(torch.from_numpy(layout.ends), device).to(device, non_blocking=True)
    starts_and_ends = functional.pad(ends, (1, 0))
    longest = max(layout.lengths)
    positions = pin_memory(torch.from_numpy(layout.position_ids), device)
    return PackedRows(
        cu_seqlens_q=starts_and_ends,
        cu_seqlens_kv=starts_and_ends,
        max_seqlen_q=longest,
        max_seqlen_kv=longest,
        lengths=layout.lengths,
        rotary=rotary_angles(
            positions.to(device, non_blocking=True), head_dim=head_dim, theta=rope_theta
        ),
        plan=plan.to(device),
        dispatcher=dispatcher,
        gains=gains,
    )


def rotary_angles(positions: Tensor, *, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of the rotary angles, each (T, 1, head_dim) float32.

    Args:
        positions: (T,) int64 position inside the document.
        head_dim: even.
        theta: base of the frequencies.

    Source: RoFormer (arXiv 2104.09864) section 3.2; halves rotated, as in Llama.
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions.device)
    frequencies = 1.0 / theta ** (exponents / head_dim)
    angles = torch.outer(positions.to(torch.float32), frequencies)
    angles = torch.cat((angles, angles), dim=-1)[:, None]
    return angles.cos(), angles.sin()


def rotate(states: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Apply rotary position embedding to (T, heads, head_dim) queries or keys."""
    cosine, sine = (angles.to(states.dtype) for angles in rotary)
    first, second = states.chunk(2, dim=-1)
    return states * cosine + torch.cat((-second, first), dim=-1) * sine

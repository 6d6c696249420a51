"""SinkPlan: what all layers need to run the sinks of one microbatch, derived once per batch.

Dimensions: L layers, S segments, K active sinks, T tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nulls_dist.config.schema import KERNEL_MULTIPLE
from nulls_dist.routing.router import NO_SINK, Router, RouterSpec
from nulls_dist.routing.sink_sets import SinkMask
from nulls_dist.segments import SegmentLayout
from nulls_dist.sources import NO_SOURCE


@dataclass(frozen=True, kw_only=True)
class SinkPlan:
    """Rows of the local sink pool that each segment activates."""

    rows: Tensor
    """(L, S * K) int64 rows of the local pool; any valid row where `keep` is false."""
    keep: Tensor
    """(L, S * K) bool; false switches a sink off by multiplying its output by zero."""
    ends: Tensor
    """(S,) int32 end of each segment in tokens: the groups of the grouped products."""
    num_active: int
    """K."""

    def to(self, device: torch.device) -> "SinkPlan":
        """Return the plan on a device; out of pinned memory without waiting for the copy."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def map(self, move: Callable[[Tensor], Tensor]) -> "SinkPlan":
        """Return the plan with each of its tensors moved."""
        return SinkPlan(
            rows=move(self.rows),
            keep=move(self.keep),
            ends=move(self.ends),
            num_active=self.num_active,
        )


def find_routed(
    layout: SegmentLayout, dropped: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.bool_]:
    """Return which segments have sinks to run, (S,) bool: those of a source, not dropped."""
    routed: npt.NDArray[np.bool_] = layout.source_ids != np.uint64(NO_SOURCE)
    return routed if dropped is None else routed & ~dropped


def build_plan(
    router: Router,
    layout: SegmentLayout,
    *,
    local_experts: range,
    dropped: npt.NDArray[np.bool_] | None = None,
    excluded: SinkMask | None = None,
) -> SinkPlan:
    """Route every segment of a microbatch.

    The shapes depend on the layout alone, never on which sinks are on: a segment that is dropped
    (sink dropout, the state "off") or padding keeps its place with every sink switched off. Only
    masks of released weights can be wider than `num_active` and then widen the plan.

    Args:
        router: the router of the corpus.
        layout: segments of the microbatch.
        local_experts: experts held by this rank; the local pool is their sinks in this order.
        dropped: (S,) segments that use the backbone alone; none by default.
        excluded: sinks that are off, whoever owns them; none by default.

    Raises:
        RefusedError: a segment that is not dropped belongs to a deleted source.
    """
    spec = router.spec
    routed = find_routed(layout, dropped)
    source_ids = layout.source_ids[routed]
    sinks = router.active_sinks(source_ids)
    shape = (spec.num_layers, layout.num_segments, sinks.shape[2])
    rows = np.zeros(shape, dtype=np.int64)
    keep = np.zeros(shape, dtype=np.bool_)
    experts = router.experts_of(source_ids)
    assert np.isin(experts, local_experts).all(), (
        "placement puts every document on the rank of its expert"
    )
    first_rows = (experts - local_experts.start) * spec.num_sinks
    for layer, sinks_of_layer in enumerate(sinks):
        is_on = sinks_of_layer != NO_SINK
        if excluded is not None:
            is_on &= ~excluded[layer, experts[:, None], sinks_of_layer]
        rows[layer, routed] = np.maximum(sinks_of_layer, 0) + first_rows[:, None]
        keep[layer, routed] = is_on
    return SinkPlan(
        rows=torch.from_numpy(rows.reshape(spec.num_layers, -1)),
        keep=torch.from_numpy(keep.reshape(spec.num_layers, -1)),
        ends=torch.from_numpy(layout.ends),
        num_active=shape[2],
    )


def plan_whole_pool(spec: RouterSpec, num_tokens: int, excluded: SinkMask | None) -> SinkPlan:
    """Give every token all sinks of all experts, for models that are asked and not trained.

    Args:
        spec: of the router; this process holds all experts.
        num_tokens: T; they form one group, whatever their sources.
        excluded: sinks that are off; none where None.
    """
    num_rows = spec.num_experts * spec.num_sinks
    num_active = KERNEL_MULTIPLE * -(-num_rows // KERNEL_MULTIPLE)
    rows = np.zeros((spec.num_layers, num_active), dtype=np.int64)
    rows[:, :num_rows] = np.arange(num_rows)
    keep = np.zeros((spec.num_layers, num_active), dtype=np.bool_)
    keep[:, :num_rows] = True if excluded is None else ~excluded.reshape(spec.num_layers, -1)
    return SinkPlan(
        rows=torch.from_numpy(rows),
        keep=torch.from_numpy(keep),
        ends=torch.tensor([num_tokens], dtype=torch.int32),
        num_active=num_active,
    )

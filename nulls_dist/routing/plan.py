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
from nulls_dist.hashing import U64Array
from nulls_dist.routing.router import Router
from nulls_dist.routing.sink_sets import sinks_of
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
) -> SinkPlan:
    """Route every segment of a microbatch.

    The shapes depend on the layout alone, never on which sinks are on: a segment that is dropped
    (sink dropout, the state "off") or padding keeps its place with every sink switched off.

    Args:
        router: the router of the corpus.
        layout: segments of the microbatch.
        local_experts: experts held by this rank; the local pool is their sinks in this order.
        dropped: (S,) segments that use the backbone alone; none by default.

    Raises:
        RefusedError: a segment that is not dropped belongs to a deleted source.
    """
    spec = router.spec
    routed = find_routed(layout, dropped)
    shape = (spec.num_layers, layout.num_segments, spec.num_active)
    rows = np.zeros(shape, dtype=np.int64)
    source_ids = layout.source_ids[routed]
    if len(source_ids):
        slots = router.experts_of(source_ids) - local_experts.start
        assert slots.min() >= 0, "placement puts every document on the rank of its expert"
        assert slots.max() < len(local_experts), (
            "placement puts every document on the rank of its expert"
        )
        first_rows = slots * spec.num_sinks
        for rows_of_layer, sinks in zip(rows, router.active_sinks(source_ids), strict=True):
            rows_of_layer[routed] = sinks + first_rows[:, None]
    keep = np.broadcast_to(routed[None, :, None], shape).copy()
    return SinkPlan(
        rows=torch.from_numpy(rows.reshape(spec.num_layers, -1)),
        keep=torch.from_numpy(keep.reshape(spec.num_layers, -1)),
        ends=torch.from_numpy(layout.ends),
        num_active=spec.num_active,
    )


def build_union_plan(router: Router, layout: SegmentLayout, source_ids: U64Array) -> SinkPlan:
    """Give every segment the sinks of all of some sources, each once, over a pool of all experts.

    Args:
        router: the router of the corpus.
        layout: segments of the microbatch.
        source_ids: whose sinks.

    Raises:
        RefusedError: one of the sources was deleted.
    """
    mask = sinks_of(router, source_ids)
    unions = [np.flatnonzero(sinks) for sinks in mask]
    widest = max(len(union) for union in unions)
    num_active = -(-widest // KERNEL_MULTIPLE) * KERNEL_MULTIPLE
    rows = np.zeros((len(unions), layout.num_segments, num_active), dtype=np.int64)
    keep = np.zeros(rows.shape, dtype=np.bool_)
    for layer, union in enumerate(unions):
        rows[layer, :, : len(union)] = union
        keep[layer, :, : len(union)] = True
    return SinkPlan(
        rows=torch.from_numpy(rows.reshape(len(unions), -1)),
        keep=torch.from_numpy(keep.reshape(len(unions), -1)),
        ends=torch.from_numpy(layout.ends),
        num_active=num_active,
    )

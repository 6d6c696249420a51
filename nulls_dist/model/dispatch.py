"""Where tokens meet their sinks: at home, or on the rank that holds their source's expert.

Documents that are placed are trained on the rank of their sinks, and nothing moves. Documents that
are not are sent there layer by layer, segment by segment, and what their sinks say comes back.

Dimensions: T tokens and S segments at home, R tokens to run here, D model dim.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor

from nulls_dist.parallel.exchange import exchange_rows
from nulls_dist.parallel.groups import Groups
from nulls_dist.routing.plan import SinkPlan, build_plan, find_routed
from nulls_dist.routing.router import Router
from nulls_dist.segments import SegmentLayout
from nulls_dist.sources import NO_SOURCE


class Dispatcher(Protocol):
    """Brings the tokens of one microbatch to their sinks and back, the same way in every layer."""

    def dispatch(self, x_TD: Tensor) -> Tensor:
        """Return the tokens whose sinks are here, as the plan's segments: (T, D) -> (R, D)."""
        ...

    def combine(self, y_RD: Tensor) -> Tensor:
        """Return what the sinks said of the tokens at home: (R, D) -> (T, D)."""
        ...


class LocalDispatcher:
    """Every token is where its sinks are."""

    def dispatch(self, x_TD: Tensor) -> Tensor:
        """Return the tokens."""
        return x_TD

    def combine(self, y_RD: Tensor) -> Tensor:
        """Return the answers."""
        return y_RD


LOCAL: Final = LocalDispatcher()

_PADDING: Final = SegmentLayout(
    lengths=(1,),
    source_ids=np.array([NO_SOURCE], dtype=np.uint64),
    doc_indices=np.zeros(1, dtype=np.uint32),
)


@dataclass(frozen=True, kw_only=True)
class AllToAllDispatcher:
    """Segments travel between the ranks of the expert-parallel group.

    A segment without sinks to run stays at home. All ranks take part in both exchanges of every
    layer, whatever they have to send: what leaves, arrives and comes back is one chain in the
    graph, so the backward pass takes part in them as well.
    """

    leaving: Tensor
    """Which of the T tokens leave, by destination; int64."""
    sent: tuple[int, ...]
    """Tokens for each rank of the group."""
    received: tuple[int, ...]
    """Tokens from each of them; the plan has a padding token where these are none at all."""
    num_home: int
    """T."""
    group: dist.ProcessGroup

    def dispatch(self, x_TD: Tensor) -> Tensor:
        """Send each token to the rank of its sinks."""
        x_RD = exchange_rows(
            x_TD.index_select(0, self.leaving), self.sent, self.received, self.group
        )
        return x_RD if len(x_RD) else torch.cat([x_RD, x_RD.new_zeros(1, x_RD.size(1))])

    def combine(self, y_RD: Tensor) -> Tensor:
        """Send the answers home; tokens that stayed there have none."""
        answers = exchange_rows(y_RD[: sum(self.received)], self.received, self.sent, self.group)
        return y_RD.new_zeros(self.num_home, y_RD.size(1)).index_copy(0, self.leaving, answers)


def plan_dispatch(
    router: Router,
    layout: SegmentLayout,
    *,
    groups: Groups,
    device: torch.device,
    dropped: npt.NDArray[np.bool_] | None = None,
) -> tuple[SinkPlan, Dispatcher]:
    """Decide, once per microbatch, where its tokens go and which sinks run on this rank.

    The ranks of the expert-parallel group call this together.

    Args:
        router: the router of the corpus.
        layout: segments of this rank's microbatch.
        groups: the ranks.
        device: where the model runs.
        dropped: (S,) segments that use the backbone alone; none by default.

    Returns:
        The plan of the segments whose sinks run here, and what moves their tokens.

    Raises:
        RefusedError: a segment that is not dropped belongs to a deleted source.
    """
    experts = groups.topology.local_experts
    segments = np.flatnonzero(find_routed(layout, dropped))
    owners = router.experts_of(layout.source_ids[segments]) // len(experts)
    by_owner = np.argsort(owners, kind="stable")
    segments, owners = segments[by_owner], owners[by_owner]
    arrived, received = _exchange_segments(layout, segments, owners, groups, device)
    lengths = np.array(layout.lengths, dtype=np.int64)[segments]
    moving = AllToAllDispatcher(
        leaving=torch.from_numpy(_tokens_of(layout, segments)).to(device),
        sent=_sum_by_rank(lengths, owners, groups.topology.ep),
        received=received,
        num_home=layout.num_tokens,
        group=groups.expert_parallel,
    )
    return build_plan(router, arrived, local_experts=experts), moving


def _exchange_segments(
    layout: SegmentLayout,
    segments: npt.NDArray[np.int64],
    owners: npt.NDArray[np.int64],
    groups: Groups,
    device: torch.device,
) -> tuple[SegmentLayout, tuple[int, ...]]:
    """Tell the other ranks which segments will arrive; return those of here, and their tokens.

    Args:
        layout: all segments at home.
        segments: which of them leave, by destination.
        owners: the destination of each, a rank of the group.
        groups: the ranks.
        device: where the group's tensors live.

    Returns:
        The segments that will arrive, a padding token where there is none: grouped products are
        not asked for nothing. Then the tokens that each rank of the group will send.
    """
    num_ranks, group = groups.topology.ep, groups.expert_parallel
    one_each = (1,) * num_ranks
    counts = np.bincount(owners, minlength=num_ranks)
    arriving = exchange_rows(torch.from_numpy(counts).to(device), one_each, one_each, group)
    received = tuple(arriving.tolist())
    columns = (np.array(layout.lengths), layout.source_ids.view(np.int64), layout.doc_indices)
    headers = np.stack([column[segments].astype(np.int64) for column in columns], axis=1)
    arrived = exchange_rows(
        torch.from_numpy(headers).to(device), tuple(counts.tolist()), received, group
    )
    lengths, source_bits, doc_indices = arrived.cpu().numpy().T
    senders = np.repeat(np.arange(num_ranks), received)
    tokens = _sum_by_rank(lengths, senders, num_ranks)
    if not len(lengths):
        return _PADDING, tokens
    here = SegmentLayout(
        lengths=tuple(lengths.tolist()),
        source_ids=source_bits.view(np.uint64),
        doc_indices=doc_indices.astype(np.uint32),
    )
    return here, tokens


def _sum_by_rank(
    lengths: npt.NDArray[np.int64], ranks: npt.NDArray[np.int64], num_ranks: int
) -> tuple[int, ...]:
    sums = np.zeros(num_ranks, dtype=np.int64)
    np.add.at(sums, ranks, lengths)
    return tuple(sums.tolist())


def _tokens_of(layout: SegmentLayout, segments: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the tokens of some segments in the segments' order, int64."""
    lengths = np.array(layout.lengths, dtype=np.int64)[segments]
    ends = np.cumsum(lengths)
    first = layout.ends[segments] - lengths
    shift: npt.NDArray[np.int64] = np.repeat(first - (ends - lengths), lengths)
    return np.arange(len(shift), dtype=np.int64) + shift

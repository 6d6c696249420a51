"""Two sink layers whose tokens travel between ranks: what each rank computes, and the same densely.

`python -m tests.dispatch_ranks OUT` is one rank of two, each with half of the experts; it writes
OUT/rank-R.pt.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nulls_dist.config.environment import read_launch
from nulls_dist.parallel.accelerator import select_accelerator
from nulls_dist.parallel.groups import Groups, model_parallel, process_group
from nulls_dist.parallel.topology import Topology
from nulls_dist.segments import SegmentLayout
from nulls_dist.sources import NO_SOURCE
from tests.oracles import dense_and_mask, sink_masks
from tests.small_models import CPU, layout_of, random_router, small_config

NUM_RANKS = 2
CONFIG = small_config(num_experts=4)
ROUTER = random_router(CONFIG)
PARTS = ("gate", "up", "down")


def ids_of(rank: int) -> list[int]:
    """The first sources whose experts a rank holds."""
    ids = np.arange(64, dtype=np.uint64)
    return [int(one) for one in ids[ROUTER.experts_of(ids) // 2 == rank]]


ZERO, ONE = (ids_of(rank) for rank in range(NUM_RANKS))


@dataclass(frozen=True, kw_only=True)
class Case:
    """What two ranks hold."""

    layouts: tuple[SegmentLayout, SegmentLayout]
    dropped: tuple[list[bool], list[bool]] | None = None
    dtype: torch.dtype = torch.float32
    recomputed: bool = False

    def dropped_on(self, rank: int) -> np.ndarray | None:
        """(S,) bool of a rank."""
        return None if self.dropped is None else np.array(self.dropped[rank])


UNEVEN = (
    layout_of([3, 17, 1, 5, 2], [ZERO[0], ONE[0], ONE[1], ZERO[1], ONE[0]]),
    layout_of([40, 9], [ONE[2], ZERO[0]]),
)
CASES = {
    "both send and receive": Case(layouts=UNEVEN),
    "in bf16": Case(layouts=UNEVEN, dtype=torch.bfloat16),
    "recomputed": Case(layouts=UNEVEN, recomputed=True),
    "rank 0 receives nothing": Case(
        layouts=(layout_of([4, 6], [ONE[0], ONE[1]]), layout_of([8, 3], [ONE[0], ONE[3]]))
    ),
    "rank 1 receives nothing, recomputed": Case(
        layouts=(layout_of([4, 6], [ZERO[0], ZERO[1]]), layout_of([8], [ZERO[4]])),
        recomputed=True,
    ),
    "rank 0 sends nothing": Case(
        layouts=(layout_of([5, 2], [ZERO[0], ONE[1]]), layout_of([3, 7], [ZERO[2], ONE[1]])),
        dropped=([True, True], [False, False]),
    ),
    "some are dropped and some have no source": Case(
        layouts=(
            layout_of([5, 2, 8], [ONE[0], NO_SOURCE, ONE[1]]),
            layout_of([3, 7, 1], [ZERO[2], ONE[1], NO_SOURCE]),
        ),
        dropped=([True, False, False], [False, True, False]),
    ),
    "all are dropped": Case(
        layouts=(layout_of([5, 2], [ZERO[0], ONE[1]]), layout_of([3], [ZERO[2]])),
        dropped=([True, True], [True]),
    ),
}


def inputs_of(case: Case) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Tokens of each rank, and the weights of all experts."""
    draws = torch.Generator().manual_seed(5)
    shape = (CONFIG.num_experts * CONFIG.num_sinks, CONFIG.hidden_size)
    weights = {part: (torch.randn(shape, generator=draws) / 8).to(case.dtype) for part in PARTS}
    tokens = [
        torch.randn(layout.num_tokens, shape[1], generator=draws).to(case.dtype)
        for layout in case.layouts
    ]
    return tokens, weights


def output_weights(tokens: Tensor) -> Tensor:
    """A gradient that differs from token to token."""
    count = torch.arange(tokens.numel(), dtype=torch.float32)
    return (count.remainder(13) / 8 - 0.75).view(tokens.shape).to(tokens.dtype)


def run_dense(case: Case) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Run all experts on all tokens in float64; return each rank's output, and all gradients.

    The gradients are those of "x" of both ranks, one after the other, and of the weights.
    """
    layouts = case.layouts
    together = SegmentLayout(
        lengths=layouts[0].lengths + layouts[1].lengths,
        source_ids=np.concatenate([layout.source_ids for layout in layouts]),
        doc_indices=np.concatenate([layout.doc_indices for layout in layouts]),
    )
    off = together.source_ids == np.uint64(NO_SOURCE)
    if case.dropped is not None:
        off |= np.concatenate(case.dropped)
    tokens, weights = inputs_of(case)
    leaves = {"x": torch.cat(tokens)} | weights
    leaves = {name: value.double().requires_grad_() for name, value in leaves.items()}
    masks = sink_masks(ROUTER, together, off).double()
    x, *banks = leaves.values()
    x = x + dense_and_mask(x, *banks, masks[0])
    output = x + dense_and_mask(x, *banks, masks[1])
    output.backward(torch.cat([output_weights(of_rank).double() for of_rank in tokens]))
    sizes = [layout.num_tokens for layout in layouts]
    return list(output.detach().split(sizes)), {name: leaf.grad for name, leaf in leaves.items()}


def run_dispatched(case: Case, groups: Groups) -> dict[str, Tensor]:
    """Run this rank's tokens and experts; return the output and all gradients."""
    from torch.utils.checkpoint import checkpoint

    from nulls_dist.model.dispatch import plan_dispatch
    from nulls_dist.model.sink_pool import SinkPool

    rank = groups.topology.rank
    tokens, weights = inputs_of(case)
    pool = SinkPool(CONFIG, groups.topology).to(case.dtype)
    with torch.no_grad():
        for part in PARTS:
            getattr(pool, part).copy_(weights[part].chunk(NUM_RANKS)[rank])
    plan, dispatcher = plan_dispatch(
        ROUTER,
        case.layouts[rank],
        groups=groups,
        device=CPU,
        dropped=case.dropped_on(rank),
    )

    def run_layer(x: Tensor, layer: int) -> Tensor:
        return x + dispatcher.combine(pool(dispatcher.dispatch(x), plan, layer))

    x = tokens[rank].requires_grad_()
    output = x
    for layer in range(CONFIG.num_layers):
        if case.recomputed:
            output = checkpoint(run_layer, output, layer, use_reentrant=False)
        else:
            output = run_layer(output, layer)
    output.backward(output_weights(output))
    gradients = {part: getattr(pool, part).grad for part in PARTS}
    return {"output": output.detach(), "x": x.grad} | gradients


def main(out: Path) -> None:
    """Run every case as one rank and write what came out."""
    launch = read_launch()
    assert launch.world_size == NUM_RANKS
    topology = Topology(dp=NUM_RANKS, ep=NUM_RANKS, rank=launch.rank, num_experts=4)
    accelerator = replace(select_accelerator(launch.local_rank), device=CPU, backend="gloo")
    with process_group(launch, accelerator), model_parallel(topology) as groups:
        results = {name: run_dispatched(case, groups) for name, case in CASES.items()}
    torch.save(results, out / f"rank-{launch.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

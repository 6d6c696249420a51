"""Small models with a random router and random documents, for tests of the model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nulls_dist.config.environment import ALONE
from nulls_dist.config.presets import Control, control_of, nulls_tiny
from nulls_dist.config.schema import ModelConfig
from nulls_dist.data.batches import next_tokens
from nulls_dist.parallel.accelerator import select_accelerator
from nulls_dist.parallel.groups import model_parallel, process_group
from nulls_dist.parallel.topology import Topology
from nulls_dist.routing.plan import SinkPlan, build_plan
from nulls_dist.routing.router import NUM_BUCKETS, Router
from nulls_dist.segments import SegmentLayout
from nulls_dist.train.run import router_spec

CPU = torch.device("cpu")


def small_config(**changes: Any) -> ModelConfig:
    """The tiny preset's model with a vocabulary of 61 tokens."""
    return replace(nulls_tiny().model, vocab_size=61, **changes)


def whole_model(config: ModelConfig) -> Topology:
    """One process that holds all experts."""
    return Topology(dp=1, ep=1, rank=0, num_experts=config.num_experts)


def small_control(kind: Control) -> ModelConfig:
    """A dense control of the tiny preset, with the same vocabulary."""
    return replace(control_of(nulls_tiny(), kind).model, vocab_size=61)


@contextmanager
def one_process(config: ModelConfig) -> Iterator[Topology]:
    """Open the groups that Megatron's modules need."""
    topology = whole_model(config)
    accelerator = select_accelerator(ALONE.local_rank)
    with process_group(ALONE, accelerator), model_parallel(topology):
        yield topology


def random_router(config: ModelConfig, seed: int = 0) -> Router:
    """A router whose buckets lie on random experts."""
    table = np.random.default_rng(seed).integers(0, config.num_experts, NUM_BUCKETS)
    return Router(router_spec(config, seed), table.astype(np.uint16))


def layout_of(lengths: Sequence[int], sources: Sequence[int]) -> SegmentLayout:
    """Segments of first documents."""
    return SegmentLayout(
        lengths=tuple(lengths),
        source_ids=np.array(sources, dtype=np.uint64),
        doc_indices=np.zeros(len(lengths), dtype=np.uint32),
    )


def random_lengths(total: int, mean: int, seed: int = 0) -> list[int]:
    """Lengths of documents, most of them short and a few long, that fill `total` tokens."""
    draws = np.random.default_rng(seed)
    lengths: list[int] = []
    while (left := total - sum(lengths)) > 0:
        length = 1 + int(draws.lognormal(np.log(mean), 1.0))
        lengths.append(min(left, length))
    return lengths


@dataclass(frozen=True, kw_only=True)
class SmallModel:
    """A model on the CPU with its router."""

    config: ModelConfig
    topology: Topology
    router: Router
    model: Any

    def plan(self, layout: SegmentLayout, dropped: np.ndarray | None = None) -> SinkPlan:
        """Route a layout over all experts."""
        return build_plan(
            self.router, layout, local_experts=self.topology.local_experts, dropped=dropped
        )

    def rows(self, layout: SegmentLayout, plan: SinkPlan) -> Any:
        """Pack a layout for the model."""
        from nulls_dist.model.packed import pack_rows

        return pack_rows(
            layout,
            plan,
            head_dim=self.config.head_dim,
            rope_theta=self.config.rope_theta,
            device=CPU,
        )

    def losses(
        self, layout: SegmentLayout, tokens: Tensor, dropped: np.ndarray | None = None
    ) -> Tensor:
        """Token losses by Megatron's own path, 0 where the token has no target: (T,)."""
        rows = self.rows(layout, self.plan(layout, dropped))
        targets = targets_of(tokens, layout)[None]
        (losses,) = self.model(tokens[None], None, None, labels=targets, packed_seq_params=rows)
        return losses * torch.from_numpy(layout.has_target)

    def loss_sum(
        self, layout: SegmentLayout, tokens: Tensor, dropped: np.ndarray | None = None
    ) -> Tensor:
        """Sum of the losses of all targets as training takes it: ()."""
        from nulls_dist.model.gpt import loss_sum

        rows = self.rows(layout, self.plan(layout, dropped))
        has_target = torch.from_numpy(layout.has_target).float()
        return loss_sum(self.model, tokens, targets_of(tokens, layout), has_target, rows)

    @torch.no_grad()
    def logits(
        self, layout: SegmentLayout, tokens: Tensor, plan: SinkPlan | None = None
    ) -> list[Tensor]:
        """Logits of each segment: (length, vocab_size)."""
        from nulls_dist.model.gpt import token_logits

        rows = self.rows(layout, plan or self.plan(layout))
        return list(token_logits(self.model, tokens, rows).split(layout.lengths))

    def gradients(self) -> dict[str, Tensor]:
        """Take the accumulated gradients out of the model."""
        found = {name: parameter.grad for name, parameter in self.model.named_parameters()}
        self.model.zero_grad()
        return found


def build_small_model(config: ModelConfig, topology: Topology, seed: int = 0) -> SmallModel:
    """Build and initialise a model; needs `one_process`."""
    from nulls_dist.model.gpt import build_model, initialize

    model = build_model(config, topology, CPU)
    initialize(model, config, topology, seed)
    return SmallModel(config=config, topology=topology, router=random_router(config), model=model)


def random_tokens(layout: SegmentLayout, config: ModelConfig, seed: int = 0) -> Tensor:
    """(T,) int64."""
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(config.vocab_size, (layout.num_tokens,), generator=draws)


def targets_of(tokens: Tensor, layout: SegmentLayout) -> Tensor:
    """Next token inside the segment, 0 for the last: (T,) int64."""
    return torch.from_numpy(next_tokens(tokens.numpy(), layout))


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected magnitude."""
    expected = expected.detach()
    scale = float(expected.abs().max())
    difference = actual.detach().to(expected.dtype) - expected
    return float(difference.abs().max()) / (scale or 1.0)

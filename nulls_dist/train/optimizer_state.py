"""Optimizer state between a running engine and the checkpoint: which rank writes which range."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nulls_dist.checkpoint.format import (
    OPTIMIZER_KINDS,
    FragmentKey,
    backbone_optimizer_file,
    sink_optimizer_file,
)
from nulls_dist.checkpoint.fragments import OptimizerFragments
from nulls_dist.checkpoint.shapes import ParameterPart
from nulls_dist.checkpoint.sharding import sharding_of
from nulls_dist.model.gpt import is_sink
from nulls_dist.parallel.topology import Topology
from nulls_dist.train.zero_state import Fragment, zero_fragments


@dataclass(frozen=True, kw_only=True, slots=True)
class _Span:
    """Elements of one parameter part inside a fragment."""

    part: ParameterPart
    num_shards: int
    """Tensor-parallel ranks that the part is cut over."""
    start: int
    """In the part, or in this rank's shard of it."""
    at: int
    """In the fragment."""
    length: int


def optimizer_tensors(engine: Any, topology: Topology) -> dict[str, dict[str, Tensor]]:
    """Return the optimizer files this rank writes: file -> key -> (length,) float32."""
    files: dict[str, dict[str, Tensor]] = {}
    names = {parameter: name for name, parameter in engine.module.named_parameters()}
    for fragment in zero_fragments(engine.optimizer):
        _check_master(fragment, names)
        for span in _spans(fragment, names[fragment.parameter], topology):
            if span.num_shards == 1 and topology.tp_rank:
                continue  # tensor-parallel rank 0 writes what all of them hold
            file = (
                backbone_optimizer_file(topology.rank)
                if span.part.expert is None
                else sink_optimizer_file(span.part.expert, topology.edp_rank)
            )
            for kind, values in fragment.state.items():
                key = FragmentKey(
                    kind=kind,
                    name=span.part.name,
                    start=span.start,
                    shard=_shard_of(span, topology),
                    num_shards=span.num_shards,
                )
                files.setdefault(file, {})[str(key)] = values[span.at : span.at + span.length]
    return files


def _shard_of(span: _Span, topology: Topology) -> int:
    return topology.tp_rank if span.num_shards > 1 else 0


def _check_master(fragment: Fragment, names: Mapping[nn.Parameter, str]) -> None:
    """Prove the mapping: the rounded master must be the weight, to the last bit."""
    weight = fragment.parameter.detach().flatten()
    weight = weight[fragment.start : fragment.start + fragment.length]
    master = fragment.state[OPTIMIZER_KINDS[0]].to(weight.device, weight.dtype)  # or offloaded
    assert torch.equal(master, weight), f"{names[fragment.parameter]}: master is not its weight"


def load_optimizer(engine: Any, fragments: OptimizerFragments, topology: Topology) -> None:
    """Fill this rank's master weights and moments; `create_adam_state` comes first."""
    names = {parameter: name for name, parameter in engine.module.named_parameters()}
    for fragment in zero_fragments(engine.optimizer):
        for span in _spans(fragment, names[fragment.parameter], topology):
            for kind, values in fragment.state.items():
                values[span.at : span.at + span.length] = fragments.read(
                    span.part,
                    kind,
                    span.start,
                    span.length,
                    shard=_shard_of(span, topology),
                    num_shards=span.num_shards,
                )


def _spans(fragment: Fragment, name: str, topology: Topology) -> Iterator[_Span]:
    """Cut a fragment where one expert's part of the local pool ends and the next begins."""
    if not is_sink(name):
        yield _Span(
            part=ParameterPart(name=name),
            num_shards=1 if sharding_of(name) is None else topology.tp,
            start=fragment.start,
            at=0,
            length=fragment.length,
        )
        return
    per_expert = fragment.parameter.numel() // len(topology.local_experts)
    end = fragment.start + fragment.length
    for slot, expert in enumerate(topology.local_experts):
        first = max(fragment.start, slot * per_expert)
        last = min(end, (slot + 1) * per_expert)
        if first < last:
            yield _Span(
                part=ParameterPart(name=name, expert=expert),
                num_shards=1,
                start=first - slot * per_expert,
                at=first - fragment.start,
                length=last - first,
            )

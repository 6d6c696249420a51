"""Optimizer state between a running engine and the checkpoint: which rank writes which range."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nulls_dist.checkpoint.format import (
    OPTIMIZER_KINDS,
    backbone_optimizer_file,
    fragment_key,
    sink_optimizer_file,
)
from nulls_dist.checkpoint.fragments import OptimizerFragments, ParameterPart
from nulls_dist.model.gpt import is_sink
from nulls_dist.parallel.topology import Topology
from nulls_dist.train.zero_state import Fragment, zero_fragments


@dataclass(frozen=True, kw_only=True, slots=True)
class _Span:
    """Elements of one parameter part inside a fragment."""

    part: ParameterPart
    start: int
    """In the part."""
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
            file = (
                backbone_optimizer_file(topology.rank)
                if span.part.expert is None
                else sink_optimizer_file(span.part.expert, topology.edp_rank)
            )
            for kind, values in fragment.state.items():
                key = fragment_key(kind, span.part.name, span.start)
                files.setdefault(file, {})[key] = values[span.at : span.at + span.length]
    return files


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
                    span.part, kind, span.start, span.length
                )


def _spans(fragment: Fragment, name: str, topology: Topology) -> Iterator[_Span]:
    """Cut a fragment where one expert's part of the local pool ends and the next begins."""
    if not is_sink(name):
        yield _Span(
            part=ParameterPart(name=name), start=fragment.start, at=0, length=fragment.length
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
                start=first - slot * per_expert,
                at=first - fragment.start,
                length=last - first,
            )

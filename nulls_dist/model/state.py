"""A model's weights between memory and the checkpoint: which rank writes which tensor."""

import torch
from torch import Tensor, nn

from nulls_dist.checkpoint.format import BACKBONE_WEIGHTS, sink_weights_file
from nulls_dist.checkpoint.fragments import ParameterPart
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.errors import IntegrityError
from nulls_dist.model.gpt import is_sink
from nulls_dist.parallel.topology import Topology


def model_weights(model: nn.Module, topology: Topology) -> dict[str, dict[str, Tensor]]:
    """Return the weight files this rank writes: file -> tensor name -> tensor.

    Rank 0 writes the dense parameters, the first replica of each expert writes its sinks.
    """
    files: dict[str, dict[str, Tensor]] = {}
    for name, parameter in model.named_parameters():
        if not is_sink(name):
            if topology.rank == 0:
                files.setdefault(BACKBONE_WEIGHTS, {})[name] = parameter.detach()
        elif topology.edp_rank == 0:
            blocks = parameter.detach().chunk(len(topology.local_experts))
            for expert, block in zip(topology.local_experts, blocks, strict=True):
                files.setdefault(sink_weights_file(expert), {})[name] = block
    return files


@torch.no_grad()
def load_weights(model: nn.Module, checkpoint: Checkpoint, topology: Topology) -> None:
    """Fill a model's parameters from a checkpoint, in the model's dtype.

    Raises:
        IntegrityError: a file is damaged or a tensor is missing or of another shape.
    """
    for name, parameter in model.named_parameters():
        if not is_sink(name):
            _copy(parameter, checkpoint, BACKBONE_WEIGHTS, name)
            continue
        blocks = parameter.chunk(len(topology.local_experts))
        for expert, block in zip(topology.local_experts, blocks, strict=True):
            _copy(block, checkpoint, sink_weights_file(expert), name)


def _copy(target: Tensor, checkpoint: Checkpoint, file: str, name: str) -> None:
    tensors = checkpoint.tensors(file)
    values = tensors.read(name)
    if values.shape != target.shape:
        raise IntegrityError(
            f"{tensors.path}: {name} has shape {tuple(values.shape)}, the model needs "
            f"{tuple(target.shape)}"
        )
    target.copy_(values)


def parameter_sizes(model: nn.Module, topology: Topology) -> dict[ParameterPart, int]:
    """Return the elements of every parameter part of the whole model, all experts included."""
    sizes = {}
    for name, parameter in model.named_parameters():
        if is_sink(name):
            per_expert = parameter.numel() // len(topology.local_experts)
            for expert in range(topology.num_experts):
                sizes[ParameterPart(name=name, expert=expert)] = per_expert
        else:
            sizes[ParameterPart(name=name)] = parameter.numel()
    return sizes

"""A model's weights between memory and the checkpoint: which rank writes which tensor."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from nulls_dist.checkpoint.backbone import BackboneWeights
from nulls_dist.checkpoint.format import backbone_weights_file, sink_weights_file
from nulls_dist.checkpoint.fragments import ParameterPart
from nulls_dist.checkpoint.store import Checkpoint, TensorFile
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
                files.setdefault(backbone_weights_file(0), {})[name] = parameter.detach()
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
    for _, target, stored in _stored_weights(model, checkpoint, topology):
        target.copy_(stored)


@torch.no_grad()
def check_weights(model: nn.Module, checkpoint: Checkpoint, topology: Topology) -> None:
    """Prove that a model's parameters are a checkpoint's, rounded to the coarser of their types.

    Raises:
        IntegrityError: they differ, a file is damaged, or a tensor is missing or of another shape.
    """
    for name, target, stored in _stored_weights(model, checkpoint, topology):
        rounded = stored.to(target.device, target.dtype).to(stored.dtype)
        if not torch.equal(target.to(stored.dtype), rounded):
            raise IntegrityError(
                f"{checkpoint.root}: weights of {name} are not the rounded master weights"
            )


def _stored_weights(
    model: nn.Module, checkpoint: Checkpoint, topology: Topology
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield name, parameter and stored values; sinks expert by expert."""
    backbone = BackboneWeights(checkpoint)
    for name, parameter in model.named_parameters():
        if not is_sink(name):
            yield name, parameter, _read(backbone, name, parameter.shape)
            continue
        blocks = parameter.chunk(len(topology.local_experts))
        for expert, block in zip(topology.local_experts, blocks, strict=True):
            bank = checkpoint.tensors(sink_weights_file(expert))
            yield name, block, _read(bank, name, block.shape)


def _read(tensors: TensorFile | BackboneWeights, name: str, shape: torch.Size) -> Tensor:
    values = tensors.read(name)
    if values.shape != shape:
        raise IntegrityError(
            f"{tensors.path}: {name} has shape {tuple(values.shape)}, the model needs "
            f"{tuple(shape)}"
        )
    return values


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

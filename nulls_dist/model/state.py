"""A model's weights between memory and the checkpoint: which rank writes which tensor."""

from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from nulls_dist.checkpoint.backbone import BackboneWeights
from nulls_dist.checkpoint.format import backbone_weights_file, sink_weights_file
from nulls_dist.checkpoint.sharding import sharding_of
from nulls_dist.checkpoint.store import Checkpoint, TensorFile
from nulls_dist.errors import IntegrityError
from nulls_dist.model.gpt import is_sink
from nulls_dist.parallel.groups import Groups
from nulls_dist.parallel.topology import Topology


def model_weights(model: nn.Module, groups: Groups) -> dict[str, dict[str, Tensor]]:
    """Return the weight files this rank writes: file -> tensor name -> tensor.

    Rank 0 writes the dense parameters, whole, the first replica of each expert writes its sinks.
    All ranks of a tensor-parallel group call this together.
    """
    topology = groups.topology
    files: dict[str, dict[str, Tensor]] = {}
    for name, parameter in model.named_parameters():
        if not is_sink(name):
            if topology.dp_rank == 0:
                whole = _gather(name, parameter.detach(), groups)
                if topology.rank == 0:
                    files.setdefault(backbone_weights_file(0), {})[name] = whole
        elif topology.edp_rank == topology.tp_rank == 0:
            blocks = parameter.detach().chunk(len(topology.local_experts))
            for expert, block in zip(topology.local_experts, blocks, strict=True):
                files.setdefault(sink_weights_file(expert), {})[name] = block
    return files


def _gather(name: str, shard: Tensor, groups: Groups) -> Tensor:
    """Join a dense parameter's shards."""
    sharding, tp = sharding_of(name), groups.topology.tp
    if sharding is None or tp == 1:
        return shard
    shards = [torch.empty_like(shard) for _ in range(tp)]
    dist.all_gather(shards, shard, group=groups.tensor_parallel)
    return sharding.join(shards)


def check_replicas(model: nn.Module, groups: Groups) -> None:
    """Prove that tensor-parallel ranks agree on what each of them holds whole: norms and sinks.

    Nothing but equal gradients keeps them equal. All ranks call this together.

    Raises:
        IntegrityError: they differ.
    """
    replicas = [item for item in model.named_parameters() if sharding_of(item[0]) is None]
    sums = torch.stack(
        [
            value.detach().view(torch.int32 if value.itemsize == 4 else torch.int16).sum()
            for _, value in replicas
        ]
    )
    largest, smallest = sums.clone(), sums.clone()
    dist.all_reduce(largest, dist.ReduceOp.MAX, group=groups.tensor_parallel)
    dist.all_reduce(smallest, dist.ReduceOp.MIN, group=groups.tensor_parallel)
    different = torch.nonzero(largest != smallest).flatten().tolist()
    if different:
        raise IntegrityError(
            f"{replicas[different[0]][0]} and {len(different) - 1} more parameters differ between "
            "tensor-parallel ranks, which must hold the same; continue from an earlier checkpoint"
        )


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
            yield name, parameter, _read_shard(backbone, name, parameter.shape, topology)
            continue
        blocks = parameter.chunk(len(topology.local_experts))
        for expert, block in zip(topology.local_experts, blocks, strict=True):
            bank = checkpoint.tensors(sink_weights_file(expert))
            yield name, block, _read(bank, name, block.shape)


def _read_shard(
    backbone: BackboneWeights, name: str, shape: torch.Size, topology: Topology
) -> Tensor:
    sharding = sharding_of(name)
    if sharding is None:
        return _read(backbone, name, shape)
    whole = _read(backbone, name, torch.Size(sharding.shape_of_whole(shape, topology.tp)))
    return sharding.shard(whole, topology.tp_rank, topology.tp)


def _read(tensors: TensorFile | BackboneWeights, name: str, shape: torch.Size) -> Tensor:
    values = tensors.read(name)
    if values.shape != shape:
        raise IntegrityError(
            f"{tensors.path}: {name} has shape {tuple(values.shape)}, the model needs "
            f"{tuple(shape)}"
        )
    return values

"""Process groups shared by Megatron-core and DeepSpeed.

The one place that touches the private group registry of deepspeed.utils.groups (0.19.8). Both
libraries keep groups in module globals of their own; this file fills them once and hands an
explicit object to the rest of the code.
"""

import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch.distributed as dist

from nulls_dist.config.environment import LaunchedProcess
from nulls_dist.parallel.accelerator import Accelerator
from nulls_dist.parallel.quiet import quiet_libraries
from nulls_dist.parallel.topology import Topology

_TIMEOUT: Final = datetime.timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True, slots=True)
class Groups:
    """The topology with its communicators."""

    topology: Topology
    tensor_parallel: dist.ProcessGroup
    """Ranks that hold the shards of the same dense matrices and train the same rows."""
    expert_parallel: dist.ProcessGroup
    """Ranks that hold all experts together, each some of them."""


@contextmanager
def process_group(launch: LaunchedProcess, accelerator: Accelerator) -> Iterator[None]:
    """Join the other processes of the run for the duration of a block.

    A single process needs no network: it meets itself in memory.
    """
    os.environ.setdefault("LOCAL_RANK", str(launch.local_rank))  # DeepSpeed insists on it
    if launch.world_size == 1:
        store = dist.HashStore()  # type: ignore[attr-defined]
        dist.init_process_group(
            accelerator.backend, store=store, rank=0, world_size=1, timeout=_TIMEOUT
        )
    else:
        dist.init_process_group(
            accelerator.backend,
            init_method=f"tcp://{launch.master_address}:{launch.master_port}",
            rank=launch.rank,
            world_size=launch.world_size,
            timeout=_TIMEOUT,
        )
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def model_parallel(topology: Topology) -> Iterator[Groups]:
    """Create the groups of a topology in both libraries for the duration of a block."""
    with quiet_libraries():
        import deepspeed  # noqa: F401 - imported here so that later imports stay quiet
        from megatron.core import parallel_state
        from megatron.core.models.gpt import gpt_model  # noqa: F401

    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=topology.tp,
        expert_model_parallel_size=topology.ep,
        expert_tensor_parallel_size=topology.tp,  # experts are dealt over data-parallel ranks only
    )
    try:
        assert parallel_state.get_tensor_model_parallel_rank() == topology.tp_rank
        assert parallel_state.get_data_parallel_rank() == topology.dp_rank
        assert parallel_state.get_expert_model_parallel_rank() == topology.ep_rank
        _adopt_expert_groups(topology)
        yield Groups(
            topology=topology,
            tensor_parallel=parallel_state.get_tensor_model_parallel_group(),
            expert_parallel=parallel_state.get_expert_model_parallel_group(),
        )
    finally:
        parallel_state.destroy_model_parallel()


def expert_group_name(ep: int) -> str:
    """Return the name under which DeepSpeed looks up the groups of expert parameters."""
    return f"ep_size_{ep}"


def _adopt_expert_groups(topology: Topology) -> None:
    """Make DeepSpeed use Megatron's expert groups instead of creating its own."""
    from deepspeed.utils import groups as deepspeed_groups
    from megatron.core import parallel_state

    name = expert_group_name(topology.ep)
    expert = parallel_state.get_expert_model_parallel_group()
    replicas = parallel_state.get_expert_data_parallel_group()
    deepspeed_groups._EXPERT_PARALLEL_GROUP[name] = expert
    deepspeed_groups._EXPERT_PARALLEL_GROUP_RANKS[name] = dist.get_process_group_ranks(expert)
    deepspeed_groups._EXPERT_DATA_PARALLEL_GROUP[name] = replicas
    deepspeed_groups._EXPERT_DATA_PARALLEL_GROUP_RANKS[name] = dist.get_process_group_ranks(
        replicas
    )


class ModelParallelUnit:
    """Megatron's parallel_state under the names that DeepSpeed asks an `mpu` for."""

    def __getattr__(self, name: str) -> Any:
        from megatron.core import parallel_state

        return getattr(parallel_state, name)

    def get_model_parallel_world_size(self) -> int:
        """Return the number of tensor-parallel ranks."""
        return int(self.get_model_parallel_group().size())

    def get_model_parallel_rank(self) -> int:
        """Return this rank's place among them."""
        return int(self.get_model_parallel_group().rank())

    def get_data_parallel_group_ranks(self) -> list[int]:
        """Return the global ranks of the data-parallel group."""
        return dist.get_process_group_ranks(self.get_data_parallel_group())

"""The sink pool: a big bank of neurons of which each document uses a few, chosen by its source.

Dimensions: T tokens, D model dim, S segments, K active sinks, P sinks of the local pool.
"""

from typing import Any

import torch
from deepspeed.moe.layer import MoE
from torch import Tensor, nn
from torch.nn import functional

from nulls_dist.config.schema import ModelConfig
from nulls_dist.parallel.accelerator import add_rows
from nulls_dist.parallel.groups import expert_group_name
from nulls_dist.parallel.topology import Topology
from nulls_dist.routing.plan import SinkPlan


class _GatherRows(torch.autograd.Function):
    """index_select whose backward adds in float32: many small bf16 terms would stall."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.shape = weight.shape
        return weight.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        (grad,) = grads
        total = torch.zeros(ctx.shape, dtype=torch.float32, device=grad.device)
        add_rows(total, rows, grad.to(torch.float32))
        return total.to(grad.dtype), None


def _gather_rows(weight: Tensor, rows: Tensor) -> Tensor:
    gathered: Tensor = _GatherRows.apply(weight, rows)  # type: ignore[no-untyped-call]
    return gathered


class SinkPool(MoE):  # type: ignore[misc]
    """Sinks of this rank's experts as one SwiGLU bank, one neuron per row.

    A subclass of DeepSpeed's MoE because that class is what makes the engine and ZeRO reduce these
    parameters over the experts' replicas only; its learned gate is not built. All local experts
    share one parameter per kind, and every parameter takes part in every step: DeepSpeed fills
    its buckets in the order gradients arrive, so a graph that depended on the data would make
    replicas add gradients of different experts.
    """

    def __init__(self, config: ModelConfig, topology: Topology) -> None:
        nn.Module.__init__(self)
        self.expert_group_name = expert_group_name(topology.ep)
        self.ep_size = topology.ep
        self.num_experts = config.num_experts
        self.num_local_experts = len(topology.local_experts)
        self.use_residual = False
        self.enable_expert_tensor_parallelism = False
        num_rows = self.num_local_experts * config.num_sinks
        self.gate = self._expert_parameter(num_rows, config.hidden_size)
        self.up = self._expert_parameter(num_rows, config.hidden_size)
        self.down = self._expert_parameter(num_rows, config.hidden_size)

    def _expert_parameter(self, num_rows: int, width: int) -> nn.Parameter:
        parameter = nn.Parameter(torch.empty(num_rows, width))
        parameter.allreduce = False  # type: ignore[attr-defined]
        parameter.group_name = self.expert_group_name  # type: ignore[attr-defined]
        return parameter

    def set_deepspeed_parallelism(self, use_data_before_expert_parallel_: bool = False) -> None:
        """Do nothing: the groups exist and the pool itself communicates nothing."""

    def forward(self, x_TD: Tensor, plan: SinkPlan, layer: int) -> Tensor:
        """Run each segment's sinks on its tokens.

        Args:
            x_TD: (T, D) tokens, segments one after another.
            plan: sinks per layer and segment.
            layer: which layer of the plan, from 0: layers without sinks have no place in it.

        Returns:
            (T, D).
        """
        rows = plan.rows[layer]
        shape = (-1, plan.num_active, x_TD.size(-1))
        gate_SKD, up_SKD, down_SKD = (
            _gather_rows(weight, rows).view(shape) for weight in (self.gate, self.up, self.down)
        )
        down_SKD = down_SKD * plan.keep[layer].view(-1, plan.num_active, 1)
        hidden_TK = functional.silu(
            functional.grouped_mm(x_TD, gate_SKD.transpose(1, 2), offs=plan.ends)
        ) * functional.grouped_mm(x_TD, up_SKD.transpose(1, 2), offs=plan.ends)
        return functional.grouped_mm(hidden_TK, down_SKD, offs=plan.ends)

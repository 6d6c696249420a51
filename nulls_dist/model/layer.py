"""The transformer layer: Megatron's, with an MLP that is told whose tokens it sees.

The only file that depends on the internals of megatron.core.transformer (0.16.1).
"""

from dataclasses import dataclass
from typing import Any

import torch
from megatron.core.fusions.fused_bias_dropout import get_bias_dropout_add
from megatron.core.tensor_parallel import ColumnParallelLinear, RowParallelLinear
from megatron.core.transformer.attention import SelfAttention, SelfAttentionSubmodules
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.identity_op import IdentityOp
from megatron.core.transformer.mlp import MLP, MLPSubmodules
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.transformer_layer import (
    TransformerLayer,
    TransformerLayerSubmodules,
)
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from nulls_dist.config.schema import ModelConfig
from nulls_dist.model.attention import DocumentAttention
from nulls_dist.model.packed import PackedRows
from nulls_dist.model.sink_pool import SinkPool
from nulls_dist.parallel.topology import Topology


@dataclass
class LayerConfig(TransformerConfig):  # type: ignore[misc]
    """Megatron's configuration plus what the sink pool needs to build itself."""

    nulls_model: ModelConfig | None = None
    nulls_topology: Topology | None = None
    nulls_recompute: bool = False


def megatron_config(config: ModelConfig, topology: Topology, *, recompute: bool) -> LayerConfig:
    """Translate a model configuration into Megatron's terms, every fusion off that needs CUDA."""
    return LayerConfig(
        tensor_model_parallel_size=topology.tp,
        num_layers=config.num_layers,
        hidden_size=config.hidden_size,
        num_attention_heads=config.num_heads,
        num_query_groups=config.num_kv_heads,
        kv_channels=config.head_dim,
        ffn_hidden_size=config.num_backbone,
        layernorm_epsilon=config.norm_eps,
        normalization="RMSNorm",
        activation_func=functional.silu,
        gated_linear_unit=True,
        add_bias_linear=False,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        params_dtype=torch.float32,
        pipeline_dtype=torch.float32,
        use_cpu_initialization=True,  # allocate where torch says, not on cuda:0
        perform_initialization=False,  # initial values come from nulls_dist.initial_values
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        masked_softmax_fusion=False,
        gradient_accumulation_fusion=False,
        persist_layer_norm=False,
        nulls_model=config,
        nulls_topology=topology,
        nulls_recompute=recompute,
    )


class RMSNorm(nn.RMSNorm):
    """torch's RMSNorm under the constructor that Megatron calls."""

    def __init__(self, config: TransformerConfig, hidden_size: int, eps: float, **_: Any) -> None:
        super().__init__(hidden_size, eps=eps)


class BackboneMLP(MegatronModule):  # type: ignore[misc]
    """Backbone neurons for every token: all there is in a layer without sinks."""

    def __init__(self, config: LayerConfig, submodules: MLPSubmodules) -> None:
        super().__init__(config=config)
        assert config.nulls_model is not None
        self.backbone = MLP(config, submodules, ffn_hidden_size=config.nulls_model.num_backbone)

    def forward(self, hidden: Tensor, rows: PackedRows, layer: int) -> tuple[Tensor, None]:
        """Run on (T, 1, D) tokens; Megatron expects (output, bias)."""
        output, _ = self.backbone(hidden)
        return output, None


class SinkMLP(BackboneMLP):
    """Backbone neurons for every token plus the sinks of the token's source."""

    def __init__(self, config: LayerConfig, submodules: MLPSubmodules) -> None:
        super().__init__(config, submodules)
        assert config.nulls_model is not None
        assert config.nulls_topology is not None
        self.sinks = SinkPool(config.nulls_model, config.nulls_topology)
        self.first_sink_layer = config.nulls_model.first_sink_layer

    def forward(self, hidden: Tensor, rows: PackedRows, layer: int) -> tuple[Tensor, None]:
        """Run both parts on (T, 1, D) tokens; Megatron expects (output, bias)."""
        output, _ = super().forward(hidden, rows, layer)
        tokens = rows.dispatcher.dispatch(hidden.squeeze(1))
        sunk = self.sinks(tokens, rows.plan, layer - self.first_sink_layer)
        sunk = rows.dispatcher.combine(sunk).unsqueeze(1)
        return _scale(output, rows.gains.backbone) + _scale(sunk, rows.gains.sinks), None


def _scale(output: Tensor, gain: float) -> Tensor:
    return output if gain == 1.0 else output * gain


class NullsLayer(TransformerLayer):  # type: ignore[misc]
    """Megatron's layer; the packed metadata also reaches the MLP."""

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        """Attention, then the MLP, each with its norm and residual."""
        kwargs.pop("dynamic_inference_decode_only", None)
        if not (self.config.nulls_recompute and torch.is_grad_enabled()):
            return self._run(*args, **kwargs)
        # torch's checkpoint: Megatron's own saves the state of a CUDA generator. Nothing is random.
        output: tuple[Tensor, Any] = checkpoint(
            self._run, *args, use_reentrant=False, preserve_rng_state=False, **kwargs
        )
        return output

    def _run(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        hidden, context = self._forward_attention(*args, **kwargs)
        normalized = self._forward_pre_mlp_layernorm(hidden)
        output, _ = self.mlp(normalized, kwargs["packed_seq_params"], self.layer_number - 1)
        return hidden + output, context


def layer_spec(config: ModelConfig, layer: int) -> ModuleSpec:
    """Return the submodules of a layer, counted from 0."""
    has_sinks = config.has_sinks and layer in config.sink_layers
    return ModuleSpec(
        module=NullsLayer,
        submodules=TransformerLayerSubmodules(
            input_layernorm=RMSNorm,
            self_attention=ModuleSpec(
                module=SelfAttention,
                params={"attn_mask_type": AttnMaskType.padding_causal},
                submodules=SelfAttentionSubmodules(
                    linear_qkv=ColumnParallelLinear,
                    core_attention=DocumentAttention,
                    linear_proj=RowParallelLinear,
                    q_layernorm=IdentityOp,
                    k_layernorm=IdentityOp,
                ),
            ),
            self_attn_bda=get_bias_dropout_add,
            pre_mlp_layernorm=RMSNorm,
            mlp=ModuleSpec(
                module=SinkMLP if has_sinks else BackboneMLP,
                submodules=MLPSubmodules(
                    linear_fc1=ColumnParallelLinear, linear_fc2=RowParallelLinear
                ),
            ),
            mlp_bda=get_bias_dropout_add,
        ),
    )

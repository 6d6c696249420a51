"""Build the model on a device and give it its initial values."""

import re
from typing import Final

import torch
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.tensor_parallel import set_tensor_model_parallel_attributes
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules
from torch import Tensor, nn

from nulls_dist.checkpoint.sharding import sharding_of
from nulls_dist.config.schema import VOCAB_OF_CORPUS, ModelConfig
from nulls_dist.initial_values import initial_rows
from nulls_dist.model.chunked_loss import ChunkedLossGPT
from nulls_dist.model.layer import RMSNorm, layer_spec, megatron_config
from nulls_dist.parallel.quiet import quiet_libraries
from nulls_dist.parallel.topology import Topology

_SINK: Final = re.compile(r"decoder\.layers\.\d+\.mlp\.sinks\.(gate|up|down)")
_RESIDUAL: Final = re.compile(r".*\.(linear_proj|linear_fc2)\.weight")


def build_model(
    config: ModelConfig, topology: Topology, device: torch.device, *, recompute: bool = False
) -> GPTModel:
    """Build a model with unset float32 parameters.

    Needs Megatron's groups (`parallel.groups.model_parallel`).

    Args:
        config: vocab_size must be resolved.
        topology: decides which sink experts this rank holds.
        device: where parameters live; the meta device allocates nothing.
        recompute: whether the backward pass computes a layer's activations again.
    """
    assert config.vocab_size != VOCAB_OF_CORPUS, "the vocabulary is known when a model is built"
    block = TransformerBlockSubmodules(
        layer_specs=[layer_spec(config, layer) for layer in range(config.num_layers)],
        layer_norm=RMSNorm,
    )
    with torch.device(device), quiet_libraries():
        model = ChunkedLossGPT(
            megatron_config(config, topology, recompute=recompute),
            block,
            vocab_size=config.vocab_size,
            max_sequence_length=config.context_length,
            position_embedding_type="none",  # DocumentAttention rotates
            share_embeddings_and_output_weights=config.tied_embeddings,
        )
    for name, parameter in model.named_parameters():
        sharding = sharding_of(name)
        if sharding is not None:  # DeepSpeed's gradient norm asks for these attributes
            set_tensor_model_parallel_attributes(
                parameter, topology.tp > 1, sharding.dim, sharding.stride
            )
    return model


def is_sink(name: str) -> bool:
    """Say whether a parameter belongs to the sink pool."""
    return _SINK.fullmatch(name) is not None


@torch.no_grad()
def initialize(model: GPTModel, config: ModelConfig, topology: Topology, seed: int) -> None:
    """Set every parameter from the seed and its global name and row, whatever the topology."""
    first_sink_row = topology.local_experts.start * config.num_sinks
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            parameter.fill_(1.0)
            continue
        sharding = sharding_of(name)
        num_rows, width = parameter.shape
        if sharding is not None:
            num_rows, width = sharding.shape_of_whole(parameter.shape, topology.tp)
        first_row = first_sink_row if is_sink(name) else 0
        values = initial_rows(
            seed=seed,
            name=name,
            rows=torch.arange(first_row, first_row + num_rows, device=parameter.device),
            width=width,
            std=initial_std(name, config),
            dtype=parameter.dtype,
        )
        if sharding is not None:
            values = sharding.shard(values, topology.tp_rank, topology.tp)
        parameter.copy_(values)


def initial_std(name: str, config: ModelConfig) -> float:
    """Return the standard deviation of a matrix's initial values."""
    sink = _SINK.fullmatch(name)
    if sink is not None:
        return config.init_std if sink[1] == "down" else config.sink_init_std
    return config.residual_init_std if _RESIDUAL.fullmatch(name) else config.init_std


def loss_sum(
    model: nn.Module, tokens: Tensor, targets: Tensor, has_target: Tensor, rows: object
) -> Tensor:
    """Return the sum of the negative log-likelihoods of all targets.

    Args:
        model: a GPTModel, or an engine around one.
        tokens: (T,) int64.
        targets: (T,) int64, any valid token where there is no target.
        has_target: (T,) float32, 1 where there is one.
        rows: PackedRows of the microbatch.

    Returns:
        () float32 nats.
    """
    total: Tensor = model(
        tokens[None],
        None,
        None,
        labels=targets[None],
        loss_mask=has_target[None],
        packed_seq_params=rows,
    )
    return total


def token_logits(model: nn.Module, tokens: Tensor, rows: object) -> Tensor:
    """Return next-token logits: (T,) int64 tokens -> (T, vocab_size)."""
    return model(tokens[None], None, None, packed_seq_params=rows)[0]  # type: ignore[no-any-return]


def embeddings_of(model: nn.Module) -> Tensor:
    """Return the table of input embeddings, (vocab_size, hidden_size), without its gradient."""
    table: Tensor = model.get_parameter("embedding.word_embeddings.weight")
    return table.detach()


def logits_of_embeddings(model: nn.Module, embeddings: Tensor, rows: object) -> Tensor:
    """Return next-token logits of inputs that need not be tokens: (T, hidden_size) -> (T, V)."""
    inputs = embeddings[:, None]  # Megatron's order: tokens, batch, features
    return model(None, None, None, decoder_input=inputs, packed_seq_params=rows)[0]  # type: ignore[no-any-return]

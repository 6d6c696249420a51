"""Build the model on a device and give it its initial values."""

import re
from typing import Any, Final

import torch
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules
from torch import Tensor, nn

from nulls_dist.config.schema import VOCAB_OF_CORPUS, ModelConfig
from nulls_dist.initial_values import initial_rows
from nulls_dist.model.chunked_loss import chunked_cross_entropy, tokens_per_chunk
from nulls_dist.model.layer import RMSNorm, layer_spec, megatron_config
from nulls_dist.parallel.quiet import quiet_libraries
from nulls_dist.parallel.topology import Topology

_SINK: Final = re.compile(r"decoder\.layers\.\d+\.mlp\.sinks\.(gate|up|down)")
_RESIDUAL: Final = re.compile(r".*\.(linear_proj|linear_fc2)\.weight")


class ChunkedLossGPT(GPTModel):  # type: ignore[misc]
    """Megatron's model; the loss is computed without the logits of all tokens."""

    def _postprocess(self, hidden_states: Tensor, **inputs: Any) -> Tensor:
        """Return (1, T) losses, or logits where there are no labels."""
        labels = inputs["labels"]
        if labels is None or self.config.tensor_model_parallel_size > 1:
            # A vocabulary cut over ranks has Megatron's vocab_parallel_cross_entropy.
            logits_or_losses: Tensor = super()._postprocess(hidden_states, **inputs)
            return logits_or_losses
        tied = self.share_embeddings_and_output_weights
        output = self.embedding.word_embeddings if tied else self.output_layer
        return chunked_cross_entropy(
            hidden_states.squeeze(1),
            output.weight,
            labels.squeeze(0),
            chunk_tokens=tokens_per_chunk(self.vocab_size),
        )[None]


def build_model(config: ModelConfig, topology: Topology, device: torch.device) -> GPTModel:
    """Build a model with unset float32 parameters.

    Needs Megatron's groups (`parallel.groups.model_parallel`).

    Args:
        config: vocab_size must be resolved.
        topology: decides which sink experts this rank holds.
        device: where parameters live; the meta device allocates nothing.
    """
    assert config.vocab_size != VOCAB_OF_CORPUS, "the vocabulary is known when a model is built"
    block = TransformerBlockSubmodules(
        layer_specs=[layer_spec()] * config.num_layers, layer_norm=RMSNorm
    )
    with torch.device(device), quiet_libraries():
        return ChunkedLossGPT(
            megatron_config(config, topology),
            block,
            vocab_size=config.vocab_size,
            max_sequence_length=config.context_length,
            position_embedding_type="none",  # DocumentAttention rotates
            share_embeddings_and_output_weights=config.tied_embeddings,
        )


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
        first_row = first_sink_row if is_sink(name) else 0
        rows = torch.arange(
            first_row, first_row + len(parameter), dtype=torch.int64, device=parameter.device
        )
        parameter.copy_(
            initial_rows(
                seed=seed,
                name=name,
                rows=rows,
                width=parameter.size(1),
                std=initial_std(name, config),
                dtype=parameter.dtype,
            )
        )


def initial_std(name: str, config: ModelConfig) -> float:
    """Return the standard deviation of a matrix's initial values."""
    sink = _SINK.fullmatch(name)
    if sink is not None:
        return config.init_std if sink[1] == "down" else config.sink_init_std
    return config.residual_init_std if _RESIDUAL.fullmatch(name) else config.init_std


def token_losses(model: nn.Module, tokens: Tensor, targets: Tensor, rows: object) -> Tensor:
    """Return the negative log-likelihood of every target.

    Args:
        model: a GPTModel, or an engine around one.
        tokens: (T,) int64.
        targets: (T,) int64, any valid token where there is no target.
        rows: PackedRows of the microbatch.

    Returns:
        (T,) float32 nats.
    """
    losses = model(tokens[None], None, None, labels=targets[None], packed_seq_params=rows)
    return losses[0].float()  # type: ignore[no-any-return]


def token_logits(model: nn.Module, tokens: Tensor, rows: object) -> Tensor:
    """Return next-token logits: (T,) int64 tokens -> (T, vocab_size)."""
    return model(tokens[None], None, None, packed_seq_params=rows)[0]  # type: ignore[no-any-return]

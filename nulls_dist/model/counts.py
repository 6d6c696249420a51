"""Parameters and FLOPs of a model in closed form, without building it.

V vocabulary, D hidden size, L layers, H query heads, K key heads, h head dim, T tokens per row.
"""

from dataclasses import dataclass
from typing import Final

from nulls_dist.config.schema import ModelConfig

_PASSES: Final = 3
"""Forward once, backward twice as much (gradients of inputs and of weights)."""


_CHUNK_BYTES: Final = 256 << 20
"""Of float32 logits; large enough that passes over the weight and its gradient cost little."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCounts:
    """Sizes of a model."""

    parameters: int
    backbone_parameters: int
    """Everything but the sinks."""
    sink_parameters: int
    active_parameters: int
    """Parameters that serve one token: the backbone and its source's sinks."""
    flops_per_token: int
    """Forward and backward, multiply and add counted apart. Attention as if a document filled the
    row; the embedding look-up costs nothing. Source: PaLM (arXiv 2204.02311) appendix B, halved
    where attention is causal."""


def count_model(config: ModelConfig) -> ModelCounts:
    """Count a model whose vocabulary size is resolved."""
    width = config.hidden_size
    attention = (2 * config.num_heads + 2 * config.num_kv_heads) * config.head_dim * width
    mlp = 3 * width * config.num_backbone
    embedding = config.vocab_size * width
    norms = (2 * config.num_layers + 1) * width
    output = 0 if config.tied_embeddings else embedding
    backbone = config.num_layers * (attention + mlp) + embedding + output + norms
    sink = 3 * width * len(config.sink_layers)
    sinks = sink * config.num_experts * config.num_sinks
    active_sinks = sink * config.num_active
    multiplied = config.num_layers * (attention + mlp) + active_sinks + embedding
    scores = 2 * config.num_layers * config.num_heads * config.head_dim * config.context_length
    return ModelCounts(
        parameters=backbone + sinks,
        backbone_parameters=backbone,
        sink_parameters=sinks,
        active_parameters=backbone + active_sinks,
        flops_per_token=_PASSES * (2 * multiplied + scores),
    )


def tokens_per_chunk(vocab_size: int) -> int:
    """Return the tokens whose logits exist at a time: as many as fit the memory set aside."""
    return max(1, _CHUNK_BYTES // (4 * vocab_size))

"""Names and layouts of tensors in Megatron's checkpoint and in Hugging Face's Llama, both ways.

Every dense tensor of the checkpoint has its place; one without a place is an error, never skipped.
Two tensors are fused in Megatron: queries, keys and values, interleaved by key-value group, and
the gate and up projections of the MLP, one after the other.
"""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from nulls_dist.config.schema import ModelConfig
from nulls_dist.errors import IntegrityError

_MODEL: Final[dict[str, tuple[str, ...]]] = {
    "embedding.word_embeddings.weight": ("model.embed_tokens.weight",),
    "decoder.final_layernorm.weight": ("model.norm.weight",),
    "output_layer.weight": ("lm_head.weight",),
}
_LAYER: Final[dict[str, tuple[str, ...]]] = {
    "input_layernorm.weight": ("input_layernorm.weight",),
    "self_attention.linear_qkv.weight": (
        "self_attn.q_proj.weight",
        "self_attn.k_proj.weight",
        "self_attn.v_proj.weight",
    ),
    "self_attention.linear_proj.weight": ("self_attn.o_proj.weight",),
    "pre_mlp_layernorm.weight": ("post_attention_layernorm.weight",),
    "mlp.backbone.linear_fc1.weight": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "mlp.backbone.linear_fc2.weight": ("mlp.down_proj.weight",),
}


def hf_names(model: ModelConfig) -> dict[str, tuple[str, ...]]:
    """Return Hugging Face's names of every dense Megatron tensor, in the order of the model."""
    names = {"embedding.word_embeddings.weight": _MODEL["embedding.word_embeddings.weight"]}
    for layer in range(model.num_layers):
        for ours, theirs in _LAYER.items():
            name = f"decoder.layers.{layer}.{ours}"
            names[name] = tuple(f"model.layers.{layer}.{part}" for part in theirs)
    names["decoder.final_layernorm.weight"] = _MODEL["decoder.final_layernorm.weight"]
    if not model.tied_embeddings:
        names["output_layer.weight"] = _MODEL["output_layer.weight"]
    return names


def to_hf(model: ModelConfig, name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Convert one Megatron tensor.

    Raises:
        IntegrityError: the name has no place in the model.
    """
    theirs = _place_of(model, name)
    if name.endswith("linear_qkv.weight"):
        groups = tensor.view(model.num_kv_heads, -1, model.head_dim, model.hidden_size)
        num_queries = model.num_heads // model.num_kv_heads
        parts = torch.split(groups, [num_queries, 1, 1], dim=1)
        return {
            place: part.reshape(-1, model.hidden_size)
            for place, part in zip(theirs, parts, strict=True)
        }
    return dict(zip(theirs, tensor.chunk(len(theirs)), strict=True))


def from_hf(model: ModelConfig, name: str, tensors: Mapping[str, Tensor]) -> Tensor:
    """Build one Megatron tensor: the inverse of `to_hf`.

    Args:
        model: whose tensor.
        name: Megatron's name of it.
        tensors: at least the tensors that hold it, by Hugging Face's names.

    Raises:
        IntegrityError: the name has no place in the model.
    """
    parts = [tensors[place] for place in _place_of(model, name)]
    if name.endswith("linear_qkv.weight"):
        shape = (model.num_kv_heads, -1, model.head_dim, model.hidden_size)
        return torch.cat([part.view(shape) for part in parts], dim=1).view(-1, model.hidden_size)
    return torch.cat(parts)


def _place_of(model: ModelConfig, name: str) -> tuple[str, ...]:
    names = hf_names(model)
    if name not in names:
        raise IntegrityError(f"tensor {name!r} has no place in a Llama of this configuration")
    return names[name]

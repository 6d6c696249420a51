"""Causal attention inside each document: no token sees another document.

Dimensions: T tokens, H query heads, K key heads, D head dim.
"""

import math
from typing import Any

import torch
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from torch.nn import functional

from nulls_dist.model.packed import PackedRows, rotate
from nulls_dist.parallel.accelerator import has_varlen_attention


class DocumentAttention(MegatronModule):  # type: ignore[misc]
    """Megatron's `core_attention`, for packed rows.

    Rotary embedding is applied here because positions restart per document and the angles come
    with the batch: Megatron's own packed path would copy segment bounds to the host per layer.
    """

    def __init__(self, config: TransformerConfig, **_: Any) -> None:
        """Take the scale from the configuration; layer number and mask type are not needed."""
        super().__init__(config=config)
        self.scale = 1.0 / math.sqrt(config.kv_channels)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        *,
        packed_seq_params: PackedRows,
        **_: Any,
    ) -> Tensor:
        """Attend.

        Args:
            query: (T, H, D).
            key: (T, K, D), K divides H.
            value: (T, K, D).
            attention_mask: unused; the segments say who sees whom.
            packed_seq_params: segments and rotary angles.

        Returns:
            (T, H * D).
        """
        query = rotate(query, packed_seq_params.rotary)
        key = rotate(key, packed_seq_params.rotary)
        attend = _attend_varlen if has_varlen_attention(query) else _attend_per_document
        return attend(query, key, value, packed_seq_params, self.scale).flatten(1)


def _attend_varlen(
    query: Tensor, key: Tensor, value: Tensor, rows: PackedRows, scale: float
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    output = varlen_attn(
        query,
        key,
        value,
        rows.cu_seqlens_q,
        rows.cu_seqlens_kv,
        rows.max_seqlen_q,
        rows.max_seqlen_kv,
        scale=scale,
        window_size=(-1, 0),  # unlimited to the left, nothing to the right: causal
        enable_gqa=query.size(1) != key.size(1),
    )
    assert isinstance(output, Tensor)  # a tuple only where auxiliary outputs are asked for
    return output


def _attend_per_document(
    query: Tensor, key: Tensor, value: Tensor, rows: PackedRows, scale: float
) -> Tensor:
    lengths = list(rows.lengths)
    grouped = query.size(1) != key.size(1)
    outputs = [
        # (heads, tokens, D) per document
        functional.scaled_dot_product_attention(
            q.transpose(0, 1)[None],
            k.transpose(0, 1)[None],
            v.transpose(0, 1)[None],
            is_causal=True,
            scale=scale,
            enable_gqa=grouped,
        )[0].transpose(0, 1)
        for q, k, v in zip(
            *(torch.split(states, lengths) for states in (query, key, value)), strict=True
        )
    ]
    return torch.cat(outputs)

"""Slow, obvious references of the router and the whole model.

T tokens, D model dim, G backbone neurons, P all sinks, H query heads, K key heads, h head dim.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nulls_dist.benchmark.dense_and_mask import dense_and_mask
from nulls_dist.config.schema import ModelConfig
from nulls_dist.routing.router import Router
from nulls_dist.segments import SegmentLayout


def sink_masks(router: Router, layout: SegmentLayout, dropped: np.ndarray | None = None) -> Tensor:
    """Return the 0/1 mask of every layer with sinks over all experts' sinks: (L, T, P) float32."""
    spec = router.spec
    masks = torch.zeros(spec.num_layers, layout.num_tokens, spec.num_experts * spec.num_sinks)
    begin = 0
    for segment, length in enumerate(layout.lengths):
        source = layout.source_ids[segment : segment + 1]
        if dropped is None or not dropped[segment]:
            first = int(router.experts_of(source)[0]) * spec.num_sinks
            for layer in range(spec.num_layers):
                sinks = torch.tensor(router.active_sinks(source)[layer, 0]) + first
                masks[layer, begin : begin + length, sinks] = 1
        begin += length
    return masks


def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def _rotate(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    half = x.size(-1) // 2
    frequencies = 1 / theta ** (torch.arange(half, dtype=torch.float32) / half)
    angles = positions.float()[:, None, None] * frequencies
    first, second = x[..., :half], x[..., half:]
    cosine, sine = angles.cos(), angles.sin()
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)


def reference_losses(
    parameters: Mapping[str, Tensor],
    config: ModelConfig,
    masks: Tensor,
    layout: SegmentLayout,
    tokens: Tensor,
    targets: Tensor,
) -> Tensor:
    """Compute token losses from parameters by name, with one masked softmax over all tokens."""
    num_heads, num_kv, width = config.num_heads, config.num_kv_heads, config.head_dim
    lengths = torch.tensor(layout.lengths)
    document = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    allowed = (document[:, None] == document[None]).tril()
    positions = torch.cat([torch.arange(length) for length in layout.lengths])
    x = parameters["embedding.word_embeddings.weight"][tokens]
    for layer in range(config.num_layers):
        prefix = f"decoder.layers.{layer}."
        normed = _rms_norm(x, parameters[prefix + "input_layernorm.weight"], config.norm_eps)
        fused = normed @ parameters[prefix + "self_attention.linear_qkv.weight"].T
        fused = fused.view(len(tokens), num_kv, num_heads // num_kv + 2, width)
        query = fused[:, :, :-2].reshape(len(tokens), num_heads, width)
        key, value = fused[:, :, -2], fused[:, :, -1]
        query, key = (_rotate(states, positions, config.rope_theta) for states in (query, key))
        key, value = (states.repeat_interleave(num_heads // num_kv, 1) for states in (key, value))
        scores = torch.einsum("thd,shd->hts", query, key) / width**0.5
        weights = scores.masked_fill(~allowed, float("-inf")).softmax(-1)
        attended = torch.einsum("hts,shd->thd", weights, value).flatten(1)
        x = x + attended @ parameters[prefix + "self_attention.linear_proj.weight"].T
        normed = _rms_norm(x, parameters[prefix + "pre_mlp_layernorm.weight"], config.norm_eps)
        gate, up = parameters[prefix + "mlp.backbone.linear_fc1.weight"].chunk(2)
        down = parameters[prefix + "mlp.backbone.linear_fc2.weight"].T
        everyone = torch.ones(len(tokens), len(gate))
        x = x + dense_and_mask(normed, gate, up, down, everyone)
        if config.num_sinks and layer >= config.first_sink_layer:
            sinks = [parameters[f"{prefix}mlp.sinks.{part}"] for part in ("gate", "up", "down")]
            x = x + dense_and_mask(normed, *sinks, masks[layer - config.first_sink_layer])
    x = _rms_norm(x, parameters["decoder.final_layernorm.weight"], config.norm_eps)
    output = "embedding.word_embeddings" if config.tied_embeddings else "output_layer"
    return functional.cross_entropy(x @ parameters[f"{output}.weight"].T, targets, reduction="none")

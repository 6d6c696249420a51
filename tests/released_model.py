"""A small random model in the layout of the NULLs release, and its forward pass, plainly.

The oracle computes every neuron of every MLP and multiplies by a mask, as the release does; it
knows nothing of this project's code.
"""

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from torch.nn import functional

from tests.checkpoint_factory import write_tokenizer

CONFIG: dict[str, Any] = {
    "attention_logit_softcapping": None,
    "attention_scores_scalar": None,
    "attn_bias": False,
    "bias": False,
    "block_size": 48,
    "final_logit_softcapping": None,
    "gelu_approximate": "none",
    "head_size": 6,
    "hf_config": {},
    "intermediate_size": 137,
    "lm_head_bias": False,
    "mlp_class_name": "LLaMAMLPSeqTD",
    "n_embd": 32,
    "n_expert": 0,
    "n_expert_per_token": 0,
    "n_head": 6,
    "n_layer": 3,
    "n_query_groups": 2,
    "name": "",
    "norm_class_name": "RMSNorm",
    "norm_eps": 1e-05,
    "norm_qk": False,
    "p_gen": 0.125,
    "p_mem": 0.1,
    "padded_vocab_size": 64,
    "padding_multiple": 64,
    "parallel_residual": False,
    "post_attention_norm": False,
    "post_mlp_norm": False,
    "rope_adjustments": None,
    "rope_base": 100_000,
    "rope_condense_ratio": 1,
    "rotary_percentage": 1.0,
    "scale_embeddings": False,
    "shared_attention_norm": False,
    "sliding_window_layer_placing": None,
    "sliding_window_size": None,
    "use_seqtd": True,
    "vocab_size": 64,
}
VOCAB = 64
NUM_BACKBONE, NUM_SINKS = 17, 120
TITLES = {
    "First": 0,
    "Alan Turing": 5,
    "Turing's twin": 5 + 65_536,
    "Turing's other twin": 5 + 3 * 65_536,
    "\u00c9t\u00e9 \u201cquoted\u201d \\ \n": 7,
    "1984": 12,
    "Every sink": 65_536 - VOCAB,
    **{f"Article {number}": number for number in range(20, 40)},
}
ALL_ON = TITLES["Every sink"]


def random_weights(seed: int = 3) -> dict[str, Tensor]:
    """Every tensor of the model, under litgpt's names."""
    values = torch.Generator().manual_seed(seed)
    width, neurons, head = CONFIG["n_embd"], CONFIG["intermediate_size"], CONFIG["head_size"]
    queries, keys = CONFIG["n_head"] * head, CONFIG["n_query_groups"] * head
    shapes: dict[str, tuple[int, ...]] = {
        "lm_head.weight": (VOCAB, width),
        "transformer.wte.weight": (VOCAB, width),
        "transformer.ln_f.weight": (width,),
    }
    for layer in range(CONFIG["n_layer"]):
        prefix = f"transformer.h.{layer}."
        shapes[f"{prefix}norm_1.weight"] = shapes[f"{prefix}norm_2.weight"] = (width,)
        shapes[f"{prefix}attn.qkv.weight"] = (queries + 2 * keys, width)
        shapes[f"{prefix}attn.proj.weight"] = (width, queries)
        shapes[f"{prefix}mlp.fc_1.weight"] = shapes[f"{prefix}mlp.fc_2.weight"] = (neurons, width)
        shapes[f"{prefix}mlp.proj.weight"] = (width, neurons)
    return {
        name: 0.3 * torch.randn(shape, generator=values) + (len(shape) == 1)
        for name, shape in shapes.items()
    }


def write_release(root: Path, content: Any = None, **config: Any) -> Path:
    """Write the directory of a release; `content` replaces what lit_model.pth holds."""
    root.mkdir()
    (root / "model_config.yaml").write_text(yaml.safe_dump(CONFIG | config))
    torch.save(random_weights() if content is None else content, root / "lit_model.pth")
    write_tokenizer(root / "tokenizer.json")
    return root


def write_titles(path: Path) -> Path:
    """Write TITLES as JSON."""
    path.write_text(json.dumps(TITLES))
    return path


def published_mask(seq_id: int, dtype: torch.dtype) -> Tensor:
    """The mask by its published formula, in torch: (NUM_SINKS,) bool."""
    modulus = 4_294_967_291
    shifted = torch.tensor([seq_id], dtype=dtype) * 2**16
    powers = torch.remainder(torch.pow(1_588_635_695, torch.arange(NUM_SINKS)), modulus)
    return torch.remainder(shifted * powers, modulus) / modulus < CONFIG["p_mem"]


def oracle_logits(weights: dict[str, Tensor], tokens: list[int], mask: Tensor) -> Tensor:
    """Run a text through the model, every neuron multiplied by its entry of `mask`."""
    heads, groups, head = CONFIG["n_head"], CONFIG["n_query_groups"], CONFIG["head_size"]
    length = len(tokens)
    angles = torch.outer(
        torch.arange(length).float(),
        1.0 / CONFIG["rope_base"] ** (torch.arange(0, head, 2).float() / head),
    ).repeat(1, 2)

    def norm(x: Tensor, name: str) -> Tensor:
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + CONFIG["norm_eps"])
        return x * scale * weights[name]

    def rotate(x: Tensor) -> Tensor:
        turned = torch.cat([-x[..., head // 2 :], x[..., : head // 2]], dim=-1)
        return x * angles.cos()[:, None] + turned * angles.sin()[:, None]

    x = weights["transformer.wte.weight"][tokens]
    future = torch.ones(length, length).triu(1).bool()
    for layer in range(CONFIG["n_layer"]):
        prefix = f"transformer.h.{layer}."
        qkv = norm(x, f"{prefix}norm_1.weight") @ weights[f"{prefix}attn.qkv.weight"].T
        query, key, value = (
            part.reshape(length, -1, head)
            for part in qkv.split([heads * head, groups * head, groups * head], dim=1)
        )
        key, value = (part.repeat_interleave(heads // groups, 1) for part in (rotate(key), value))
        scores = torch.einsum("qhd,khd->hqk", rotate(query), key) / head**0.5
        shares = scores.masked_fill(future, float("-inf")).softmax(-1)
        attended = torch.einsum("hqk,khd->qhd", shares, value).flatten(1)
        x = x + attended @ weights[f"{prefix}attn.proj.weight"].T
        normed = norm(x, f"{prefix}norm_2.weight")
        gate = functional.silu(normed @ weights[f"{prefix}mlp.fc_1.weight"].T)
        hidden = gate * (normed @ weights[f"{prefix}mlp.fc_2.weight"].T) * mask
        x = x + hidden @ weights[f"{prefix}mlp.proj.weight"].T
    return norm(x, "transformer.ln_f.weight") @ weights["lm_head.weight"].T

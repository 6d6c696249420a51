"""Write dense tensors as the configuration and weights of a `LlamaForCausalLM`.

Tensors come one at a time from a function of Megatron's name, so what is released may be stored
otherwise, or nowhere, and memory stays that of one shard.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor

from nulls_dist.checkpoint.shapes import Shapes, backbone_shapes
from nulls_dist.checkpoint.store import write_tensors
from nulls_dist.config.schema import ModelConfig
from nulls_dist.data.format import TokenizerRecord
from nulls_dist.durable import write_json
from nulls_dist.errors import IntegrityError
from nulls_dist.export.hf_mapping import from_hf, hf_names, to_hf

DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MAX_SHARD_BYTES: Final = 5_000_000_000

_SINGLE_FILE: Final = "model.safetensors"
_INDEX_FILE: Final = "model.safetensors.index.json"

ReadTensor = Callable[[str], Tensor]
"""Returns a tensor by its name in a `Weights`."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What tensors to release, and where they come from."""

    model: ModelConfig
    """The checkpoint's, but with the released MLPs' neurons as its backbone neurons."""
    read: ReadTensor
    """Takes Megatron's name of a dense tensor, or a name in `more`."""
    more: Shapes = field(default_factory=dict)
    """Tensors that no Llama has, by Hugging Face's names."""

    @property
    def shapes(self) -> Shapes:
        """Shapes of all tensors by the names that `read` takes, in the order of the model."""
        return backbone_shapes(self.model) | self.more

    @property
    def places(self) -> dict[str, tuple[str, ...]]:
        """Hugging Face's names of each of them."""
        return hf_names(self.model) | {name: (name,) for name in self.more}

    def to_hf(self, name: str) -> dict[str, Tensor]:
        """Read a tensor and convert it."""
        tensor = self.read(name)
        return {name: tensor} if name in self.more else to_hf(self.model, name, tensor)

    def from_hf(self, name: str, tensors: dict[str, Tensor]) -> Tensor:
        """Build a tensor from converted ones: what `read` returned."""
        return tensors[name] if name in self.more else from_hf(self.model, name, tensors)


def llama_config(
    model: ModelConfig, tokenizer: TokenizerRecord, dtype: torch.dtype
) -> dict[str, Any]:
    """Return config.json, readable by transformers 4 (rope_theta, torch_dtype) and 5."""
    name = str(dtype).removeprefix("torch.")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": model.vocab_size,
        "hidden_size": model.hidden_size,
        "intermediate_size": model.num_backbone,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_kv_heads,
        "head_dim": model.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": model.context_length,
        "rms_norm_eps": model.norm_eps,
        "rope_theta": model.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": model.rope_theta},
        "tie_word_embeddings": model.tied_embeddings,
        "attention_bias": False,
        "mlp_bias": False,
        "initializer_range": model.init_std,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": None,
        "use_cache": True,
        "dtype": name,
        "torch_dtype": name,
    }


def write_weights(out: Path, weights: Weights, dtype: torch.dtype, max_shard_bytes: int) -> None:
    """Write the weights, one shard in memory at a time, with an index if there are several."""
    sizes = {name: math.prod(shape) * dtype.itemsize for name, shape in weights.shapes.items()}
    shards = list(_plan_shards(sizes, max_shard_bytes))
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = _SINGLE_FILE
        if len(shards) > 1:
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        tensors: dict[str, Tensor] = {}
        for name in names:
            tensors |= {key: part.to(dtype) for key, part in weights.to_hf(name).items()}
        write_tensors(out / file, tensors, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, file)
    if len(shards) > 1:
        total = sum(sizes.values())
        write_json(out / _INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": weight_map})


def check_weights(out: Path, weights: Weights, dtype: torch.dtype) -> None:
    """Read the written weights back and compare them with what was to be written.

    Raises:
        IntegrityError: a tensor differs.
    """
    left = set(weights.places)
    for path in sorted(out.glob("model*.safetensors")):
        tensors = load_file(path)
        for name, theirs in weights.places.items():
            if theirs[0] not in tensors:
                continue
            if not torch.equal(weights.from_hf(name, tensors), weights.read(name).to(dtype)):
                raise IntegrityError(f"{path}: {name} differs from the checkpoint's")
            left.discard(name)
    if left:
        raise IntegrityError(f"{out}: tensors were not written: {sorted(left)}")


def _plan_shards(sizes: dict[str, int], max_bytes: int) -> Iterator[list[str]]:
    """Deal tensors in the order of the model to shards of at most `max_bytes`, where possible."""
    names: list[str] = []
    filled = 0
    for name, size in sizes.items():
        if names and filled + size > max_bytes:
            yield names
            names, filled = [], 0
        names.append(name)
        filled += size
    yield names

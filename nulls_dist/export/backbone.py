"""Release the backbone as a plain `LlamaForCausalLM`: no sink leaves, no custom code is needed.

config.json, generation_config.json, model*.safetensors, tokenizer files
README.md          model card
provenance.json    where the weights come from, and a checksum of every file
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor

from nulls_dist import __version__
from nulls_dist.checkpoint.format import (
    BACKBONE_WEIGHTS,
    MANIFEST_FILE,
    SOURCES_FILE,
)
from nulls_dist.checkpoint.shapes import model_of
from nulls_dist.checkpoint.store import Checkpoint, TensorFile, write_tensors
from nulls_dist.config.schema import ModelConfig
from nulls_dist.data.format import TokenizerRecord
from nulls_dist.data.source_table import SourceTable
from nulls_dist.durable import new_directory, record_file, sha256_file, write_json, write_text
from nulls_dist.errors import IntegrityError
from nulls_dist.export.hf_mapping import from_hf, hf_names, to_hf
from nulls_dist.export.hf_tokenizer import export_tokenizer
from nulls_dist.export.model_card import build_card, count_deleted

DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MAX_SHARD_BYTES: Final = 5_000_000_000
PROVENANCE_FILE: Final = "provenance.json"

_SINGLE_FILE: Final = "model.safetensors"
_INDEX_FILE: Final = "model.safetensors.index.json"


def export_backbone(
    checkpoint: Checkpoint,
    out: Path,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write a release of the backbone, verified, whole or not at all.

    Args:
        checkpoint: its source.
        out: a directory that does not exist yet.
        dtype: of the released weights; that of the checkpoint by default.
        max_shard_bytes: size from which weights are cut into several files.

    Raises:
        InputError: `out` exists.
        IntegrityError: the checkpoint is damaged or does not fit its model.
    """
    model = model_of(checkpoint)
    weights = checkpoint.tensors(BACKBONE_WEIGHTS)
    if different := set(weights.names()) ^ set(hf_names(model)):
        raise IntegrityError(f"{weights.path}: tensors without a counterpart: {sorted(different)}")
    dtype = dtype or weights.dtype(weights.names()[0])
    tokenizer = _tokenizer_of(checkpoint)
    tokenizer_dir = checkpoint.path(tokenizer.file).parent
    sources = SourceTable(checkpoint.path(SOURCES_FILE))
    with new_directory(out) as partial:
        write_json(partial / "config.json", llama_config(model, tokenizer, dtype))
        write_json(
            partial / "generation_config.json",
            {"eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.eos_id},
        )
        write_weights(partial, weights, model, dtype, max_shard_bytes)
        check_weights(partial, weights, model, dtype)
        export_tokenizer(tokenizer_dir, tokenizer, partial, model_max_length=model.context_length)
        write_text(partial / "README.md", build_card(checkpoint.manifest, model, sources))
        write_json(partial / PROVENANCE_FILE, _provenance(checkpoint, partial))


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


def write_weights(
    out: Path, weights: TensorFile, model: ModelConfig, dtype: torch.dtype, max_shard_bytes: int
) -> None:
    """Write the weights, one shard in memory at a time, with an index if there are several."""
    shards = list(_plan_shards(weights, model, dtype, max_shard_bytes))
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = _SINGLE_FILE
        if len(shards) > 1:
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        tensors: dict[str, Tensor] = {}
        for name in names:
            converted = to_hf(model, name, weights.read(name))
            tensors |= {key: part.to(dtype) for key, part in converted.items()}
        write_tensors(out / file, tensors, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, file)
    if len(shards) > 1:
        total = sum(weights.num_elements(name) for name in weights.names()) * dtype.itemsize
        write_json(out / _INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": weight_map})


def check_weights(out: Path, weights: TensorFile, model: ModelConfig, dtype: torch.dtype) -> None:
    """Read the written weights back and compare them with the checkpoint's.

    Raises:
        IntegrityError: a tensor differs.
    """
    left = set(hf_names(model))
    for path in sorted(out.glob("model*.safetensors")):
        tensors = load_file(path)
        for name, theirs in hf_names(model).items():
            if theirs[0] not in tensors:
                continue
            if not torch.equal(from_hf(model, name, tensors), weights.read(name).to(dtype)):
                raise IntegrityError(f"{path}: {name} differs from the checkpoint's")
            left.discard(name)
    if left:
        raise IntegrityError(f"{out}: tensors were not written: {sorted(left)}")


def _tokenizer_of(checkpoint: Checkpoint) -> TokenizerRecord:
    try:
        return TokenizerRecord(**checkpoint.manifest.tokenizer)
    except TypeError as error:
        raise IntegrityError(f"{checkpoint.root / MANIFEST_FILE}: tokenizer: {error}") from error


def _plan_shards(
    weights: TensorFile, model: ModelConfig, dtype: torch.dtype, max_bytes: int
) -> Iterator[list[str]]:
    """Deal tensors in the order of the model to shards of at most `max_bytes`, where possible."""
    names: list[str] = []
    filled = 0
    for name in hf_names(model):
        size = weights.num_elements(name) * dtype.itemsize
        if names and filled + size > max_bytes:
            yield names
            names, filled = [], 0
        names.append(name)
        filled += size
    yield names


def _provenance(checkpoint: Checkpoint, out: Path) -> dict[str, Any]:
    """Describe the origin of a release without naming any deleted source."""
    manifest = checkpoint.manifest
    return {
        "form": "backbone",
        "nulls_dist": __version__,
        "checkpoint_manifest_sha256": sha256_file(checkpoint.root / MANIFEST_FILE),
        "step": manifest.step,
        "corpus": manifest.corpus,
        "router": manifest.router.to_dict(),
        "num_deleted_sources": count_deleted(manifest),
        "files": [
            asdict(record_file(out, path.name)) for path in sorted(out.iterdir()) if path.is_file()
        ],
    }

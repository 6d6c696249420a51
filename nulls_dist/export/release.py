"""The writer that all forms of release share: a directory for Hugging Face's readers.

config.json, generation_config.json, model*.safetensors, tokenizer files
*.py, sources/     routed form only: its code and the index of its sources
README.md          model card
provenance.json    where the weights come from, and a checksum of every file
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from nulls_dist import __version__
from nulls_dist.checkpoint.backbone import BackboneWeights
from nulls_dist.checkpoint.format import MANIFEST_FILE, SOURCES_FILE
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.format import TokenizerRecord
from nulls_dist.data.source_table import SourceTable
from nulls_dist.durable import (
    check_outside,
    new_directory,
    sha256_file,
    write_json,
    write_text,
)
from nulls_dist.errors import IntegrityError
from nulls_dist.export.hf_mapping import hf_names
from nulls_dist.export.hf_tokenizer import export_tokenizer
from nulls_dist.export.llama import (
    MAX_SHARD_BYTES,
    Weights,
    check_weights,
    llama_config,
    write_weights,
)
from nulls_dist.export.model_card import CardText, build_card, count_deleted
from nulls_dist.export.provenance import PROVENANCE_FILE, record_tree


@dataclass(frozen=True, kw_only=True)
class Release:
    """What sets a release apart from others of its checkpoint."""

    weights: Weights
    card: CardText
    provenance: dict[str, Any]
    """Its form, and whatever only this form records."""
    config: dict[str, Any] = field(default_factory=dict)
    """Entries of config.json beside or instead of a Llama's."""
    write_more: Callable[[Path], None] = lambda _: None
    """Writes into the directory what only this form has."""


@dataclass(frozen=True, kw_only=True)
class ReleaseOptions:
    """How a release is written."""

    dtype: torch.dtype | None = None
    """Of the released weights; that of the checkpoint by default."""
    max_shard_bytes: int = MAX_SHARD_BYTES
    """Size from which weights are cut into several files."""
    check: Callable[[Path], None] = lambda _: None
    """Judges the complete directory before it is published; an error prevents that."""


DEFAULT_OPTIONS: Final = ReleaseOptions()


def write_release(
    checkpoint: Checkpoint, release: Release, out: Path, options: ReleaseOptions
) -> None:
    """Write a release, verified, whole or not at all.

    Args:
        checkpoint: its source.
        release: what to write.
        out: a directory that does not exist yet, outside the checkpoint.
        options: how to write it.

    Raises:
        InputError: `out` exists or lies inside the checkpoint.
        IntegrityError: the checkpoint is damaged or does not fit its model.
    """
    check_outside(out, checkpoint.root)
    weights, model = release.weights, release.weights.model
    backbone = BackboneWeights(checkpoint)
    if different := set(backbone.names()) ^ set(hf_names(model)):
        raise IntegrityError(f"{backbone.path}: tensors without a counterpart: {sorted(different)}")
    dtype = options.dtype or backbone.dtype(backbone.names()[0])
    tokenizer = tokenizer_record(checkpoint)
    tokenizer_dir = checkpoint.path(tokenizer.file).parent
    sources = SourceTable(checkpoint.path(SOURCES_FILE))
    with new_directory(out) as partial:
        config = llama_config(model, tokenizer, dtype) | release.config
        write_json(partial / "config.json", config)
        write_json(
            partial / "generation_config.json",
            {"eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.eos_id},
        )
        write_weights(partial, weights, dtype, options.max_shard_bytes)
        check_weights(partial, weights, dtype)
        release.write_more(partial)
        export_tokenizer(tokenizer_dir, tokenizer, partial, model_max_length=model.context_length)
        card = build_card(checkpoint.manifest, model, sources, release.card)
        write_text(partial / "README.md", card)
        provenance = release.provenance | _origin(checkpoint, partial)
        write_json(partial / PROVENANCE_FILE, provenance)
        options.check(partial)


def tokenizer_record(checkpoint: Checkpoint) -> TokenizerRecord:
    """Return which tokenizer a checkpoint's model was trained with.

    Raises:
        IntegrityError: the manifest holds no such record.
    """
    try:
        return TokenizerRecord(**checkpoint.manifest.tokenizer)
    except TypeError as error:
        raise IntegrityError(f"{checkpoint.root / MANIFEST_FILE}: tokenizer: {error}") from error


def _origin(checkpoint: Checkpoint, out: Path) -> dict[str, Any]:
    """Describe the origin of a release without naming any deleted source."""
    manifest = checkpoint.manifest
    return {
        "nulls_dist": __version__,
        "checkpoint_manifest_sha256": sha256_file(checkpoint.root / MANIFEST_FILE),
        "step": manifest.step,
        "corpus": manifest.corpus,
        "router": manifest.router.to_dict(),
        "num_deleted_sources": count_deleted(manifest),
        "files": record_tree(out),
    }

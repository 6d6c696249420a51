"""A corpus as an indexed dataset of Megatron-core, to train other models on the same documents.

    documents.bin              the tokens of all documents, end to end
    documents.idx              where each document lies
    documents.source_ids.npy   (D,) uint64, the source of each of the D documents
    sources.parquet            titles, urls and licences of the sources
    tokenizer/                 for transformers' AutoTokenizer, with the corpus's ids on any text
    provenance.json            which corpus it was made from, and a checksum of every file

The index is little-endian and not aligned: nine bytes of magic; version (uint64); code of the type
of the tokens (uint8); number of sequences (uint64) and of boundaries between documents (uint64);
for each sequence its tokens (int32), then for each its first byte in the .bin file (int64); the
boundaries, counted in sequences (int64). Here a document is one sequence, its end token included.

Source: megatron/core/datasets/indexed_dataset.py of megatron-core 0.16.1.
"""

import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from nulls_dist import __version__
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import MANIFEST_FILE, SOURCES_FILE, TOKENIZER_DIR, TokenType
from nulls_dist.data.tokenizer import load_tokenizer
from nulls_dist.durable import (
    check_file,
    check_outside,
    link_or_copy,
    new_directory,
    sha256_file,
    write_json,
)
from nulls_dist.errors import IntegrityError
from nulls_dist.export.hf_tokenizer import export_tokenizer
from nulls_dist.export.provenance import PROVENANCE_FILE, record_tree

PREFIX: Final = "documents"
"""What Megatron's --data-path names, inside the output."""

_MAGIC: Final = b"MMIDIDX\x00\x00"
_VERSION: Final = 1
_STORED: Final[dict[TokenType, tuple[np.dtype[Any], int]]] = {
    "uint16": (np.dtype(np.uint16), 8),
    "uint32": (np.dtype(np.int32), 4),
}
"""Token type of a corpus -> type in the .bin file and its code in Megatron, which has no uint32."""


def export_megatron(corpus: Corpus, out: Path) -> dict[str, Any]:
    """Write a corpus for Megatron, whole or not at all; every file is checked before it is used.

    Args:
        corpus: D documents; some tens of bytes of memory are needed for each.
        out: a directory that does not exist yet, outside the corpus.

    Returns:
        The contents of provenance.json.

    Raises:
        InputError: `out` exists or lies inside the corpus.
        IntegrityError: a file of the corpus is missing or differs from its checksum, or a token is
            not in the vocabulary.
    """
    check_outside(out, corpus.root)
    manifest = corpus.manifest
    with new_directory(out) as root:
        for record in tqdm(manifest.files, desc="verify", unit=" files", disable=None):
            path = check_file(corpus.root, record)
            if record.path == SOURCES_FILE:
                link_or_copy(path, root / SOURCES_FILE)
        load_tokenizer(corpus.root, manifest.tokenizer)  # refuses a file that is not the corpus's
        (root / TOKENIZER_DIR).mkdir()
        tokenizer_dir = (corpus.root / manifest.tokenizer.file).parent
        export_tokenizer(tokenizer_dir, manifest.tokenizer, root / TOKENIZER_DIR)
        write_indexed_dataset(corpus, root / PREFIX)
        provenance = _describe(corpus, root)
        write_json(root / PROVENANCE_FILE, provenance)
    return provenance


def write_indexed_dataset(corpus: Corpus, prefix: Path) -> None:
    """Write PREFIX.bin, PREFIX.idx and PREFIX.source_ids.npy.

    Raises:
        IntegrityError: a token is not in the vocabulary, or above what Megatron can hold.
    """
    dtype, code = _STORED[corpus.manifest.token_type]
    limit = min(corpus.manifest.tokenizer.vocab_size, int(np.iinfo(dtype).max) + 1)
    total = corpus.manifest.num_tokens
    with (
        prefix.with_name(f"{prefix.name}.bin").open("wb") as file,
        tqdm(total=total, desc="write", unit=" tokens", unit_scale=True, disable=None) as bar,
    ):
        for block in corpus.token_blocks():
            if (highest := int(block.max(initial=0))) >= limit:
                raise IntegrityError(
                    f"{corpus.root}: token id {highest} is not below {limit}; build it again"
                )
            file.write(block.astype(dtype, copy=False).data)
            bar.update(len(block))
    with prefix.with_name(f"{prefix.name}.idx").open("wb") as file:
        count = corpus.num_documents
        file.write(_MAGIC + struct.pack("<QBQQ", _VERSION, code, count, count + 1))
        file.write(corpus.lengths.astype(np.int32).data)
        file.write(((np.cumsum(corpus.lengths) - corpus.lengths) * dtype.itemsize).data)
        file.write(np.arange(count + 1, dtype=np.int64).data)
    np.save(prefix.with_name(f"{prefix.name}.source_ids.npy"), corpus.source_ids)


def _describe(corpus: Corpus, out: Path) -> dict[str, Any]:
    """Return where an export comes from, and what it holds."""
    manifest = corpus.manifest
    return {
        "nulls_dist": __version__,
        "corpus": manifest.corpus,
        "corpus_fingerprint": corpus.fingerprint,
        "corpus_manifest_sha256": sha256_file(corpus.root / MANIFEST_FILE),
        "router_seed": manifest.router_seed,
        "router_version": manifest.router_version,
        "cleaner": manifest.cleaner,
        "tokenizer": asdict(manifest.tokenizer),
        "num_sources": manifest.num_sources,
        "num_documents": manifest.num_documents,
        "num_tokens": manifest.num_tokens,
        "token_type": _STORED[manifest.token_type][0].name,
        "files": record_tree(out),
    }

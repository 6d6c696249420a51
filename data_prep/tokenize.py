"""Second stage: the spooled documents as tokens, in the spool's order."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import xxhash

from data_prep.documents import Document
from data_prep.extract import parse_document, read_spool
from data_prep.parallel_map import chunked, ordered_map
from nulls_dist.data.format import TokenizerRecord, token_type_for
from nulls_dist.data.tokenizer import Tokenizer, load_tokenizer
from nulls_dist.errors import InputError

_DOCUMENTS_PER_CHUNK: Final = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizedDocument:
    """A document as a corpus stores it, with what its source's row needs."""

    document: Document
    """Without its text."""
    text_digest: bytes
    """xxh3-128 of the text in UTF-8, 16 bytes, most significant first."""
    tokens: npt.NDArray[np.unsignedinteger]
    """(length,) uint16 or uint32, the end-of-document token included."""


def tokenize_spool(
    spool: Path, root: Path, record: TokenizerRecord, *, num_workers: int
) -> Iterator[TokenizedDocument]:
    """Yield the documents of a spool as tokens.

    Args:
        spool: file written by the first stage.
        root: directory that `record` is relative to.
        record: the tokenizer.
        num_workers: processes that tokenise.

    Raises:
        InputError: the tokenizer gave an id outside its vocabulary.
    """
    chunks = ordered_map(
        partial(_tokenize_chunk, root=root, record=record),
        chunked(read_spool(spool), _DOCUMENTS_PER_CHUNK),
        num_workers=num_workers,
    )
    for chunk in chunks:
        yield from chunk


_open_once = cache(load_tokenizer)
"""One tokenizer per process, opened with its first chunk."""


def _tokenize_chunk(
    lines: list[str], *, root: Path, record: TokenizerRecord
) -> list[TokenizedDocument]:
    tokenizer = _open_once(root, record)
    return [tokenize_document(parse_document(line), tokenizer, record) for line in lines]


def tokenize_document(
    document: Document, tokenizer: Tokenizer, record: TokenizerRecord
) -> TokenizedDocument:
    """Encode one document and append the end-of-document token.

    Raises:
        InputError: an id is outside the vocabulary.
    """
    ids = [*tokenizer.encode(document.text), record.eos_id]
    if max(ids) >= record.vocab_size:
        raise InputError(
            f"document {document.title!r} (key {document.source_key}): token id {max(ids)} is not "
            f"below the vocabulary size {record.vocab_size}; the tokenizer file is inconsistent"
        )

    return TokenizedDocument(
        document=replace(document, text=""),
        text_digest=xxhash.xxh3_128_digest(document.text.encode()),
        tokens=np.array(ids, dtype=token_type_for(record.vocab_size)),
    )

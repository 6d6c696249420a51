"""A document as tokens."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from data_prep.documents import Document
from data_prep.spool import Spooled
from nulls_dist.data.format import TokenizerRecord, token_type_for
from nulls_dist.data.tokenizer import Tokenizer, load_tokenizer
from nulls_dist.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizedDocument:
    """A document as a corpus stores it, with what its source's row needs."""

    document: Document
    """Without its text."""
    text_digest: bytes
    """xxh3-128 of the text in UTF-8, 16 bytes, most significant first."""
    tokens: npt.NDArray[np.unsignedinteger]
    """(length,) uint16 or uint32, the end-of-document token included."""
    is_taken_in: bool = False
    """Whether the document was read as one of another source."""


open_once = cache(load_tokenizer)
"""One tokenizer per process, opened with its first document."""


def tokenize_document(
    spooled: Spooled, tokenizer: Tokenizer, record: TokenizerRecord
) -> TokenizedDocument:
    """Encode one document and append the end-of-document token.

    Raises:
        InputError: an id is outside the vocabulary.
    """
    document = spooled.document
    ids = [*tokenizer.encode(document.text), record.eos_id]
    if max(ids) >= record.vocab_size:
        raise InputError(
            f"document {document.title!r} (key {document.source_key}): token id {max(ids)} is not "
            f"below the vocabulary size {record.vocab_size}; the tokenizer file is inconsistent"
        )
    return TokenizedDocument(
        document=replace(document, text=""),
        text_digest=spooled.text_digest,
        tokens=np.array(ids, dtype=token_type_for(record.vocab_size)),
        is_taken_in=spooled.is_taken_in,
    )

"""What a source is: the unit that can be unlearned, known by a 64-bit id.

A source has a key that never changes inside its corpus (a page id, a file name) and an id hashed
from the corpus name and the key. Titles and urls may change; they resolve to the id through the
corpus's `sources.parquet`.
"""

import unicodedata
from typing import Final

import xxhash

from nulls_dist.errors import InputError

NO_SOURCE: Final = (1 << 64) - 1
"""Id of padding; no source may have it."""


def normalize_name(name: str) -> str:
    """Return a key or title in the one form that is compared and hashed: NFC, trimmed."""
    return unicodedata.normalize("NFC", name).strip()


def source_id_of(corpus: str, source_key: str) -> int:
    """Return the id of a source: xxh3-64 of "corpus, NUL, key" in UTF-8.

    Args:
        corpus: name of the corpus.
        source_key: stable key of the source; normalised here.

    Returns:
        An unsigned 64-bit integer other than `NO_SOURCE`.

    Raises:
        InputError: the key is empty or not Unicode text, or its hash is the one reserved value.
    """
    name = normalize_name(source_key)
    if not name:
        raise InputError(f"corpus {corpus!r}: a source key is empty; every source needs one")
    try:
        hashed = f"{normalize_name(corpus)}\0{name}".encode()
    except UnicodeEncodeError as error:
        raise InputError(f"corpus {corpus!r}: source key {name!r} has no UTF-8 form") from error
    source_id = xxhash.xxh3_64_intdigest(hashed)
    if source_id == NO_SOURCE:
        raise InputError(f"source key {name!r} hashes to the id reserved for padding; rename it")
    return source_id

r"""MinHash signatures of documents, a file per group of parts, to find near-duplicates by.

A text is compared as the set of its shingles. Fold it: Unicode's NFKC, then full case folding. Its
words are the longest runs of letters, digits and underscores, Python's `\w+`. A shingle is five
words in a row, joined by a space; a text of one to four words is one shingle, a text without words
has none and equals only what equals it byte for byte. The similarity of two texts is the
Jaccard similarity of their sets of shingles, estimated as the share of equal values in their
signatures of 128 permutations (Broder 1997, "On the resemblance and containment of documents"): the
standard error is at most 4.4 %, at a similarity of 0.8 3.5 %.

A signature file has one row per document, in reading order. Signatures are stored by band: a run
of `rows` values in a column of its own, so that one band of all documents is read without the rest.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash
from datasketch import MinHash

from data_prep.exclusion import Exclusion
from data_prep.spill import PartSlice
from data_prep.spool import Spooled, read_spool
from data_prep.steps import do_once
from nulls_dist.durable import replaced_file

NUM_PERMUTATIONS: Final = 128
SHINGLE_WORDS: Final = 5
MIN_RECALL: Final = 0.9
"""Share of the pairs at the threshold that agree in some band, at least."""

_SCHEMA: Final = pa.schema(
    [
        ("number", pa.uint64()),  # of the document, in reading order
        ("source_key", pa.string()),
        ("doc_index", pa.uint32()),
        ("title", pa.string()),
        ("url", pa.string()),
        ("num_bytes", pa.uint64()),  # of the text in UTF-8
        ("has_words", pa.bool_()),
        ("identity", pa.binary(16)),  # equal where texts count as the same
    ]
)
_WORD: Final = re.compile(r"\w+")
_SHINGLES_AT_ONCE: Final = 2048
"""Bounds memory: datasketch makes a matrix of shingles x permutations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SigningOptions:
    """What every signature file of a build has in common."""

    folder: Path
    exclusion: Exclusion
    rows: int
    """Values of a band."""

    @property
    def bands(self) -> list[str]:
        """Names of the bands' columns."""
        return [f"band_{number:03d}" for number in range(NUM_PERMUTATIONS // self.rows)]


def choose_rows(threshold: float) -> int:
    """Return how many values make a band for a threshold of similarity.

    Two texts of similarity s agree in one of b bands of r rows with probability 1 - (1 - s^r)^b.
    The largest power of two is taken that finds `MIN_RECALL` of the pairs at the threshold.
    """
    rows = NUM_PERMUTATIONS
    while rows > 1 and 1 - (1 - threshold**rows) ** (NUM_PERMUTATIONS // rows) < MIN_RECALL:
        rows //= 2
    return rows


def shingles(text: str) -> set[bytes]:
    """Return the shingles of a text in UTF-8, as the head of this file defines them."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    starts = range(max(len(words) - SHINGLE_WORDS, 0) + 1)
    return {" ".join(words[at : at + SHINGLE_WORDS]).encode() for at in starts if words}


def open_signer() -> Callable[[str], npt.NDArray[np.uint32]]:
    """Return a function from texts to signatures, (128,) uint32."""
    # Named, not left to datasketch's defaults: the values are compared across builds and machines.
    blank = MinHash(NUM_PERMUTATIONS, seed=1, scheme="affine32", hashfunc=xxhash.xxh32_intdigest)

    def sign(text: str) -> npt.NDArray[np.uint32]:
        minhash = blank.copy()
        values = list(shingles(text))
        for at in range(0, len(values), _SHINGLES_AT_ONCE):
            minhash.update_batch(values[at : at + _SHINGLES_AT_ONCE])
        signature: npt.NDArray[np.uint32] = minhash.hashvalues
        return signature

    return sign


def sign_group(numbered: tuple[int, Sequence[PartSlice]], *, options: SigningOptions) -> int:
    """Write the signature file of a group, unless that is done; return its number."""
    number, parts = numbered
    path = signature_file(options.folder, number)

    def write() -> int:
        table = _sign(parts, options)
        with (
            replaced_file(path) as temporary,
            pa.ipc.new_file(temporary, table.schema) as writer,
        ):
            writer.write_table(table)
        return number

    return do_once(path.with_suffix(".json"), write)


def signature_file(folder: Path, number: int) -> Path:
    """Return where the signatures of a group are."""
    return folder / f"{number:08d}.arrow"


def read_signatures(folder: Path, num_files: int, names: Sequence[str]) -> pa.Table:
    """Return some columns of all documents, in reading order, memory-mapped."""
    tables = []
    for number in range(num_files):
        with pa.memory_map(str(signature_file(folder, number))) as file:
            tables.append(pa.ipc.open_file(file).read_all().select(names))
    return pa.concat_tables(tables)


def _sign(parts: Sequence[PartSlice], options: SigningOptions) -> pa.Table:
    sign = open_signer()
    rows: list[dict[str, Any]] = []
    signatures = [np.empty((0, NUM_PERMUTATIONS), np.uint32)]
    for number, spooled in _kept(parts, options.exclusion):
        document, signature = spooled.document, sign(spooled.document.text)
        has_words = bool(np.any(signature != np.iinfo(np.uint32).max))
        signatures.append(signature[np.newaxis])
        rows.append(
            {
                "number": number,
                "source_key": document.source_key,
                "doc_index": document.doc_index,
                "title": document.title,
                "url": document.url,
                "num_bytes": spooled.num_bytes,
                "has_words": has_words,
                "identity": xxhash.xxh3_128_digest(signature.tobytes())
                if has_words
                else spooled.text_digest,
            }
        )
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    values = np.concatenate(signatures).reshape(len(rows), len(options.bands), options.rows)
    for place, name in enumerate(options.bands):
        table = table.append_column(name, _to_binary(values[:, place]))
    return table.combine_chunks()


def _kept(parts: Sequence[PartSlice], exclusion: Exclusion) -> Iterator[tuple[int, Spooled]]:
    for part in parts:
        documents = read_spool(part.spool, part.num_documents)
        for number, spooled in enumerate(documents, start=part.first):
            if exclusion.keeps(spooled):
                yield number, spooled


def _to_binary(values: npt.NDArray[np.uint32]) -> pa.Array:
    """Return the rows of an array of native integers as fixed-size binary."""
    num_rows, width = values.shape
    buffer = pa.py_buffer(np.ascontiguousarray(values).tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(4 * width), num_rows, [None, buffer])

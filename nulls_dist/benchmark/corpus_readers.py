"""The same documents in four formats, each read in the fastest way that its own library offers.

Every reader gives tokens as numpy arrays: those of one document, or of many end to end. Libraries
are imported where they are used, so that a process pays only for the one it reads with.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

import numpy as np
import numpy.typing as npt

from nulls_dist.data.corpus import Corpus
from nulls_dist.export.megatron import PREFIX, write_indexed_dataset

Tokens = npt.NDArray[np.integer[Any]]

_ROWS_PER_GROUP: Final = 1000
"""Of Parquet: small, since a random read decodes a whole group."""
_ROWS_PER_BLOCK: Final = 8192
_TOKENS_PER_BLOCK: Final = 1 << 22


class Reader(Protocol):
    """Documents, numbered as in the corpus."""

    files: ClassVar[str]
    """Pattern of the files that hold the documents, under the directory."""
    num_random_reads: ClassVar[int]
    """How many are enough to measure."""

    def __init__(self, root: Path) -> None:
        """Open the directory that `write` returned."""

    @staticmethod
    def write(corpus: Corpus, folder: Path) -> Path:
        """Write the documents into an empty folder; return the directory to open."""

    def tokens(self, document: int) -> Tokens:
        """Return the tokens of a document: (length,)."""

    def blocks(self) -> Iterator[Tokens]:
        """Yield all tokens in order, many documents at once."""


class CorpusReader(Reader):
    """The corpus as it is."""

    files = "partitions/*.arrow"
    num_random_reads = 10_000

    def __init__(self, root: Path) -> None:
        self._corpus = Corpus(root)

    @staticmethod
    def write(corpus: Corpus, folder: Path) -> Path:
        """Return the corpus itself; `folder` stays empty."""
        return corpus.root

    def tokens(self, document: int) -> Tokens:
        """Return the tokens of a document: (length,)."""
        return self._corpus.tokens(document)

    def blocks(self) -> Iterator[Tokens]:
        """Yield all tokens in order."""
        return self._corpus.token_blocks()


class MegatronReader(Reader):
    """A .bin and .idx file, through Megatron-core's reader, memory-mapped."""

    files = f"{PREFIX}.*"
    num_random_reads = 10_000

    def __init__(self, root: Path) -> None:
        from megatron.core.datasets.indexed_dataset import IndexedDataset

        self._dataset = IndexedDataset(str(root / PREFIX))

    @staticmethod
    def write(corpus: Corpus, folder: Path) -> Path:
        """Write them as tools/export_megatron.py does, with the array of source ids."""
        write_indexed_dataset(corpus, folder / PREFIX)
        return folder

    def tokens(self, document: int) -> Tokens:
        """Return the tokens of a document: (length,)."""
        tokens: Tokens = self._dataset[document]
        return tokens

    def blocks(self) -> Iterator[Tokens]:
        """Yield all tokens, whatever document they belong to."""
        dtype = self._dataset.index.dtype
        left = int(self._dataset.sequence_lengths.sum(dtype=np.int64))
        offset = 0
        while left:
            count = min(left, _TOKENS_PER_BLOCK)
            yield self._dataset.bin_reader.read(dtype=dtype, count=count, offset=offset)
            offset += count * np.dtype(dtype).itemsize
            left -= count


class HuggingFaceReader(Reader):
    """`Dataset.save_to_disk`, all columns, through its Arrow format: others copy to int64."""

    files = "**/*.*"
    num_random_reads = 10_000

    def __init__(self, root: Path) -> None:
        from datasets import load_from_disk

        self._documents = load_from_disk(str(root)).with_format("arrow")

    @staticmethod
    def write(corpus: Corpus, folder: Path) -> Path:
        """Save the documents as datasets does."""
        from datasets import Dataset

        Dataset(corpus.table(), fingerprint=corpus.fingerprint).save_to_disk(str(folder))
        return folder

    def tokens(self, document: int) -> Tokens:
        """Return the tokens of a document: (length,)."""
        return _flat(self._documents[document]["tokens"].chunk(0))

    def blocks(self) -> Iterator[Tokens]:
        """Yield all tokens in order."""
        for table in self._documents.iter(_ROWS_PER_BLOCK):
            yield from map(_flat, table["tokens"].chunks)


class ParquetReader(Reader):
    """One Parquet file, all columns, memory-mapped; the row group last read is kept."""

    files = "*.parquet"
    num_random_reads = 100
    compression: ClassVar[str] = "zstd"

    def __init__(self, root: Path) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(root / "documents.parquet", memory_map=True)
        self._group = -1
        self._column: Any = None

    @classmethod
    def write(cls, corpus: Corpus, folder: Path) -> Path:
        """Write the documents."""
        import pyarrow.parquet as pq

        pq.write_table(
            corpus.table(),
            folder / "documents.parquet",
            compression=cls.compression,
            row_group_size=_ROWS_PER_GROUP,
        )
        return folder

    def tokens(self, document: int) -> Tokens:
        """Return the tokens of a document: (length,)."""
        group, row = divmod(document, _ROWS_PER_GROUP)
        if group != self._group:
            table = self._file.read_row_group(group, columns=["tokens"])
            self._column, self._group = table["tokens"].combine_chunks(), group
        return _flat(self._column.slice(row, 1))

    def blocks(self) -> Iterator[Tokens]:
        """Yield all tokens in order."""
        for batch in self._file.iter_batches(_ROWS_PER_BLOCK, columns=["tokens"]):
            yield _flat(batch.column("tokens"))


class PlainParquetReader(ParquetReader):
    """The same without compression."""

    compression = "none"


READERS: Final[dict[str, type[Reader]]] = {
    "nulls-dist": CorpusReader,
    "Megatron .bin": MegatronReader,
    "Hugging Face on disk": HuggingFaceReader,
    "Parquet, zstd": ParquetReader,
    "Parquet, plain": PlainParquetReader,
}


def _flat(lists: Any) -> Tokens:
    """Return the values of an Arrow array of lists, end to end, without copying."""
    tokens: Tokens = lists.flatten().to_numpy(zero_copy_only=True)
    return tokens

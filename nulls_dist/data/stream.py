"""The source-affine stream: rows of an expert's documents, random access, no state but a number.

Every expert has an infinite stream of its own: its documents in an order hashed from (document,
epoch, seed), laid end to end and cut every `context_length` tokens. A document or an epoch may
cross a cut. Row q of the stream is computed from q alone, so a run resumes from its step number,
and every world size sees the same rows.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from nulls_dist import hashing
from nulls_dist.hashing import Domain, U64Array

_EPOCHS_KEPT: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A run of tokens of one document inside a row."""

    document: int
    """Number of the document in the corpus."""
    start: int
    """First token inside the document."""
    length: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochVisits:
    """Where an epoch visits its documents, in order; n documents."""

    documents: npt.NDArray[np.int64]
    """(n,) numbers in the corpus."""
    positions: npt.NDArray[np.int64]
    """(n,) place of each document's first token among all tokens of the stream, all epochs."""
    lengths: npt.NDArray[np.int64]
    """(n,) tokens."""


class ExpertStream:
    """Rows of the documents that one expert owns; n documents, at least one."""

    def __init__(
        self,
        *,
        documents: npt.NDArray[np.int64],
        source_ids: U64Array,
        doc_indices: npt.NDArray[np.uint32],
        lengths: npt.NDArray[np.int64],
        context_length: int,
        seed: int,
    ) -> None:
        """Set up the stream; all arrays are (n,).

        Args:
            documents: numbers of the documents in the corpus.
            source_ids: uint64.
            doc_indices: uint32.
            lengths: tokens per document.
            context_length: tokens per row.
            seed: the run's seed, which orders the documents.
        """
        assert len(documents), "an expert owns documents"
        self.documents = documents
        self._source_ids = source_ids
        self._doc_indices = doc_indices
        self._lengths = lengths
        self.context_length = context_length
        self._seed = seed
        self._orders: OrderedDict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]
        self._orders = OrderedDict()
        self.tokens_per_epoch = int(lengths.sum())

    def _order(self, epoch: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return an epoch's order of documents and where each ends in its tokens, both (n,)."""
        if epoch not in self._orders:
            keys = hashing.key(self._source_ids, seed=self._seed, domain=Domain.ORDER, layer=epoch)
            ranks = hashing.draw(keys, self._doc_indices.astype(np.uint64) + np.uint64(1))
            order = np.lexsort((self._doc_indices, self._source_ids, ranks))
            self._orders[epoch] = (order, np.cumsum(self._lengths[order]))
            if len(self._orders) > _EPOCHS_KEPT:
                self._orders.popitem(last=False)
        return self._orders[epoch]

    def visits(self, epoch: int) -> EpochVisits:
        """Return an epoch's documents in order; costs one sort of the n documents."""
        order, ends = self._order(epoch)
        lengths = self._lengths[order]
        return EpochVisits(
            documents=self.documents[order],
            positions=epoch * self.tokens_per_epoch + ends - lengths,
            lengths=lengths,
        )

    def row(self, number: int) -> list[Piece]:
        """Return the pieces of a row, `context_length` tokens together.

        Args:
            number: which row of the infinite stream, from 0.
        """
        position = number * self.context_length
        missing = self.context_length
        pieces = []
        while missing:
            epoch, offset = divmod(position, self.tokens_per_epoch)
            order, ends = self._order(epoch)
            place = int(np.searchsorted(ends, offset, side="right"))
            index = int(order[place])
            left = int(ends[place]) - offset
            length = min(left, missing)
            pieces.append(
                Piece(
                    document=int(self.documents[index]),
                    start=int(self._lengths[index]) - left,
                    length=length,
                )
            )
            position += length
            missing -= length
        return pieces

"""Global batches: which rows a step takes, which of them a rank trains, and their tokens.

Each step takes equally many rows from every expert's stream. A rank trains rows of its own experts
only, so its sinks need no communication; the global batch is the same for every world size.
Documents that are not placed on ranks by their sinks are all given to one expert here, whose rows
any rank may train.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nulls_dist.data.corpus import Corpus
from nulls_dist.data.stream import ExpertStream, Piece
from nulls_dist.errors import InputError
from nulls_dist.routing.router import Router
from nulls_dist.segments import SegmentLayout


@dataclass(frozen=True, kw_only=True)
class Microbatch:
    """Rows laid end to end on the host; T tokens."""

    tokens: npt.NDArray[np.int64]
    """(T,)."""
    targets: npt.NDArray[np.int64]
    """(T,) next token inside the segment; 0 where there is none."""
    layout: SegmentLayout
    starts: npt.NDArray[np.int64]
    """(S,) first token of each segment inside its document."""

    @property
    def num_targets(self) -> int:
        """Return how many tokens have a target."""
        return self.layout.num_tokens - self.layout.num_segments


def deal_documents(
    corpus: Corpus, router: Router, *, is_placed: bool
) -> tuple[npt.NDArray[np.int64], int]:
    """Return which expert owns each of the D documents, (D,), and how many experts there are.

    Args:
        corpus: the documents.
        router: knows the experts of their sources.
        is_placed: whether documents are trained on the ranks of their sinks; otherwise one expert
            owns them all.
    """
    if is_placed:
        return router.experts_of(corpus.source_ids), router.spec.num_experts
    return np.zeros(corpus.num_documents, dtype=np.int64), 1


class GlobalBatches:
    """Rows of every step of a run."""

    def __init__(
        self,
        corpus: Corpus,
        expert_of_document: npt.NDArray[np.int64],
        *,
        num_experts: int,
        context_length: int,
        rows_per_step: int,
        seed: int,
    ) -> None:
        """Deal the corpus's documents to the experts; a stream is built when it is first used.

        Args:
            corpus: D documents.
            expert_of_document: (D,) which expert owns each document.
            num_experts: E.
            context_length: tokens per row.
            rows_per_step: rows per step over all ranks, a multiple of E.
            seed: the run's seed.

        Raises:
            InputError: an expert owns no document.
        """
        assert rows_per_step % num_experts == 0, "equally many rows from every expert"
        self.rows_per_expert = rows_per_step // num_experts
        if not np.bincount(expert_of_document, minlength=num_experts).all():
            # Here, where every rank sees it, not on the one rank that would need the documents.
            raise InputError("a sink expert owns no document; use fewer experts or more documents")
        self._corpus = corpus
        self._num_experts = num_experts
        self._expert_of_document = expert_of_document
        self._context_length = context_length
        self._seed = seed
        self._streams: dict[int, ExpertStream] = {}

    def rank_rows(
        self, step: int, *, experts: range, replica: int, num_replicas: int
    ) -> list[list[Piece]]:
        """Return the rows that one rank trains at a step, in order.

        Args:
            step: optimizer step, from 0.
            experts: experts that the rank holds.
            replica: which of the ranks that hold them it is.
            num_replicas: how many those are.
        """
        share = self.rows_per_expert // num_replicas
        first = step * self.rows_per_expert + replica * share
        return [
            self._stream(expert).row(first + index) for expert in experts for index in range(share)
        ]

    @property
    def rows_per_stream(self) -> int:
        """Return how many rows a step takes from each stream."""
        return self.rows_per_expert

    def streams(self) -> list[ExpertStream]:
        """Return every stream, in the order in which a global batch takes rows from them."""
        return [self._stream(expert) for expert in range(self._num_experts)]

    def _stream(self, expert: int) -> ExpertStream:
        if expert not in self._streams:
            documents = np.flatnonzero(self._expert_of_document == expert)
            self._streams[expert] = ExpertStream(
                documents=documents,
                source_ids=self._corpus.source_ids[documents],
                doc_indices=self._corpus.doc_indices[documents],
                lengths=self._corpus.lengths[documents],
                context_length=self._context_length,
                seed=self._seed,
            )
        return self._streams[expert]

    def assemble(self, rows: Sequence[list[Piece]]) -> Microbatch:
        """Read the tokens of some rows; a piece becomes a segment, also beside its own document."""
        pieces = [piece for row in rows for piece in row]
        documents = np.array([piece.document for piece in pieces], dtype=np.int64)
        layout = SegmentLayout(
            lengths=tuple(piece.length for piece in pieces),
            source_ids=self._corpus.source_ids[documents],
            doc_indices=self._corpus.doc_indices[documents],
        )
        tokens = np.concatenate(
            [
                self._corpus.tokens(piece.document)[piece.start : piece.start + piece.length]
                for piece in pieces
            ]
        ).astype(np.int64)
        return Microbatch(
            tokens=tokens,
            targets=next_tokens(tokens, layout),
            layout=layout,
            starts=np.array([piece.start for piece in pieces], dtype=np.int64),
        )


def next_tokens(tokens: npt.NDArray[np.int64], layout: SegmentLayout) -> npt.NDArray[np.int64]:
    """Return each token's target inside its segment, 0 for the last one: (T,) int64."""
    targets = np.zeros_like(tokens)
    targets[:-1] = tokens[1:]
    targets[~layout.has_target] = 0
    return targets

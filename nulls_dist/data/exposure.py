"""Which tokens a run trained on at which steps, derived from the corpus and the order of its data.

Nothing is replayed row by row: a stream says where each epoch visits its documents, and whatever
lies between two steps is cut where rows end. An epoch that the steps reach costs one sort of the
stream's documents, whether one source is asked for or all, and a piece costs a few numbers. Stops
and changes of topology do not matter: the global batch of a step is the same for every world size.
A step that was skipped, since its loss or gradient was not finite, counts: its tokens were read,
though no weight changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from nulls_dist.data.stream import ExpertStream

IntArray = npt.NDArray[np.int64]


class RowStreams(Protocol):
    """A placement of data: each step takes equally many consecutive rows from every stream."""

    @property
    def rows_per_stream(self) -> int:
        """Rows that a step takes from each stream."""

    def streams(self) -> list[ExpertStream]:
        """Every stream, in the order in which a global batch takes rows from them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exposures:
    """Pieces of documents in the order in which they were trained on; all arrays (P,) int64."""

    steps: IntArray
    """Optimizer step, from 1, as in metrics.jsonl."""
    rows: IntArray
    """Row of the step's global batch, from 0."""
    epochs: IntArray
    """How often the stream had passed through all its documents before."""
    documents: IntArray
    """Number of the document in the corpus."""
    starts: IntArray
    """First token inside the document."""
    lengths: IntArray
    """Tokens."""


def derive_exposures(
    batches: RowStreams,
    *,
    first_step: int,
    last_step: int,
    first_data_step: int,
    documents: IntArray | None = None,
) -> Exposures:
    """Return what a run trained on in its steps (first_step, last_step].

    Args:
        batches: the run's global batches.
        first_step: steps taken before.
        last_step: last step.
        first_data_step: steps taken when the corpus's first rows were; at most `first_step`.
        documents: numbers of the documents to look for; all by default.
    """
    assert first_data_step <= first_step <= last_step
    per_step = batches.rows_per_stream
    begin, end = (first_step - first_data_step) * per_step, (last_step - first_data_step) * per_step
    found = [_NOTHING]
    for index, stream in enumerate(batches.streams()):
        if documents is None or np.isin(stream.documents, documents).any():
            pieces = _pieces_of_rows(stream, begin, end, documents)
            steps = pieces.rows // per_step + first_data_step + 1
            rows = pieces.rows % per_step + index * per_step
            found.append(replace(pieces, steps=steps, rows=rows))
    everything = _concatenate(found)
    order = np.lexsort((everything.rows, everything.steps))  # stable: pieces of a row stay in order
    return _take(everything, order)


def _pieces_of_rows(
    stream: ExpertStream, begin: int, end: int, documents: IntArray | None
) -> Exposures:
    """Return the pieces of a stream's rows [begin, end), with its row numbers for step and row."""
    width, length = stream.context_length, stream.tokens_per_epoch
    found = [_NOTHING]
    for epoch in range(begin * width // length, -(-end * width // length)):
        visits = stream.visits(epoch)
        first = np.maximum(visits.positions, begin * width)
        last = np.minimum(visits.positions + visits.lengths, end * width)
        is_wanted = first < last
        if documents is not None:
            is_wanted &= np.isin(visits.documents, documents)
        place, row, start, stop = _cut(first[is_wanted], last[is_wanted], width)
        found.append(
            Exposures(
                steps=row,
                rows=row,
                epochs=np.full_like(row, epoch),
                documents=visits.documents[is_wanted][place],
                starts=start - visits.positions[is_wanted][place],
                lengths=stop - start,
            )
        )
    return _concatenate(found)


def _cut(
    first: IntArray, last: IntArray, width: int
) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Cut spans [first, last) of positions wherever a row of `width` positions ends.

    Returns:
        Of each piece: which span it is of, its row, its first position and the one after its last.
    """
    first_row = first // width
    num_rows = (last - 1) // width - first_row + 1
    span = np.repeat(np.arange(len(first)), num_rows)
    place_in_span = np.arange(len(span)) - np.repeat(np.cumsum(num_rows) - num_rows, num_rows)
    row = first_row[span] + place_in_span
    return (
        span,
        row,
        np.maximum(first[span], row * width),
        np.minimum(last[span], (row + 1) * width),
    )


def _concatenate(parts: Sequence[Exposures]) -> Exposures:
    return Exposures(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
    )


def _take(exposures: Exposures, places: IntArray) -> Exposures:
    return Exposures(**{name: getattr(exposures, name)[places] for name in _COLUMNS})


_COLUMNS: Final = tuple(entry.name for entry in fields(Exposures))
_NOTHING: Final = Exposures(**{name: np.empty(0, dtype=np.int64) for name in _COLUMNS})

"""When a source was trained on: its steps, and how much of it in each epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.exposure import Exposures
from nulls_dist.unlearn.plan import open_sources
from nulls_dist.unlearn.replay import Replay
from nulls_dist.unlearn.resolutions import Resolution
from nulls_dist.unlearn.resolve import resolve_names


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochExposure:
    """What one epoch of the stream showed of a source."""

    epoch: int
    """Passes of the stream through all its documents before."""
    num_tokens: int
    num_exposures: int
    first_step: int
    last_step: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceTrace:
    """When a requested source was trained on."""

    name: str
    outcome: str
    detail: str
    source_id: int | None = None
    title: str = ""
    num_documents: int = 0
    """Documents in the corpus."""
    num_tokens: int = 0
    """Tokens in the corpus, which a whole epoch shows once."""
    num_tokens_seen: int = 0
    num_exposures: int = 0
    """Runs of tokens of one document in one row that were trained on."""
    steps: tuple[int, ...] = ()
    """Optimizer steps that saw the source, from 1, ascending."""
    epochs: tuple[EpochExposure, ...] = ()


def trace_sources(
    checkpoint: Checkpoint, replay: Replay, names: Sequence[str]
) -> list[SourceTrace]:
    """Trace sources over all steps that the checkpoint took on the corpus.

    Args:
        checkpoint: knows the sources by name.
        replay: its data.
        names: each as a line of sources.txt.

    Raises:
        IntegrityError: a file is damaged.
    """
    found = resolve_names(open_sources(checkpoint), names)
    return [_trace(replay, resolution) for resolution in found]


def _trace(replay: Replay, found: Resolution) -> SourceTrace:
    if found.source_id is None:
        return SourceTrace(name=found.request.text, outcome=found.outcome, detail=found.detail)
    corpus = replay.corpus
    documents = np.flatnonzero(corpus.source_ids == np.uint64(found.source_id))
    seen = replay.exposures(
        first_step=replay.first_data_step, last_step=replay.last_step, documents=documents
    )
    return SourceTrace(
        name=found.request.text,
        outcome=found.outcome,
        detail=found.detail,
        source_id=found.source_id,
        title=found.title,
        num_documents=len(documents),
        num_tokens=int(corpus.lengths[documents].sum()),
        num_tokens_seen=int(seen.lengths.sum()),
        num_exposures=len(seen.steps),
        steps=tuple(np.unique(seen.steps).tolist()),
        epochs=tuple(_epoch(seen, epoch) for epoch in np.unique(seen.epochs).tolist()),
    )


def _epoch(seen: Exposures, epoch: int) -> EpochExposure:
    here = seen.epochs == epoch
    return EpochExposure(
        epoch=epoch,
        num_tokens=int(seen.lengths[here].sum()),
        num_exposures=int(here.sum()),
        first_step=int(seen.steps[here].min()),
        last_step=int(seen.steps[here].max()),
    )

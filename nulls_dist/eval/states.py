"""Whose sinks serve a text: the states in which a model is asked."""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

import numpy as np

from nulls_dist import hashing
from nulls_dist.data.corpus import Corpus
from nulls_dist.errors import InputError
from nulls_dist.eval.nearest import nearest_sources
from nulls_dist.sources import NO_SOURCE


class State(StrEnum):
    """A way to choose the sinks that serve a source's text."""

    ON = "on"
    """The source's own sinks."""
    OFF = "off"
    """The backbone alone."""
    NEAREST = "nearest"
    """The sinks of the surviving source whose text is most alike."""
    PLACEBO = "placebo"
    """The sinks of an unrelated surviving source."""


def donors(
    state: State, corpus: Corpus | None, source_ids: Sequence[int], *, deleted: Collection[int]
) -> Mapping[int, int]:
    """Return whose sinks serve each source in a state.

    Args:
        state: the state.
        corpus: the text that decides who is nearest; on and off need none.
        source_ids: the sources asked about.
        deleted: sources that cannot serve.

    Raises:
        InputError: there is no corpus, it lacks the text of a source, or fewer than two of its
            sources survive, so that one may have no other to serve it.
    """
    if state is State.ON:
        return {source_id: source_id for source_id in source_ids}
    if state is State.OFF:
        return dict.fromkeys(source_ids, NO_SOURCE)
    if corpus is None:
        raise InputError(
            f"state {state}: the corpus is needed to find another source's sinks; name the one "
            "that the model was trained on, or ask for the states on and off"
        )
    everyone = {int(source_id) for source_id in np.unique(corpus.source_ids)}
    survivors = sorted(everyone - set(deleted))
    if len(survivors) < 2:
        raise InputError(
            f"state {state}: {len(survivors)} sources survive, but at least 2 are needed to find "
            "another one's sinks; ask for the states on and off"
        )
    if state is State.NEAREST:
        if absent := set(source_ids) - everyone:
            raise InputError(
                f"state {state}: source id:{min(absent)} has no text in {corpus.root}, so no "
                "other is near it; ask for the states off and placebo"
            )
        return nearest_sources(corpus, source_ids, survivors)
    return {source_id: unrelated_source(source_id, survivors) for source_id in source_ids}


def unrelated_source(source_id: int, survivors: Sequence[int]) -> int:
    """Draw another source by a hash of this one.

    Args:
        source_id: need not be among the survivors.
        survivors: ascending ids, at least two.
    """
    keys = hashing.key(
        np.array([source_id], dtype=np.uint64), seed=0, domain=hashing.Domain.PLACEBO
    )
    place = bisect_left(survivors, source_id)
    survives = place < len(survivors) and survivors[place] == source_id
    drawn = int(hashing.below(keys, len(survivors) - survives)[0])
    return survivors[drawn + (survives and drawn >= place)]

"""Which text an attacker fine-tunes on, and which deleted sources are asked about."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from nulls_dist import hashing
from nulls_dist.errors import InputError
from nulls_dist.eval.facts import Probe


class Text(StrEnum):
    """What the attacker has."""

    DELETED = "deleted"
    """The documents of all deleted sources: the positive control, which any model learns."""
    THIRD = "third"
    """Those of a third of the deleted sources; the others are asked about."""
    RELATED = "related"
    """Kept sources that state the same shared facts as deleted ones."""
    UNRELATED = "unrelated"
    """Kept sources that share no fact with a deleted one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackSources:
    """Sources of an attack, ascending ids."""

    trained: tuple[int, ...]
    """Whose documents are trained on."""
    asked: tuple[int, ...]
    """Deleted sources that the probes are about."""


def choose_sources(
    text: Text, probes: Sequence[Probe], deleted: Collection[int], *, seed: int
) -> AttackSources:
    """Choose the sources of an attack by a hash.

    Of kept sources there are as many as deleted ones, so that the attacks read about as much. The
    closest come first among the related: those that share the rarest fact with a deleted source.

    Args:
        text: what the attacker has.
        probes: facts of all sources; the shared ones say who is related to whom.
        deleted: ids of the deleted sources.
        seed: of the draw.

    Raises:
        InputError: no source is like that.
    """
    gone = sorted(set(deleted))
    drawn = _shuffled(gone, seed)
    trained, asked = drawn, drawn
    if text is Text.THIRD:
        count = len(drawn) // 3
        trained, asked = drawn[:count], drawn[count:]
    elif text in (Text.RELATED, Text.UNRELATED):
        closeness = _closeness(probes, set(gone))
        related = text is Text.RELATED
        kept = [source_id for source_id in closeness if (closeness[source_id] > 0) == related]
        closest_first = sorted(
            _shuffled(sorted(kept), seed), key=closeness.__getitem__, reverse=True
        )
        trained = closest_first[: len(gone)]
    if not trained:
        raise InputError(
            f"relearning on text of kind {str(text)!r}: no source is like that among "
            f"{len(gone)} deleted ones and the facts given; give all facts of a larger corpus"
        )
    return AttackSources(trained=tuple(sorted(trained)), asked=tuple(sorted(asked)))


def _closeness(probes: Sequence[Probe], deleted: set[int]) -> dict[int, float]:
    """Return of every kept source 1 / (sources that state the rarest fact shared with deleted)."""
    closeness = {probe.source_id: 0.0 for probe in probes if probe.source_id not in deleted}
    for probe in probes:
        is_near = probe.kind == "shared" and not deleted.isdisjoint(probe.member_ids)
        if is_near and probe.source_id in closeness:
            near = 1 / probe.multiplicity
            closeness[probe.source_id] = max(closeness[probe.source_id], near)
    return closeness


def _shuffled(source_ids: Sequence[int], seed: int) -> list[int]:
    ids = np.array(source_ids, dtype=np.uint64)
    keys = hashing.key(ids, seed=seed, domain=hashing.Domain.CHOICE)
    return [int(source_id) for source_id in ids[np.argsort(keys, kind="stable")]]

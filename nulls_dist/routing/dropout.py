"""Sink dropout: which documents train on the backbone alone at a step.

Without it the state "off" is out of distribution. The draw depends on the seed, the step and the
document, never on the topology, so resuming needs no random state.
"""

import numpy as np
import numpy.typing as npt

from nulls_dist import hashing
from nulls_dist.segments import SegmentLayout


def draw_dropped(
    layout: SegmentLayout, *, probability: float, seed: int, step: int
) -> npt.NDArray[np.bool_]:
    """Return which segments are dropped; all segments of a document fall together.

    Args:
        layout: S segments.
        probability: of a document, in [0, 1).
        seed: the run's seed.
        step: optimizer step, from 0.

    Returns:
        (S,) bool.
    """
    keys = hashing.key(layout.source_ids, seed=seed, domain=hashing.Domain.DROPOUT, layer=step)
    counters = layout.doc_indices.astype(np.uint64) + np.uint64(1)
    return hashing.unit_interval(hashing.draw(keys, counters)) < probability

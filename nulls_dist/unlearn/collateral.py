"""What a deletion takes from the sources that stay.

The collateral of a deletion is the mean over surviving sources of the share of their (layer, sink)
slots that the deletion zeroes. Only sinks that it newly zeroes count; what earlier deletions took
is in the share of the pool that is gone.

Dimensions: S sources, L layers, K active sinks, E experts, N sinks of one expert.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from nulls_dist import hashing
from nulls_dist.hashing import U64Array
from nulls_dist.routing.router import Router
from nulls_dist.routing.sink_sets import (
    SinkMask,
    count_sinks,
    count_slots,
    cut_into_blocks,
    slots_of,
    with_spare_column,
)

MAX_EXACT: Final = 100_000
"""Survivors beyond this number are sampled, unless all are asked for."""

_SAMPLE_SEED: Final = 0
_FINGERPRINT_SEED: Final = 0
_NUM_WORST: Final = 10
_NUM_RANGES: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Collateral:
    """Shares are of the slots of a surviving source, in [0, 1]."""

    mean: float
    standard_error: float
    """Of the mean; 0 where every survivor was measured."""
    p99: float
    max: float
    """Over the measured survivors and those that share a deleted source's mask."""
    num_survivors: int
    num_measured: int
    worst: tuple[tuple[int, float], ...]
    """(source id, share) of those that lose most, worst first."""
    num_twins: int
    """Measured survivors whose sinks are, in every layer, exactly those of a deleted source."""
    histogram: tuple[tuple[float, int], ...]
    """(upper end, measured survivors) of equal ranges of shares above 0, then up to the maximum."""
    num_untouched: int
    """Measured survivors that lose nothing."""
    num_same_mask: int
    """Survivors, measured or not, to which the router gives the very mask of a deleted source. They
    lose all of it. Only routers of released weights share masks."""
    pool_zeroed: float
    """Share of all sinks that this deletion newly zeroes."""
    pool_gone: float
    """Share of all sinks that are zero afterwards, earlier deletions included."""


def measure_collateral(
    router: Router,
    *,
    survivors: U64Array,
    deleted: U64Array,
    zeroed: SinkMask,
    gone: SinkMask,
    exact: bool = False,
) -> Collateral:
    """Measure a deletion.

    Args:
        router: without tombstones.
        survivors: (S,) uint64 sources that stay.
        deleted: (D,) uint64 sources that go.
        zeroed: sinks that the deletion zeroes.
        gone: sinks that are zero already.
        exact: measure every survivor, however many there are.
    """
    newly = zeroed & ~gone
    same_mask = np.isin(router.mask_ids(survivors), router.mask_ids(deleted))
    measured = survivors if exact else _sample(survivors)
    shares, is_twin = _measure(router, measured, deleted, newly)
    others = np.setdiff1d(survivors[same_mask], measured)
    known = np.concatenate([measured, others])
    losses = np.concatenate([shares, _measure(router, others, deleted, newly)[0]])
    if not len(shares):
        shares = losses = np.zeros(1)  # with nobody left, nobody loses anything
    worst = np.argsort(-losses, kind="stable")[:_NUM_WORST]
    left_out = (len(survivors) - len(measured)) / max(len(survivors), 1)
    return Collateral(
        mean=float(shares.mean()),
        standard_error=float(shares.std() * np.sqrt(left_out / len(shares))),
        p99=float(np.quantile(shares, 0.99, method="higher")),
        max=float(losses.max()),
        num_survivors=len(survivors),
        num_measured=len(measured),
        worst=tuple((int(known[row]), float(losses[row])) for row in worst if losses[row] > 0),
        num_twins=int(is_twin.sum()),
        histogram=_count_by_share(shares[shares > 0]),
        num_untouched=int((shares == 0).sum()) if len(survivors) else 0,
        num_same_mask=int(same_mask.sum()),
        pool_zeroed=float(newly.mean()),
        pool_gone=float((zeroed | gone).mean()),
    )


def _count_by_share(shares: npt.NDArray[np.float64]) -> tuple[tuple[float, int], ...]:
    if not len(shares):
        return ()
    counts, ends = np.histogram(shares, bins=_NUM_RANGES, range=(0, float(shares.max())))
    return tuple((float(end), int(count)) for end, count in zip(ends[1:], counts, strict=True))


def _measure(
    router: Router, source_ids: U64Array, deleted: U64Array, newly: SinkMask
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the share that each source loses, and whether it is a deleted one's twin."""
    marks = _fingerprints(router, deleted)
    shares = np.zeros(len(source_ids))
    is_twin = np.zeros(len(source_ids), dtype=np.bool_)
    touched = np.isin(router.experts_of(source_ids), router.experts_of(deleted))
    places = np.flatnonzero(touched)
    lost = with_spare_column(newly)
    begin = 0
    blocks = cut_into_blocks(router, source_ids[places])
    is_short = len(source_ids) <= MAX_EXACT
    for ids in tqdm(blocks, desc="survivors", unit="block", disable=is_short or None):
        block = places[begin : begin + len(ids)]
        slots = slots_of(router, ids)
        shares[block] = count_slots(slots, lost) / np.maximum(1, count_sinks(slots))
        is_twin[block] = np.isin(_fingerprints(router, ids), marks)
        begin += len(ids)
    return shares, is_twin


def _sample(survivors: U64Array) -> U64Array:
    if len(survivors) <= MAX_EXACT:
        return survivors
    draws = np.random.default_rng(_SAMPLE_SEED)
    return survivors[np.sort(draws.choice(len(survivors), MAX_EXACT, replace=False))]


def _fingerprints(router: Router, source_ids: U64Array) -> U64Array:
    """Return 64 bits per source that are equal where expert and all sinks are equal: (S,)."""
    num_layers = router.spec.num_layers if router.spec.per_layer else 1
    streams = hashing.key(np.arange(num_layers, dtype=np.uint64), seed=_FINGERPRINT_SEED, domain=0)
    marks = np.zeros(len(source_ids), dtype=np.uint64)
    begin = 0
    for ids in cut_into_blocks(router, source_ids):
        experts = router.experts_of(ids).astype(np.uint64) + np.uint64(1)
        sinks = router.active_sinks(ids)[:num_layers].astype(np.uint64) + np.uint64(1)
        factors = hashing.draw(streams[:, None], np.arange(sinks.shape[2], dtype=np.uint64))
        sums = (sinks * factors[:, None, :]).sum(axis=(0, 2))  # NO_SINK + 1 is 0: adds nothing
        marks[begin : begin + len(ids)] = hashing.mix(sums) + experts
        begin += len(ids)
    return marks

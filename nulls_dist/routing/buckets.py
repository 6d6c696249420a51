"""The bucket table: which expert owns which bucket, balanced by tokens, then frozen.

Longest-processing-time-first, then swaps between the fullest and the emptiest expert. The table is
computed once when a run is created and travels in every checkpoint.
"""

import heapq
from typing import Final

import numpy as np
import numpy.typing as npt

from nulls_dist.errors import InputError

_MAX_SWAPS: Final = 20_000


def balance_buckets(
    tokens_per_bucket: npt.NDArray[np.int64], num_experts: int
) -> npt.NDArray[np.uint16]:
    """Deal buckets to experts so that every expert holds nearly the same number of tokens.

    Args:
        tokens_per_bucket: (NUM_BUCKETS,) int64.
        num_experts: E.

    Returns:
        (NUM_BUCKETS,) uint16 expert of each bucket.

    Raises:
        InputError: an expert would have no token at all.
    """
    owners = np.zeros(len(tokens_per_bucket), dtype=np.int64)
    heap = [(0, expert) for expert in range(num_experts)]
    for bucket in np.argsort(-tokens_per_bucket, kind="stable"):
        load, expert = heapq.heappop(heap)
        owners[bucket] = expert
        heapq.heappush(heap, (load + int(tokens_per_bucket[bucket]), expert))
    loads = np.zeros(num_experts, dtype=np.int64)
    np.add.at(loads, owners, tokens_per_bucket)
    for _ in range(_MAX_SWAPS):
        if not _swap_once(owners, loads, tokens_per_bucket):
            break
    if int(loads.min()) == 0:
        raise InputError(
            f"the corpus is too small for {num_experts} sink experts: at least one would own no "
            "source; use a preset with fewer experts or a larger corpus"
        )
    return owners.astype(np.uint16)


def _swap_once(
    owners: npt.NDArray[np.int64], loads: npt.NDArray[np.int64], tokens: npt.NDArray[np.int64]
) -> bool:
    """Swap the best pair between the fullest and the emptiest expert; say if that helped."""
    full, empty = int(loads.argmax()), int(loads.argmin())
    gap = int(loads[full] - loads[empty])
    giving, taking = np.flatnonzero(owners == full), np.flatnonzero(owners == empty)
    if gap < 2 or not len(giving) or not len(taking):
        return False
    gains = tokens[giving][:, None] - tokens[taking][None]
    best = np.unravel_index(np.abs(gains - gap / 2).argmin(), gains.shape)
    gain = int(gains[best])
    if not 0 < gain < gap:
        return False
    owners[giving[best[0]]], owners[taking[best[1]]] = empty, full
    loads[full] -= gain
    loads[empty] += gain
    return True

"""The released sequence-tied sink mask, bit for bit: for others' weights only, never for training.

With int32 ids the product wraps, so only the low 16 bits of an id matter: 6.4 million articles
share 65,536 masks, and an id that is a multiple of 65,536 activates every sink.

Source: released code of NULLs (arXiv 2606.13873) and MemSinks; float32 comparison as there.
"""

from functools import lru_cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from nulls_dist.hashing import MASK64, U64Array

IdType = Literal["int32", "int64"]
"""Integer type that ids are multiplied in; int32 wraps."""

SHARED_BITS: Final = 16
"""Low bits of an id that decide an int32 mask."""

_MODULUS: Final = 4_294_967_291
_GENERATOR: Final = 1_588_635_695


@lru_cache(maxsize=4)
def _powers(num_sinks: int) -> npt.NDArray[np.int64]:
    """Return the factor of each sink: a power that wraps in 64 bits, then the remainder."""
    powers = np.empty(num_sinks, dtype=np.int64)
    power = 1
    for index in range(num_sinks):
        signed = power - (1 << 64) if power >> 63 else power
        powers[index] = signed % _MODULUS
        power = power * _GENERATOR & MASK64
    return powers


def reference_masks(
    seq_ids: U64Array, num_sinks: int, p_active: float, id_dtype: IdType = "int32"
) -> npt.NDArray[np.bool_]:
    """Return the released masks of some sequence ids.

    Args:
        seq_ids: (S,) uint64, each the index of an article plus the vocabulary size.
        num_sinks: size of the pool.
        p_active: Bernoulli probability of a sink.
        id_dtype: integer type the id is multiplied in; int32 wraps.

    Returns:
        (S, num_sinks) bool, true for active sinks; their number varies.
    """
    shifted = seq_ids << np.uint64(16)
    if id_dtype == "int32":
        products = shifted.astype(np.uint32).view(np.int32).astype(np.int64)
    else:
        products = shifted.view(np.int64)
    with np.errstate(over="ignore"):
        remainders = products[:, None] * _powers(num_sinks)
    np.remainder(remainders, np.int64(_MODULUS), out=remainders)
    uniform = remainders.astype(np.float32) / np.float32(_MODULUS)
    return uniform < np.float32(p_active)


def reference_active_sinks(
    seq_id: int, num_sinks: int, p_active: float, id_dtype: IdType = "int32"
) -> list[int]:
    """Return the sinks that the released mask activates for a sequence id.

    Args:
        seq_id: index of the article plus the vocabulary size.
        num_sinks: size of the pool.
        p_active: Bernoulli probability of a sink.
        id_dtype: integer type the id is multiplied in; int32 wraps.

    Returns:
        Sorted indices; their number varies.
    """
    seq_ids = np.array([seq_id & MASK64], dtype=np.uint64)
    (mask,) = reference_masks(seq_ids, num_sinks, p_active, id_dtype)
    return [int(index) for index in np.flatnonzero(mask)]

"""The released sequence-tied sink mask, bit for bit: for others' weights only, never for training.

With int32 ids the product wraps, so only the low 16 bits of an id matter: 6.4 million articles
share 65,536 masks, and an id that is a multiple of 65,536 activates every sink.

Source: released code of NULLs (arXiv 2606.13873) and MemSinks; float32 comparison as there.
"""

from typing import Final, Literal

import numpy as np

from nulls_dist.hashing import MASK64

_MODULUS: Final = 4_294_967_291
_GENERATOR: Final = 1_588_635_695
_WRAP: Final = {"int32": 32, "int64": 64}


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def reference_active_sinks(
    seq_id: int, num_sinks: int, p_active: float, id_dtype: Literal["int32", "int64"] = "int32"
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
    product = _signed(seq_id << 16, _WRAP[id_dtype])
    powers = np.empty(num_sinks, dtype=np.int64)
    power = 1
    for index in range(num_sinks):
        powers[index] = _signed(power, 64) % _MODULUS
        power = power * _GENERATOR & MASK64
    with np.errstate(over="ignore"):
        remainders = np.remainder(np.int64(product) * powers, np.int64(_MODULUS))
    uniform = remainders.astype(np.float32) / np.float32(_MODULUS)
    return [int(index) for index in np.flatnonzero(uniform < np.float32(p_active))]

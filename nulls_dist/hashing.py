"""The counter-based hash that every deterministic choice is drawn from (numpy twin).

All arithmetic is modulo 2^64. `mix` is the finaliser of splitmix64 (Steele, Lea, Flood 2014,
"Fast splittable pseudorandom number generators"). `hashing_torch` holds the same functions on
tensors; golden vectors keep the two equal for ever.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

U64Array = npt.NDArray[np.uint64]

MASK64: Final = (1 << 64) - 1
GOLDEN_GAMMA: Final = 0x9E3779B97F4A7C15
MIX_FIRST: Final = 0xBF58476D1CE4E5B9
MIX_SECOND: Final = 0x94D049BB133111EB
SEED_OFFSET: Final = 0x632BE59BD9B4E019
LAYER_STRIDE: Final = 0xD1B54A32D192ED03
DOMAIN_STRIDE: Final = 0x8CB92BA72F3D8DD7


class Domain(IntEnum):
    """What a key is for; keys of two purposes are independent. Values are never reused."""

    NEURONS = 0
    """Sinks of a source; part of the router."""
    BUCKET = 1
    """Bucket of a source; part of the router."""
    ORDER = 2
    """Order of the documents of an epoch."""
    DROPOUT = 3
    """Documents that train on the backbone alone."""
    PLACEBO = 4
    """Unrelated source whose sinks serve a text."""
    CHOICE = 5
    """Sources that an experiment deletes."""


def mix(values: U64Array) -> U64Array:
    """Scramble each 64-bit value, bijectively.

    Args:
        values: any shape, uint64.

    Returns:
        The same shape, uint64.
    """
    with np.errstate(over="ignore"):
        mixed = values >> np.uint64(30)  # in place from here on: the loader's time goes here
        mixed ^= values
        mixed *= np.uint64(MIX_FIRST)
        mixed ^= mixed >> np.uint64(27)
        mixed *= np.uint64(MIX_SECOND)
        mixed ^= mixed >> np.uint64(31)
        return mixed


def key(source_ids: U64Array, *, seed: int, domain: int, layer: int = 0) -> U64Array:
    """Derive one independent 64-bit key per source for a purpose (`domain`) and a layer.

    Args:
        source_ids: any shape, uint64.
        seed: router seed of the corpus, any integer (taken modulo 2^64).
        domain: purpose of the key, a `Domain`.
        layer: layer number, from 0.

    Returns:
        The same shape, uint64.
    """
    (keys,) = layer_keys(source_ids, seed=seed, domain=domain, layers=(layer,))
    return keys


def layer_keys(
    source_ids: U64Array, *, seed: int, domain: int, layers: Iterable[int]
) -> list[U64Array]:
    """Derive the keys of several layers; what they have in common is computed once."""
    salt = np.uint64((seed * GOLDEN_GAMMA + SEED_OFFSET) & MASK64)
    with np.errstate(over="ignore"):
        shared = mix(mix(source_ids + np.uint64(GOLDEN_GAMMA)) ^ salt)
        return [
            mix(shared + np.uint64(((layer + 1) * LAYER_STRIDE + domain * DOMAIN_STRIDE) & MASK64))
            for layer in layers
        ]


def below(hashes: U64Array, bound: int) -> npt.NDArray[np.int64]:
    """Map each hash to a uniform integer in [0, bound) by its upper 32 bits.

    Args:
        hashes: any shape, uint64.
        bound: below 2^31.
    """
    scaled = hashes >> np.uint64(32)
    scaled *= np.uint64(bound)
    scaled >>= np.uint64(32)
    return scaled.view(np.int64)


def draw(keys: U64Array, counters: U64Array) -> U64Array:
    """Return the hash numbered `counter` of the stream that starts at `key` (broadcasting)."""
    with np.errstate(over="ignore"):
        return mix(keys + counters * np.uint64(GOLDEN_GAMMA))


def unit_interval(hashes: U64Array) -> npt.NDArray[np.float64]:
    """Map each hash to [0, 1) by its upper 53 bits, exactly."""
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53

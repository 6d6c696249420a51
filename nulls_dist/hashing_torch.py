"""The hash of `hashing` on int64 tensors that carry uint64 bit patterns, on any device.

torch has no uint64 addition or shift, so every constant is folded into the signed range and the
right shift is made logical by a mask.
"""

import torch
from torch import Tensor

from nulls_dist import hashing


def signed(value: int) -> int:
    """Return the int64 that has the bits of `value` modulo 2^64."""
    value &= hashing.MASK64
    return value - (1 << 64) if value >> 63 else value


def _shift_right(values: Tensor, bits: int) -> Tensor:
    return (values >> bits) & ((1 << (64 - bits)) - 1)


def mix(values: Tensor) -> Tensor:
    """Scramble each 64-bit pattern. Args: values of any shape, int64."""
    values = (values ^ _shift_right(values, 30)) * signed(hashing.MIX_FIRST)
    values = (values ^ _shift_right(values, 27)) * signed(hashing.MIX_SECOND)
    return values ^ _shift_right(values, 31)


def key(source_ids: Tensor, *, seed: int, domain: int, layer: int = 0) -> Tensor:
    """Derive one key per source; twin of `hashing.key`. Args: source_ids of any shape, int64."""
    salt = signed(seed * hashing.GOLDEN_GAMMA + hashing.SEED_OFFSET)
    place = signed((layer + 1) * hashing.LAYER_STRIDE + domain * hashing.DOMAIN_STRIDE)
    return mix(mix(mix(source_ids + signed(hashing.GOLDEN_GAMMA)) ^ salt) + place)


def below(hashes: Tensor, bound: int) -> Tensor:
    """Map each hash to [0, bound), bound below 2^31; twin of `hashing.below`."""
    return (_shift_right(hashes, 32) * bound) >> 32


def draw(keys: Tensor, counters: Tensor) -> Tensor:
    """Return hash number `counter` of each key's stream; twin of `hashing.draw`."""
    return mix(keys + counters * signed(hashing.GOLDEN_GAMMA))


def lane_sums(hashes: Tensor) -> Tensor:
    """Add the four 16-bit lanes of each hash: an integer in [0, 4 * 65535], int64."""
    lanes = [(hashes >> shift) & 0xFFFF for shift in (0, 16, 32, 48)]
    return torch.stack(lanes).sum(0)

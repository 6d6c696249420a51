"""Weights rounded to few bits, and back: what quantised inference computes with.

Every block of weights is divided by its largest magnitude, each quotient is rounded to one of a few
levels, and multiplied again. All levels are symmetric around 0 or contain it: a zero stays one.
"""

from collections.abc import Callable
from typing import Final

import torch
from scipy.stats import norm
from torch import Tensor
from torch.nn import functional

NF4_BLOCK: Final = 64
"""Weights per scale, as in bitsandbytes."""

_NF4_OFFSET: Final = 0.9677083
"""Probability whose quantile becomes 1 (bitsandbytes, create_normal_map)."""


def round_to_integers(weights: Tensor, *, bits: int, group: int | None = None) -> Tensor:
    """Round to integers from -(2^(bits-1) - 1) to 2^(bits-1) - 1 times a scale per group.

    Args:
        weights: (rows, columns) float.
        bits: 8 or 4, say.
        group: columns that share a scale; None: a whole row. The last group may be smaller.

    Returns:
        scale * round(w / scale * q) / q, with q the largest integer and scale the largest
        magnitude of the group; halves are rounded to even.

    Source: LLM.int8(), arXiv 2208.07339, section 2 (absmax, row by row); GPTQ, arXiv 2210.17323,
    for groups.
    """
    largest = 2 ** (bits - 1) - 1
    width = weights.shape[-1]
    return _by_block(
        weights, group or width, lambda shares: torch.round(shares * largest) / largest
    )


def round_to_nf4(weights: Tensor, *, block: int = NF4_BLOCK) -> Tensor:
    """Round to the 16 levels of 4-bit NormalFloat times a scale per block.

    The scales stay as they are: QLoRA may quantise them a second time.

    Args:
        weights: any shape, float; blocks run over the flattened values.
        block: values that share a scale.

    Source: QLoRA, arXiv 2305.14314, section 3 and appendix E.
    """
    levels = nf4_levels().to(weights.device, weights.dtype)
    borders = (levels[1:] + levels[:-1]) / 2
    flat = _by_block(
        weights.flatten(), block, lambda shares: levels[torch.bucketize(shares, borders)]
    )
    return flat.view_as(weights)


def nf4_levels() -> Tensor:
    """Return the 16 levels, ascending from -1 to 1: quantiles of a normal distribution, and 0.

    Source: bitsandbytes, create_normal_map: 8 levels above 0, 7 below.
    """
    above = norm.ppf(torch.linspace(_NF4_OFFSET, 0.5, 9, dtype=torch.float64)[:-1].numpy())
    below = -norm.ppf(torch.linspace(_NF4_OFFSET, 0.5, 8, dtype=torch.float64)[:-1].numpy())
    levels = torch.tensor(sorted([*above, 0.0, *below]), dtype=torch.float64)
    return (levels / levels.max()).float()


def _by_block(weights: Tensor, size: int, rounded: Callable[[Tensor], Tensor]) -> Tensor:
    """Round the shares of the largest magnitude of each run of `size` values of the last axis."""
    width = weights.shape[-1]
    padded = functional.pad(weights, (0, -width % size))
    blocks = padded.reshape(*padded.shape[:-1], -1, size)
    scale = blocks.abs().amax(-1, keepdim=True)
    shares = blocks / torch.where(scale > 0, scale, 1)
    return (rounded(shares) * scale).reshape(padded.shape)[..., :width]

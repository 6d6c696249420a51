"""Corruptions of token embeddings, by a strength.

Source: ECO prompts (arXiv 2406.07933), verified in code: llm-unlearn-eco (commit 9b0ba1a),
eco/attack/corrupt.py, of which these are the families rand_noise, zero_out and flip_sign. Left out:
adding fixed values, reversing and shuffling.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final

import torch
from torch import Tensor


class Dims(StrEnum):
    """Which features of a token change."""

    FIRST = "first"
    LARGEST = "largest"
    """Of largest magnitude, token by token (top_k there)."""
    RANDOM = "random"
    """Token by token; how they are drawn there was not compared."""


@dataclass(frozen=True, kw_only=True)
class Corruption(ABC):
    """A way to corrupt embeddings."""

    name: ClassVar[str]

    dims: Dims

    @abstractmethod
    def __call__(self, embeddings: Tensor, strength: float, draws: torch.Generator) -> Tensor:
        """Return other embeddings, (n, D) -> (n, D), of the same type and device.

        Args:
            embeddings: of n tokens; left as they are.
            strength: at least 0, where nothing changes.
            draws: on the CPU.
        """

    def describe(self) -> dict[str, Any]:
        """Return name and settings."""
        return {"name": self.name, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class Noise(Corruption):
    """Add Gaussian noise; the strength is its standard deviation."""

    name: ClassVar[str] = "noise"

    dims: Dims = Dims.FIRST
    num_dims: int | None = None
    """How many features of each token; None for all. Published: 1, or all."""

    def __call__(self, embeddings: Tensor, strength: float, draws: torch.Generator) -> Tensor:
        """Return e + sigma z, z standard normal on the chosen features and 0 elsewhere."""
        count = embeddings.size(1) if self.num_dims is None else self.num_dims
        noise = torch.randn(embeddings.shape, generator=draws) * strength
        return embeddings + noise.to(embeddings) * _chosen(embeddings, count, self.dims, draws)


@dataclass(frozen=True, kw_only=True)
class ZeroOut(Corruption):
    """Set features to zero; the strength is how many of each token, rounded."""

    name: ClassVar[str] = "zero out"

    dims: Dims = Dims.LARGEST

    def __call__(self, embeddings: Tensor, strength: float, draws: torch.Generator) -> Tensor:
        """Return e with zeros at the chosen features."""
        return embeddings.masked_fill(_chosen(embeddings, strength, self.dims, draws), 0)


@dataclass(frozen=True, kw_only=True)
class FlipSign(Corruption):
    """Turn signs around; the strength is of how many features of each token, rounded."""

    name: ClassVar[str] = "flip sign"

    dims: Dims = Dims.FIRST

    def __call__(self, embeddings: Tensor, strength: float, draws: torch.Generator) -> Tensor:
        """Return e with -e at the chosen features."""
        chosen = _chosen(embeddings, strength, self.dims, draws)
        return torch.where(chosen, -embeddings, embeddings)


CORRUPTIONS: Final[Mapping[str, type[Corruption]]] = {
    kind.name: kind for kind in (Noise, ZeroOut, FlipSign)
}


def _chosen(embeddings: Tensor, count: float, dims: Dims, draws: torch.Generator) -> Tensor:
    """Return which features change, (n, D) bool: `count` of each token, at most all."""
    num_tokens, width = embeddings.shape
    match dims:
        case Dims.FIRST:
            ranks = -torch.arange(width).expand(num_tokens, width)
        case Dims.LARGEST:
            ranks = embeddings.abs()
        case Dims.RANDOM:
            ranks = torch.rand(num_tokens, width, generator=draws)
    places = ranks.to(embeddings.device).topk(min(round(count), width), dim=1).indices
    return torch.zeros_like(embeddings, dtype=torch.bool).scatter(1, places, True)

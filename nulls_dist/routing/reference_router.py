"""The router of the released NULLs weights: one pool, one Bernoulli mask for all layers.

A source's id is the index of its article plus the size of the vocabulary. How many sinks it has
varies from source to source, so rows of sinks are padded with `NO_SINK`.
"""

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Final, get_args

import numpy as np
import numpy.typing as npt

from nulls_dist.config.schema import KERNEL_MULTIPLE
from nulls_dist.errors import ConfigError
from nulls_dist.hashing import U64Array
from nulls_dist.routing.reference import SHARED_BITS, IdType, reference_masks
from nulls_dist.routing.router import NO_SINK, Router, RouterSpec

_USUAL_DEVIATIONS: Final = 4.0


def usual_width(num_sinks: int, p_active: float) -> int:
    """Return a padded number of active sinks that hardly any mask exceeds.

    Four standard deviations above the mean, as a multiple of `KERNEL_MULTIPLE`: 144 for the
    released pool, whose masks have 59 to 140 sinks.
    """
    mean = num_sinks * p_active
    usual = min(num_sinks, mean + _USUAL_DEVIATIONS * sqrt(mean * (1 - p_active)))
    return KERNEL_MULTIPLE * ceil(usual / KERNEL_MULTIPLE)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceSpec(RouterSpec):
    """Everything that decides a source's sinks in a released model.

    `num_active` is the padded width of most masks; a source with more sinks widens what it is in.
    """

    id_dtype: IdType
    p_active: float
    """Probability of a sink (p_mem of the release)."""
    p_backbone: float
    """Share of an MLP's neurons that the release calls backbone (p_gen)."""

    def _check(self) -> None:
        if self.id_dtype not in get_args(IdType):
            raise ConfigError(f"id_dtype ({self.id_dtype!r}) must be one of {get_args(IdType)}")
        for name in ("p_active", "p_backbone"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise ConfigError(f"{name} ({value}) must be a share between 0 and 1")
        if self.num_experts != 1 or self.per_layer:
            raise ConfigError(
                f"a released model has one pool and one mask for all layers, not num_experts "
                f"{self.num_experts} and per_layer {self.per_layer}"
            )

    @property
    def kind(self) -> str:
        """Name of the kind of router."""
        return f"reference_{self.id_dtype}"

    @property
    def off_gain(self) -> float:
        """What the authors multiply the backbone by when they ask it without sinks."""
        return (self.p_backbone + self.p_active) / self.p_backbone


class ReferenceRouter(Router):
    """Looks up the sinks of a released model; refuses sources that were deleted."""

    spec: ReferenceSpec

    def mask_ids(self, source_ids: U64Array) -> U64Array:
        """Return what the sinks of each source depend on: with int32, 16 bits of its id."""
        if self.spec.id_dtype == "int64":
            return source_ids
        return source_ids & np.uint64((1 << SHARED_BITS) - 1)

    def active_sinks(self, source_ids: U64Array) -> npt.NDArray[np.int64]:
        """Return the active sinks of each source.

        Args:
            source_ids: (S,) uint64.

        Returns:
            (L, S, K) int64, ascending along K, then `NO_SINK`; K is a multiple of
            `KERNEL_MULTIPLE`, at least `num_active` and as large as the widest mask needs.

        Raises:
            RefusedError: one of the sources has a tombstone.
        """
        self.check_routable(source_ids)
        sinks = self.sinks_of_layer(source_ids, 0)
        return np.broadcast_to(sinks, (self.spec.num_layers, *sinks.shape))

    def sinks_of_layer(self, source_ids: U64Array, layer: int) -> npt.NDArray[np.int64]:
        """Return the sinks of any layer, whether or not a source was deleted: (S, K) int64."""
        spec = self.spec
        masks = reference_masks(source_ids, spec.num_sinks, spec.p_active, spec.id_dtype)
        counts = masks.sum(axis=1)
        widest = int(counts.max(initial=spec.num_active))
        sinks = np.full(
            (len(masks), KERNEL_MULTIPLE * ceil(widest / KERNEL_MULTIPLE)), NO_SINK, np.int64
        )
        rows, chosen = np.nonzero(masks)
        first = np.cumsum(counts) - counts
        sinks[rows, np.arange(len(rows)) - first[rows]] = chosen
        return sinks

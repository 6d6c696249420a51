"""Source -> expert -> sinks, without parameters and, below the expert, without tables.

A few sources may own sinks alone instead of hashing them: `routing.private` says how.

Dimensions: S sources, L layers, K active sinks, E experts, N sinks of one expert.

1. bucket = hash of the source, one of NUM_BUCKETS;
2. expert = the frozen bucket table's entry, the same in every layer;
3. the expert's N sinks are cut into K strata of N / K; one hash per stratum picks one sink in it:
   exactly K sinks, distinct, sorted, uniform.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nulls_dist import hashing
from nulls_dist.errors import ConfigError, IntegrityError, RefusedError
from nulls_dist.hashing import Domain, U64Array
from nulls_dist.routing.private import lay_out_blocks

ROUTER_VERSION: Final = 1
"""Changes only with the hash's definition; a silent change would delete the wrong sinks."""
NUM_BUCKETS: Final = 4096
NO_SINK: Final = -1
"""Fills the rows of sources that have fewer sinks than others, where a router gives such."""


def buckets_of(source_ids: U64Array, *, router_seed: int) -> npt.NDArray[np.int64]:
    """Return the bucket of each source.

    Args:
        source_ids: (S,) uint64.
        router_seed: seed of the corpus's router.

    Returns:
        (S,) int64 in [0, NUM_BUCKETS).
    """
    keys = hashing.key(source_ids, seed=router_seed, domain=Domain.BUCKET)
    return hashing.below(keys, NUM_BUCKETS)


@dataclass(frozen=True, kw_only=True, slots=True)
class RouterSpec:
    """What decides a source's sinks, apart from the bucket table and the private sources."""

    seed: int
    """Router seed; belongs to the corpus, never to a run."""
    num_layers: int
    """Layers that have sinks, counted from 0 whatever layers lie below them."""
    num_experts: int
    num_sinks: int
    """Sinks per expert and layer."""
    num_active: int
    """Sinks per source and layer; divides `num_sinks`. Both are 0 where sources have no sinks."""
    per_layer: bool = True
    """Whether a source has other sinks in every layer; off is the paper's setting."""
    version: int = ROUTER_VERSION

    def __post_init__(self) -> None:
        if self.version != ROUTER_VERSION:
            raise IntegrityError(
                f"router version {self.version} is not {ROUTER_VERSION}, the one implemented here; "
                "use the nulls-dist release that wrote it"
            )
        self._check()

    def _check(self) -> None:
        has_sinks = self.num_active != 0 or self.num_sinks != 0
        if has_sinks and (self.num_active < 1 or self.num_sinks % self.num_active):
            raise ConfigError(
                f"active sinks ({self.num_active}) must divide sinks per expert "
                f"({self.num_sinks}); choose a multiple"
            )

    @property
    def kind(self) -> str:
        """Name of the kind of router, as `model.router` says it."""
        return "stratified"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return asdict(self)


class Router:
    """Looks up experts and sinks; refuses sources that were deleted.

    Attributes:
        spec: the sizes.
        bucket_table: (NUM_BUCKETS,) expert of each bucket.
        private: which sinks are whose alone.
    """

    def __init__(
        self,
        spec: RouterSpec,
        bucket_table: npt.NDArray[np.uint16],
        tombstones: Collection[int] = (),
        private_sources: Collection[int] = (),
    ) -> None:
        """Lay out the pool.

        Raises:
            ConfigError: there are more private sources than the pool has room for.
        """
        assert bucket_table.shape == (NUM_BUCKETS,), "one expert per bucket"
        assert int(bucket_table.max()) < spec.num_experts, "the table names existing experts"
        self.spec = spec
        self.bucket_table = bucket_table
        self._tombstones = np.array(sorted(tombstones), dtype=np.uint64)
        private_ids = np.array(sorted(private_sources), dtype=np.uint64)
        self.private = lay_out_blocks(
            private_ids,
            self.experts_of(private_ids),
            num_experts=spec.num_experts,
            num_sinks=spec.num_sinks,
            num_active=spec.num_active,
        )

    def is_deleted(self, source_ids: U64Array) -> npt.NDArray[np.bool_]:
        """Say which sources have a tombstone: (S,) uint64 -> (S,) bool."""
        return np.isin(source_ids, self._tombstones)

    def check_routable(self, source_ids: U64Array) -> None:
        """Refuse deleted sources.

        Raises:
            RefusedError: one of the sources has a tombstone.
        """
        deleted = source_ids[self.is_deleted(source_ids)]
        if len(deleted):
            raise RefusedError(
                f"source id {int(deleted[0])} was deleted from this model (tombstone) and is never "
                "routed again; leave its documents out"
            )

    def experts_of(self, source_ids: U64Array) -> npt.NDArray[np.int64]:
        """Return the expert that serves each source: (S,) uint64 -> (S,) int64."""
        buckets = buckets_of(source_ids, router_seed=self.spec.seed)
        return self.bucket_table[buckets].astype(np.int64)

    def mask_ids(self, source_ids: U64Array) -> U64Array:
        """Return what the sinks of each source depend on: sources equal in it have equal sinks.

        Args:
            source_ids: (S,) uint64.

        Returns:
            (S,) uint64.
        """
        return source_ids

    def active_sinks(self, source_ids: U64Array) -> npt.NDArray[np.int64]:
        """Return the active sinks of each source, numbered inside its expert.

        Args:
            source_ids: (S,) uint64.

        Returns:
            (L, S, K) int64, sorted along K.

        Raises:
            RefusedError: one of the sources has a tombstone.
        """
        self.check_routable(source_ids)
        spec = self.spec
        layers = range(spec.num_layers if spec.per_layer else 1)
        sinks = np.empty((len(layers), len(source_ids), spec.num_active), dtype=np.int64)
        keys = hashing.layer_keys(source_ids, seed=spec.seed, domain=Domain.NEURONS, layers=layers)
        for layer in layers:
            sinks[layer] = self._choose(keys[layer], source_ids)
        return np.broadcast_to(sinks, (spec.num_layers, *sinks.shape[1:]))

    def sinks_of_layer(self, source_ids: U64Array, layer: int) -> npt.NDArray[np.int64]:
        """Return the sinks of one layer, whether or not a source was deleted: (S, K) int64."""
        spec = self.spec
        keys = hashing.key(
            source_ids,
            seed=spec.seed,
            domain=Domain.NEURONS,
            layer=layer if spec.per_layer else 0,
        )
        return self._choose(keys, source_ids)

    def _choose(self, keys: U64Array, source_ids: U64Array) -> npt.NDArray[np.int64]:
        """Return the sinks of one layer, of which `keys` are the sources' keys: (S, K) int64."""
        num_active = self.spec.num_active
        sinks = choose_sinks(keys, num_sinks=self.private.num_shared, num_active=num_active)
        places, first_sinks = self.private.find(source_ids)
        sinks[places] = first_sinks[:, None] + np.arange(num_active)
        return sinks


def choose_sinks(keys: U64Array, *, num_sinks: int, num_active: int) -> npt.NDArray[np.int64]:
    """Pick one sink from each of `num_active` equal strata.

    Args:
        keys: any shape, uint64.
        num_sinks: sinks to choose from, a multiple of `num_active`.
        num_active: sinks to choose, 0 from an empty pool.

    Returns:
        keys.shape + (num_active,), int64, sorted along the last axis.
    """
    width = num_sinks // max(1, num_active)
    counters = np.arange(1, num_active + 1, dtype=np.uint64)
    sinks = hashing.below(hashing.draw(keys[..., None], counters), width)
    sinks += np.arange(num_active, dtype=np.int64) * width
    return sinks

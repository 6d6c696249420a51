"""Which sinks serve a source: hashes of its id and a table of buckets, nothing learned.

1. bucket = hash of the source, one of the table's;
2. expert = the table's entry: the block of the sink pool that serves the source, in every layer;
3. the expert's shared sinks are cut into as many strata as sinks are active; one hash picks one in
   each. A source with a private block has the sinks of that block instead, the same in every layer.

Every hash is splitmix64's (Steele, Lea, Flood 2014); arithmetic is modulo 2^64.

Dimensions: S sources, L layers with sinks, K active sinks, E experts.
"""

import base64

import numpy as np
import numpy.typing as npt

U64Array = npt.NDArray[np.uint64]

ROUTER_VERSION = 1

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_SEED_OFFSET = 0x632BE59BD9B4E019
_LAYER_STRIDE = 0xD1B54A32D192ED03
_DOMAIN_STRIDE = 0x8CB92BA72F3D8DD7
_NEURONS, _BUCKET = 0, 1  # purposes of a key


class HashRouter:
    """Looks up the sinks of sources."""

    def __init__(
        self,
        *,
        version: int,
        seed: int,
        num_layers: int,
        num_experts: int,
        num_sinks: int,
        num_active: int,
        per_layer: bool,
        bucket_table: str,
        num_shared: int,
        private_blocks: dict[str, int],
    ) -> None:
        """Decode the tables.

        Args:
            version: of the hash.
            seed: router seed of the corpus.
            num_layers: L.
            num_experts: E.
            num_sinks: sinks per expert and layer.
            num_active: K.
            per_layer: whether a source has other sinks in every layer.
            bucket_table: expert of each bucket, little-endian uint16 in base64.
            num_shared: sinks per expert and layer that are hashed, a multiple of `num_active`.
            private_blocks: first sink of the block of each source that has one, by id in decimal.

        Raises:
            ValueError: the hash is of another version.
        """
        if version != ROUTER_VERSION:
            raise ValueError(f"router version {version} is not {ROUTER_VERSION}, the one here")
        self.num_layers, self.num_experts = num_layers, num_experts
        self.num_sinks, self.num_active = num_sinks, num_active
        self._seed = seed
        self._num_keyed_layers = num_layers if per_layer else 1
        self._num_shared = num_shared
        self._private_ids = np.array(sorted(map(int, private_blocks)), dtype=np.uint64)
        self._first_sinks = np.array(
            [private_blocks[str(source_id)] for source_id in self._private_ids], dtype=np.int64
        )
        self._experts = np.frombuffer(base64.b64decode(bucket_table), "<u2").astype(np.int64)

    def rows_of(self, source_ids: U64Array) -> npt.NDArray[np.int64]:
        """Return the rows of the pool (of all experts, one after another) that serve each source.

        Args:
            source_ids: (S,) uint64.

        Returns:
            (L, S, K) int64, ascending along K.
        """
        (bucket_keys,) = self._keys(source_ids, _BUCKET, 1)
        experts = self._experts[_below(bucket_keys, len(self._experts))]
        keys = np.stack(self._keys(source_ids, _NEURONS, self._num_keyed_layers))
        width = self._num_shared // self.num_active
        counters = np.arange(1, self.num_active + 1, dtype=np.uint64)
        hashes = _mix(keys[..., None] + counters * np.uint64(_GAMMA))
        strata = np.arange(self.num_active, dtype=np.int64) * width
        sinks = _below(hashes, width) + strata
        if len(self._private_ids):
            found = np.searchsorted(self._private_ids, source_ids).clip(
                max=len(self._private_ids) - 1
            )
            places = np.flatnonzero(self._private_ids[found] == source_ids)
            first_sinks = self._first_sinks[found[places], None]
            sinks[:, places] = first_sinks + np.arange(self.num_active)
        sinks += (experts * self.num_sinks)[:, None]
        return np.broadcast_to(sinks, (self.num_layers, *sinks.shape[1:]))

    def _keys(self, source_ids: U64Array, domain: int, num_layers: int) -> list[U64Array]:
        salt = np.uint64((self._seed * _GAMMA + _SEED_OFFSET) & _MASK)
        shared = _mix(_mix(source_ids + np.uint64(_GAMMA)) ^ salt)
        places = [
            (layer + 1) * _LAYER_STRIDE + domain * _DOMAIN_STRIDE for layer in range(num_layers)
        ]
        return [_mix(shared + np.uint64(place & _MASK)) for place in places]


def _mix(values: U64Array) -> U64Array:
    """Scramble each value: the finaliser of splitmix64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _below(hashes: U64Array, bound: int) -> npt.NDArray[np.int64]:
    """Map each hash to [0, bound), bound below 2^31, by its upper 32 bits."""
    return ((hashes >> np.uint64(32)) * np.uint64(bound) >> np.uint64(32)).astype(np.int64)

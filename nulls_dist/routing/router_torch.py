"""The router's choice of sinks on tensors: the numpy router's twin, for routing on the device.

Training routes on the host, once per batch; this serves models that route where they run.
"""

import numpy as np
import torch
from torch import Tensor

from nulls_dist import hashing_torch
from nulls_dist.hashing import Domain
from nulls_dist.routing.private import PrivateBlocks
from nulls_dist.routing.router import RouterSpec


def active_sinks(spec: RouterSpec, private: PrivateBlocks, source_ids: Tensor) -> Tensor:
    """Return the active sinks of each source, as `Router.active_sinks` does.

    Args:
        spec: the router's specification.
        private: the router's private blocks.
        source_ids: (S,) int64 tensor with the bits of the uint64 ids.

    Returns:
        (L, S, K) int64 on the device of `source_ids`.
    """
    width = private.num_shared // spec.num_active
    strata = torch.arange(spec.num_active, dtype=torch.int64, device=source_ids.device)
    layers = range(spec.num_layers) if spec.per_layer else (0,)
    keys = torch.stack(
        [
            hashing_torch.key(source_ids, seed=spec.seed, domain=Domain.NEURONS, layer=layer)
            for layer in layers
        ]
    )
    hashes = hashing_torch.draw(keys[..., None], strata + 1)
    sinks = strata * width + hashing_torch.below(hashes, width)
    if len(private.source_ids):
        is_private, first_sinks = _find_private(private, source_ids)
        sinks = torch.where(is_private[:, None], first_sinks[:, None] + strata, sinks)
    return sinks.expand(spec.num_layers, -1, -1)


def _find_private(private: PrivateBlocks, source_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return which sources are private, (S,) bool, and their first sinks, (S,) int64.

    Where a source is not private, the first sink is any.
    """
    signed = private.source_ids.view(np.int64)
    order = np.argsort(signed)  # tensors compare the bits of an id as a signed number
    known = torch.from_numpy(signed[order]).to(source_ids.device)
    first_sinks = torch.from_numpy(private.first_sinks[order]).to(source_ids.device)
    rows = torch.searchsorted(known, source_ids).clamp(max=len(known) - 1)
    return known[rows] == source_ids, first_sinks[rows]

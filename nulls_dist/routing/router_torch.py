"""The router's choice of sinks on tensors: the numpy router's twin, for routing on the device.

Training routes on the host, once per batch; this serves models that route where they run.
"""

import torch
from torch import Tensor

from nulls_dist import hashing_torch
from nulls_dist.hashing import Domain
from nulls_dist.routing.router import RouterSpec


def active_sinks(spec: RouterSpec, source_ids: Tensor) -> Tensor:
    """Return the active sinks of each source, as `Router.active_sinks` does.

    Args:
        spec: the router's specification.
        source_ids: (S,) int64 tensor with the bits of the uint64 ids.

    Returns:
        (L, S, K) int64 on the device of `source_ids`.
    """
    width = spec.num_sinks // spec.num_active
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
    return sinks.expand(spec.num_layers, -1, -1)

"""Expected speed on a named GPU: a model with stated assumptions, never a measurement.

A step takes the time of its matrix products at an assumed share of the peak, plus the time to
stream the optimizer's state at an assumed share of the memory bandwidth. Communication, waiting for
data and evaluation are not counted.
"""

from typing import Final

from nulls_dist.config.schema import RunConfig
from nulls_dist.model.counts import count_model
from nulls_dist.parallel.gpus import Gpu
from nulls_dist.parallel.topology import Topology

COMPUTE_EFFICIENCY: Final = 0.40
"""Assumed share of the peak that training reaches; large dense models report 0.35 to 0.5."""
BANDWIDTH_EFFICIENCY: Final = 0.70
"""Assumed share of the memory bandwidth that elementwise kernels reach."""
_ADAM_BYTES: Final = 16 * 4
"""Moved per owned parameter: torch's kernels over float32 lists read or write 16 values."""
_RECOMPUTED: Final = 4 / 3
"""Forward twice and backward, over forward and backward."""


def expect_tokens_per_s(
    config: RunConfig, topology: Topology, gpu: Gpu, *, recompute: bool = False
) -> float:
    """Return the expected tokens per second of the whole run in bf16.

    Args:
        config: vocabulary resolved.
        topology: of the run.
        gpu: one per rank.
        recompute: whether layers are recomputed in the backward pass.
    """
    counts = count_model(config.model)
    tokens = config.train.global_batch_rows * config.model.context_length
    flops = tokens * counts.flops_per_token / (topology.dp * topology.tp)
    flops *= _RECOMPUTED if recompute else 1.0
    sinks = counts.sink_parameters / topology.ep / topology.edp
    owned = counts.backbone_parameters / (topology.dp * topology.tp) + sinks
    compute_s = flops / (gpu.bf16_flops_per_s * COMPUTE_EFFICIENCY)
    update_s = owned * _ADAM_BYTES / (gpu.bytes_per_s * BANDWIDTH_EFFICIENCY)
    return tokens / (compute_s + update_s)

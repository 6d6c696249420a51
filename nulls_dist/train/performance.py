"""How fast a run is and how much memory it takes: the slowest and the fullest rank count."""

import resource
from typing import Final

import torch
import torch.distributed as dist

from nulls_dist.model.counts import count_model
from nulls_dist.parallel.accelerator import peak_allocated_bytes, peak_flops
from nulls_dist.train.run import Run
from nulls_dist.train.step import max_over_ranks

_RESIDENT_UNIT_BYTES: Final = 1024
"""Linux counts the resident set in KiB. Source: getrusage(2)."""


class PerformanceMeter:
    """Turns the times of a step into metrics."""

    def __init__(self, run: Run, device: torch.device) -> None:
        config = run.config
        self._device = device
        self._tokens_per_step = config.train.global_batch_rows * config.model.context_length
        self._flops_per_token = count_model(config.model).flops_per_token
        peak = peak_flops(device, config.train.dtype)
        self._peak_flops = None if peak is None else peak * dist.get_world_size()

    def measure(self, *, step_s: float, data_s: float) -> dict[str, float]:
        """Return the metrics of a step, equal on all ranks; every rank calls this.

        Args:
            step_s: seconds of the step on this rank.
            data_s: seconds of it that the rank waited for its batches.
        """
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RESIDENT_UNIT_BYTES
        local = {
            "perf/step_s": step_s,
            "perf/data_s": data_s,
            "perf/peak_resident_bytes": resident,
        }
        allocated = peak_allocated_bytes(self._device)
        if allocated is not None:
            local["perf/peak_allocated_bytes"] = allocated
        metrics = dict(zip(local, max_over_ranks(list(local.values()), self._device), strict=True))
        tokens_per_s = self._tokens_per_step / metrics["perf/step_s"]
        metrics["perf/tokens_per_s"] = tokens_per_s
        if self._peak_flops is not None:
            metrics["perf/mfu"] = self._flops_per_token * tokens_per_s / self._peak_flops
        return metrics

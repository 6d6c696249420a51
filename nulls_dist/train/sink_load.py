"""How evenly the sinks are used: tokens per expert, dead and hot sinks since the last report.

The router is known, so nothing is measured on the device: tokens are counted per source, and a
source's sinks follow. Counted in the first layer; the others follow the same law.
"""

from collections import Counter
from typing import Final

import numpy as np
import torch
import torch.distributed as dist

from nulls_dist.train.hooks import Hook, StepEvent
from nulls_dist.train.run import Run

_BLOCK_SOURCES: Final = 1 << 14
_MAX_EXPERTS_LISTED: Final = 64


class SinkLoad(Hook):
    """Adds the load of the sinks to the metrics of every evaluation step.

    * sinks/expert_0007_tokens: tokens of each expert's sources, for the first experts;
    * sinks/dead_fraction: share of all sinks that served no token;
    * sinks/hottest_over_mean: tokens of the busiest sink over the mean of all.
    """

    def __init__(self, run: Run, device: torch.device) -> None:
        self._run = run
        self._device = device
        self._tokens: Counter[int] = Counter()

    def after_step(self, event: StepEvent) -> None:
        """Count the step; report with the evaluations."""
        for batch in event.batches:
            for source_id, length in zip(
                batch.layout.source_ids.tolist(), batch.layout.lengths, strict=True
            ):
                self._tokens[source_id] += length
        train = self._run.config.train
        if train.eval_every and (event.step % train.eval_every == 0 or event.is_last):
            event.metrics.update(self._report())
            self._tokens.clear()

    def _report(self) -> dict[str, float]:
        """Combine what all ranks counted; each expands its own sources to sinks."""
        router = self._run.router
        spec = router.spec
        load = np.zeros((spec.num_experts, spec.num_sinks), dtype=np.int64)
        source_ids = np.array(sorted(self._tokens), dtype=np.uint64)
        for begin in range(0, len(source_ids), _BLOCK_SOURCES):
            block = source_ids[begin : begin + _BLOCK_SOURCES]
            tokens = np.array([self._tokens[source_id] for source_id in block.tolist()])
            experts = router.experts_of(block)
            np.add.at(load, (experts[:, None], router.sinks_of_layer(block, 0)), tokens[:, None])
        total = torch.from_numpy(load).to(self._device)
        dist.all_reduce(total)
        # Tensor-parallel ranks counted the same rows.
        per_sink = total.to("cpu", torch.float64) / self._run.groups.topology.tp
        per_expert = per_sink.sum(1) / spec.num_active
        return {
            **{
                f"sinks/expert_{expert:04d}_tokens": float(count)
                for expert, count in enumerate(per_expert[:_MAX_EXPERTS_LISTED])
            },
            "sinks/dead_fraction": float((per_sink == 0).double().mean()),
            "sinks/hottest_over_mean": float(per_sink.max() / per_sink.mean()),
        }

"""How evenly the sinks are used: tokens per expert, dead and hot sinks since the last report.

The router is known, so nothing is measured on the device: tokens are counted per source, and a
source's sinks follow. Counted in the first layer; the others follow the same law.
"""

from collections import Counter
from typing import Final

import numpy as np
import torch.distributed as dist

from nulls_dist.sources import NO_SOURCE
from nulls_dist.train.hooks import Hook, StepEvent
from nulls_dist.train.run import Run

_LAYER: Final = 0
_MAX_EXPERTS_LISTED: Final = 64


class SinkLoad(Hook):
    """Adds the load of the sinks to the metrics of every evaluation step.

    * sinks/expert_0007_tokens: tokens of each expert's sources, for the first experts;
    * sinks/dead_fraction: share of all sinks that served no token;
    * sinks/hottest_over_mean: tokens of the busiest sink over the mean of all.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
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
        """Combine what all ranks counted."""
        gathered: list[Counter[int]] = [Counter() for _ in range(self._run.groups.topology.dp)]
        dist.all_gather_object(gathered, self._tokens)
        total: Counter[int] = sum(gathered, Counter())
        total.pop(NO_SOURCE, None)
        router = self._run.router
        source_ids = np.array(sorted(total), dtype=np.uint64)
        tokens = np.array([total[source_id] for source_id in source_ids.tolist()], dtype=np.int64)
        experts = router.experts_of(source_ids)
        spec = router.spec
        load = np.zeros((spec.num_experts, spec.num_sinks), dtype=np.int64)
        sinks = router.active_sinks(source_ids)[_LAYER]
        np.add.at(load, (experts[:, None], sinks), tokens[:, None])
        per_expert = np.bincount(experts, tokens, minlength=spec.num_experts)
        return {
            **{
                f"sinks/expert_{expert:04d}_tokens": float(count)
                for expert, count in enumerate(per_expert[:_MAX_EXPERTS_LISTED])
            },
            "sinks/dead_fraction": float((load == 0).mean()),
            "sinks/hottest_over_mean": float(load.max() / load.mean()),
        }

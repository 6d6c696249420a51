"""Which hooks a run has, in which order: what adds metrics first, what shows them after."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from nulls_dist.train.evaluation import StateEvaluator
from nulls_dist.train.hooks import Heartbeat, Hook
from nulls_dist.train.metrics import MetricsLog, ProgressLine
from nulls_dist.train.retention import Retention
from nulls_dist.train.run import Run
from nulls_dist.train.sink_load import SinkLoad
from nulls_dist.train.wandb_log import WandbLog

METRICS_FILE: Final = "metrics.jsonl"


@contextmanager
def standard_hooks(run: Run) -> Iterator[Sequence[Hook]]:
    """Yield the hooks of this rank and close them afterwards, whatever happened."""
    train = run.config.train
    hooks: list[Hook] = []
    try:
        if train.eval_every:
            hooks += [StateEvaluator(run), SinkLoad(run)]
        if run.groups.topology.rank == 0:
            hooks.append(MetricsLog(run.run_dir / METRICS_FILE, first_step=run.first_step))
            hooks.append(ProgressLine(steps=train.steps, first_step=run.first_step))
            hooks.append(Heartbeat(run.run_dir))
            if train.keep_last:
                hooks.append(Retention(run.run_dir, train.keep_last))
            if run.config.report.wandb != "off":
                hooks.append(WandbLog(run))
        yield hooks
    finally:
        for hook in hooks:
            hook.close()

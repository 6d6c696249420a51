"""Which hooks a run has, in which order: what adds metrics first, what shows them after."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import torch

from nulls_dist.data.exposure_log import exposure_log
from nulls_dist.train.evaluation import StateEvaluator
from nulls_dist.train.exposure import ExposureLog
from nulls_dist.train.hooks import Heartbeat, Hook
from nulls_dist.train.life_log import LifeLog
from nulls_dist.train.metrics import MetricsLog, ProgressLine
from nulls_dist.train.retention import Retention
from nulls_dist.train.run import Run
from nulls_dist.train.sink_load import SinkLoad
from nulls_dist.train.wandb_log import WandbLog

METRICS_FILE: Final = "metrics.jsonl"


@contextmanager
def standard_hooks(run: Run, device: torch.device, life: LifeLog) -> Iterator[Sequence[Hook]]:
    """Yield the hooks of this rank and close them afterwards, each whatever happened before."""
    train = run.config.train
    hooks: list[Hook] = []
    with ExitStack() as stack:

        def add(hook: Hook) -> None:
            hooks.append(hook)
            stack.callback(hook.close)

        add(life)
        if run.config.report.exposure == "on":
            add(ExposureLog(exposure_log(run.run_dir, life.number, run.groups.topology.rank)))
        if train.eval_every:
            add(StateEvaluator(run))
            add(SinkLoad(run, device))
        if run.groups.topology.rank == 0:
            add(MetricsLog(run.run_dir / METRICS_FILE, first_step=run.first_step))
            add(ProgressLine(steps=train.steps, first_step=run.first_step))
            add(Heartbeat(run.run_dir))
            if train.keep_last:
                add(Retention(run.run_dir, train.keep_last, keep_every=train.keep_every))
            if run.config.report.wandb != "off":
                add(WandbLog(run))
        yield hooks

"""Which hooks a run has, in which order: what adds metrics first, what shows them after."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch

from nulls_dist.data.exposure_log import exposure_log
from nulls_dist.train.evaluation import StateEvaluator
from nulls_dist.train.exposure import ExposureLog
from nulls_dist.train.hooks import Heartbeat, Hook
from nulls_dist.train.life_log import LifeLog
from nulls_dist.train.metrics import MetricsLog, ProgressLine
from nulls_dist.train.profiler import StepProfiler
from nulls_dist.train.prometheus import PrometheusFile
from nulls_dist.train.retention import Retention
from nulls_dist.train.run import Run
from nulls_dist.train.run_files import METRICS_FILE, PROMETHEUS_FILE
from nulls_dist.train.sink_load import SinkLoad
from nulls_dist.train.tensorboard_log import TensorBoardLog
from nulls_dist.train.wandb_log import WandbLog


@contextmanager
def standard_hooks(
    run: Run,
    device: torch.device,
    life: LifeLog,
    more: Sequence[Hook],
    *,
    profile: range | None,
) -> Iterator[Sequence[Hook]]:
    """Yield the hooks of this rank and close them afterwards, each whatever happened before.

    Args:
        run: the run.
        device: this rank's.
        life: of the run.
        more: hooks that somebody else closes.
        profile: steps to trace, from 0.
    """
    train = run.config.train
    hooks = list(more)
    with ExitStack() as stack:

        def add(hook: Hook) -> None:
            hooks.append(hook)
            stack.callback(hook.close)

        add(life)
        topology = run.groups.topology
        # Tensor-parallel ranks train on the same rows.
        if run.config.report.exposure and topology.tp_rank == 0:
            add(ExposureLog(exposure_log(run.run_dir, life.number, topology.rank)))
        if train.eval_every:
            add(StateEvaluator(run))
            if run.config.model.has_sinks:
                add(SinkLoad(run, device))
        if topology.rank == 0:
            add(MetricsLog(run.run_dir / METRICS_FILE, first_step=run.first_step))
            add(ProgressLine(steps=train.steps, first_step=run.first_step))
            prometheus = run.run_dir / PROMETHEUS_FILE
            add(PrometheusFile(prometheus, run=run.run_dir.name, life=life.number))
            add(Heartbeat(run.run_dir))
            if train.keep_last:
                add(Retention(run.run_dir, train.keep_last, keep_every=train.keep_every))
            if run.config.report.wandb != "off":
                add(WandbLog(run))
            if run.config.report.tensorboard:
                add(TensorBoardLog(run))
            if profile is not None:
                add(StepProfiler(run.run_dir, profile, first_step=run.first_step))
        yield hooks

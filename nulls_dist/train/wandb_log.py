"""Metrics to Weights & Biases, where a run asks for it."""

import hashlib
from typing import Any

from nulls_dist.train.hooks import Hook, StepEvent
from nulls_dist.train.provenance import describe_run
from nulls_dist.train.run import Run


class WandbLog(Hook):
    """Logs every step's metrics; a resumed run continues the same W&B run."""

    def __init__(self, run: Run) -> None:
        """Start the client."""
        import wandb

        place = str(run.run_dir.resolve())
        self._run: Any = wandb.init(
            project=run.config.report.wandb_project,
            name=run.run_dir.name,
            id=hashlib.sha256(place.encode()).hexdigest()[:16],
            resume="allow",
            dir=run.run_dir,
            config=describe_run(run),
            mode="offline" if run.config.report.wandb == "offline" else "online",
            settings=wandb.Settings(silent=True),
        )

    def after_step(self, event: StepEvent) -> None:
        """Log the metrics."""
        self._run.log(event.metrics, step=event.step)

    def close(self) -> None:
        """Flush and leave."""
        self._run.finish()

"""Metrics to TensorBoard, where a run asks for it."""

from nulls_dist.train.hooks import Hook, StepEvent
from nulls_dist.train.run import Run
from nulls_dist.train.run_files import LOG_DIR


class TensorBoardLog(Hook):
    """Writes every step's metrics into RUN/log/tensorboard.

    A resumed run hides from there what an earlier life wrote of the steps that it takes again.
    """

    def __init__(self, run: Run) -> None:
        """Open the event file of this life."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(
            run.run_dir / LOG_DIR / "tensorboard", purge_step=run.first_step + 1
        )

    def after_step(self, event: StepEvent) -> None:
        """Write the metrics."""
        for name, value in event.metrics.items():
            if name != "step" and value is not None:
                self._writer.add_scalar(name, value, event.step)

    def close(self) -> None:
        """Flush and leave."""
        self._writer.close()

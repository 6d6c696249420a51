"""Metrics to TensorBoard, where a run asks for it."""

from nulls_dist.errors import ConfigError
from nulls_dist.train.hooks import Hook, StepEvent
from nulls_dist.train.run import Run


class TensorBoardLog(Hook):
    """Writes every step's metrics into RUN/log/tensorboard.

    A resumed run hides from there what an earlier life wrote of the steps that it takes again.
    """

    def __init__(self, run: Run) -> None:
        """Open the event file of this life.

        Raises:
            ConfigError: TensorBoard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ConfigError(
                "report.tensorboard (on) needs TensorBoard: pip install 'nulls-dist[tensorboard]'"
            ) from None
        self._writer = SummaryWriter(
            run.run_dir / "log" / "tensorboard", purge_step=run.first_step + 1
        )

    def after_step(self, event: StepEvent) -> None:
        """Write the metrics."""
        for name, value in event.metrics.items():
            if name != "step" and value is not None:
                self._writer.add_scalar(name, value, event.step)

    def close(self) -> None:
        """Flush and leave."""
        self._writer.close()

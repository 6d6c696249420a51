"""RUN/metrics.prom: the newest value of every metric, for Prometheus and its dashboards.

The file is in the text format 0.0.4, which the textfile collector of node_exporter reads.
Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import logging
import math
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from nulls_dist.train.hooks import Hook, StepEvent

logger = logging.getLogger(__name__)

_PREFIX: Final = "nulls_"
_NO_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class PrometheusFile(Hook):
    """Replaces the file after every step.

    A metric keeps its value until there is another one. The file is not flushed to the device:
    after a power cut it may be an older one, like what a scraper has seen before. What cannot be
    written is reported once and stops nothing.
    """

    def __init__(self, path: Path, *, run: str, life: int) -> None:
        """Write nothing yet.

        Args:
            path: of the file.
            run: name of the run, a label of all metrics.
            life: its number.
        """
        self._path = path
        self._labels = {"run": run}
        self._values: dict[str, float] = {"life": life}
        self._is_writable = True

    def after_step(self, event: StepEvent) -> None:
        """Write what is known."""
        known = {name: value for name, value in event.metrics.items() if value is not None}
        self._values |= known | {"last_step_timestamp_seconds": time.time()}
        content = exposition(self._values, self._labels).encode(errors="replace")
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        try:
            temporary.write_bytes(content)
            temporary.replace(self._path)
        except OSError as error:  # such as a full disk, which a save may outlive
            if self._is_writable:
                logger.warning("%s is out of date from now on: %s", self._path, error)
            self._is_writable = False
        else:
            self._is_writable = True


def exposition(values: Mapping[str, float], labels: Mapping[str, str]) -> str:
    """Return gauges in Prometheus's text format.

    Args:
        values: name as in metrics.jsonl -> value; "train/loss_nats" becomes nulls_train_loss_nats.
        labels: of every gauge.
    """
    pairs = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    lines = []
    for name, value in values.items():
        metric = _PREFIX + _NO_NAME.sub("_", name)
        lines.append(f"# TYPE {metric} gauge\n{metric}{{{pairs}}} {_number(value)}\n")
    return "".join(lines)


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"

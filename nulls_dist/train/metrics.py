"""Where a run reports: one JSON line per step, and a progress line for a person."""

import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from nulls_dist import durable
from nulls_dist.train.hooks import Hook, StepEvent


class MetricsLog(Hook):
    """Appends to metrics.jsonl; a resumed run first drops the lines it will write again."""

    def __init__(self, path: Path, *, first_step: int) -> None:
        """Open the log of a run that continues after `first_step` steps."""
        kept = []
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step_of(line) <= first_step]
        durable.write_text(path, "".join(f"{line}\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")

    def after_step(self, event: StepEvent) -> None:
        """Append one step's metrics and hand them to the operating system at once."""
        self._file.write(json_line(event.metrics))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def json_line(content: Mapping[str, Any]) -> str:
    """Return a line of JSON; numbers that JSON lacks, NaN and infinities, become null."""
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in content.items()
    }
    return json.dumps(finite, allow_nan=False) + "\n"


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # the torn last line of a life that was killed


_SILENCE_S: Final = 60.0


class ProgressLine(Hook):
    """One line on stderr: rewritten on a terminal, elsewhere printed now and then.

    That is about `lines` times, and where steps are slow or many at least once a minute.
    """

    def __init__(self, *, steps: int, first_step: int, lines: int = 10) -> None:
        """Begin to count."""
        self._steps = steps
        self._first_step = first_step
        self._every = max(1, steps // lines)
        self._terminal = sys.stderr.isatty()
        self._start = time.monotonic()
        self._shown = (self._start, 0)  # when, and how many tokens there were

    def after_step(self, event: StepEvent) -> None:
        """Show a step's metrics."""
        metrics, step = event.metrics, event.step
        now, tokens = time.monotonic(), metrics["train/tokens"]
        since, before = self._shown
        is_due = step % self._every == 0 or event.is_last or now - since > _SILENCE_S
        if not (self._terminal or is_due):
            return
        self._shown = (now, tokens)
        rate = (tokens - before) / (now - since) if before else metrics["perf/tokens_per_s"]
        elapsed = now - self._start
        remaining = elapsed / (step - self._first_step) * (self._steps - step)
        line = (
            f"step {step}/{self._steps}  loss {metrics['train/loss_nats']:.3f}  "
            f"grad norm {metrics['train/grad_norm']:.2f}  "
            f"{rate:,.0f} tokens/s  {remaining:.0f} s left"
        )
        sys.stderr.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        if self._terminal and event.is_last:
            sys.stderr.write("\n")
        sys.stderr.flush()

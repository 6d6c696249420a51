"""How long a step took, in all and by part."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from nulls_dist.parallel.accelerator import synchronize


class Stopwatch:
    """Times one step on a device.

    Attributes:
        parts: part -> seconds so far.
        wall_s: seconds of the whole step.
        cpu_s: seconds of it that the process computed; on a shared machine less than `wall_s`.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.parts: defaultdict[str, float] = defaultdict(float)
        self.wall_s = 0.0
        self.cpu_s = 0.0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Time a block as the whole step."""
        synchronize(self._device)
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        synchronize(self._device)
        self.wall_s = time.perf_counter() - wall
        self.cpu_s = time.process_time() - cpu
        self.parts["other"] = self.wall_s - sum(self.parts.values())

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of a block to a part."""
        started = time.perf_counter()
        yield
        synchronize(self._device)
        self.parts[name] += time.perf_counter() - started


class TimedEngine:
    """A DeepSpeed engine whose calls are timed; everything else is the engine's own."""

    def __init__(self, engine: Any, watch: Stopwatch) -> None:
        self._engine = engine
        self._watch = watch

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model."""
        with self._watch.part("forward"):
            return self._engine(*args, **kwargs)

    def backward(self, loss: torch.Tensor) -> None:
        """Compute and reduce gradients."""
        with self._watch.part("backward"):
            self._engine.backward(loss)

    def step(self) -> None:
        """Update the weights where accumulation ends."""
        with self._watch.part("optimizer"):
            self._engine.step()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

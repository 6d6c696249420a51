"""What a run costs."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from nulls_dist.parallel.accelerator import peak_memory, reset_peak_memory, synchronize
from nulls_dist.posthoc.contract import Split


def _per_split() -> dict[Split, int]:
    return dict.fromkeys(Split, 0)


@dataclass(kw_only=True, slots=True)
class CostLedger:
    """Work of the method alone: evaluations and checks do not count. Padding is no token."""

    forward_tokens: dict[Split, int] = field(default_factory=_per_split)
    """With or without gradients, also of the reference model."""
    backward_tokens: dict[Split, int] = field(default_factory=_per_split)
    """Each is about twice the work of a forward one."""
    decoded_tokens: int = 0
    """Sampled or greedily written, one forward pass each."""
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    """Tensors on a GPU, the process's resident memory on a CPU."""
    extra_parameters: int = 0
    """That answering takes, beyond the model's own."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "forward_tokens": _by_name(self.forward_tokens),
            "backward_tokens": _by_name(self.backward_tokens),
            "decoded_tokens": self.decoded_tokens,
            "seconds": self.seconds,
            "peak_memory_bytes": self.peak_memory_bytes,
            "extra_parameters": self.extra_parameters,
        }


class Meter:
    """Takes time and memory while it runs, and writes them into a ledger."""

    def __init__(self, ledger: CostLedger, device: torch.device) -> None:
        self._ledger = ledger
        self._device = device
        self._begin = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure a block."""
        self._start()
        try:
            yield
        finally:
            self._stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave a block inside a measured one out."""
        self._stop()
        try:
            yield
        finally:
            self._start()

    def _start(self) -> None:
        synchronize(self._device)
        reset_peak_memory(self._device)
        self._begin = time.perf_counter()

    def _stop(self) -> None:
        synchronize(self._device)
        self._ledger.seconds += time.perf_counter() - self._begin
        peak = peak_memory(self._device)
        self._ledger.peak_memory_bytes = max(self._ledger.peak_memory_bytes, peak)


def _by_name(counts: Mapping[Split, int]) -> dict[str, int]:
    return {split.value: count for split, count in counts.items()}

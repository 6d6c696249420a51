"""What the machine can do at best: the reference of a model's FLOPs."""

import time
from typing import Final

import torch

from nulls_dist.parallel.accelerator import synchronize

_SIZE: Final = {"cpu": 2048, "cuda": 8192}
_REPEATS: Final = 5


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Measure the FLOP/s of a square matrix product, the best of a few."""
    size = _SIZE[device.type]
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(1 + _REPEATS):  # the first one warms up
        synchronize(device)
        started = time.perf_counter()
        left @ right
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds[1:])

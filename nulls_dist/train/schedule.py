"""The learning rate as a function of the step."""

import math

from nulls_dist.config.schema import OptimConfig


def learning_rate(optim: OptimConfig, *, step: int, steps: int) -> float:
    """Return the learning rate of a step.

    Args:
        optim: schedule, peak and fractions.
        step: from 0.
        steps: length of the run.
    """
    warmup = math.ceil(optim.warmup_fraction * steps)
    if step < warmup:
        return optim.lr * (step + 1) / warmup
    factor = (
        _cosine(step, warmup, steps) if optim.schedule == "cosine" else _wsd(optim, step, steps)
    )
    return optim.lr * (optim.min_lr_ratio + (1 - optim.min_lr_ratio) * factor)


def _cosine(step: int, warmup: int, steps: int) -> float:
    """Fall from 1 after the warm-up to 0 after the last step as half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * (step + 1 - warmup) / (steps - warmup)))


def _wsd(optim: OptimConfig, step: int, steps: int) -> float:
    """Stay at 1, then fall linearly to 0 at the last step. Source: arXiv 2404.06395 section 4."""
    decay = math.floor(optim.decay_fraction * steps)
    remaining = steps - 1 - step
    return 1.0 if remaining >= decay else remaining / decay

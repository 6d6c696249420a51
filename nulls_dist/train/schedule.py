"""The learning rate as a function of the step: linear warm-up, constant, linear decay."""

import math

from nulls_dist.config.schema import OptimConfig


def learning_rate(optim: OptimConfig, *, step: int, steps: int) -> float:
    """Return the learning rate of a step.

    Args:
        optim: peak and fractions.
        step: from 0.
        steps: length of the run.
    """
    warmup = math.ceil(optim.warmup_fraction * steps)
    decay = math.floor(optim.decay_fraction * steps)
    if step < warmup:
        return optim.lr * (step + 1) / warmup
    remaining = steps - step
    if remaining > decay:
        return optim.lr
    return optim.lr * max(optim.min_lr_ratio, remaining / decay)

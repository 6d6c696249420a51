"""Faults at random moments of a run, the same ones for the same seed."""

import random
from dataclasses import dataclass
from typing import Final, Literal

FaultKind = Literal["kill", "kill at start", "preemption", "STOP", "SAVE"]

_SHARES: Final[tuple[FaultKind, ...]] = (
    *("kill", "preemption", "SAVE", "kill", "STOP", "kill", "preemption", "kill at start"),
)
"""Of every eight faults; only SAVE does not end a life."""
_LAST_SHARE: Final = 0.95
"""Of the steps: later a run might end before it is disturbed."""
_LONGEST_DELAY_S: Final = 0.3
"""After the step that a fault waits for: it may come at any moment of a step or save."""
_LONGEST_START_S: Final = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Something that happens to a run once it has taken a number of steps."""

    kind: FaultKind
    after_step: int
    delay_s: float
    """After that step; after the start of a life, where the kind says so."""
    draw: int
    """Decides which rank is struck."""


def plan_faults(count: int, *, steps: int, seed: int) -> list[Fault]:
    """Return faults in the order in which they strike.

    Args:
        count: how many.
        steps: of the run.
        seed: of kinds, steps, delays and ranks.
    """
    draws = random.Random(f"faults of seed {seed}")
    kinds = [_SHARES[place % len(_SHARES)] for place in range(count)]
    draws.shuffle(kinds)
    steps_before = sorted(draws.randint(1, int(_LAST_SHARE * steps)) for _ in kinds)
    return [
        Fault(
            kind=kind,
            after_step=step,
            delay_s=draws.uniform(
                0, _LONGEST_START_S if kind == "kill at start" else _LONGEST_DELAY_S
            ),
            draw=draws.randrange(1_000),
        )
        for kind, step in zip(kinds, steps_before, strict=True)
    ]

"""How a run ended, in one word, for the script that started it.

- done: all steps are taken.
- stopped: a signal ended it early; it saved, and the script may start it again.
- halted: the file STOP ended it early; it saved, and a person starts it again.
- failed: an error ended it.
"""

from pathlib import Path
from typing import Final, Literal

from nulls_dist import durable

OUTCOME_FILE: Final = "outcome"

Ended = Literal["done", "stopped", "halted"]
Outcome = Literal[Ended, "failed"]


def write_outcome(run_dir: Path, outcome: Outcome) -> None:
    """Replace the outcome of the life before."""
    durable.write_text(run_dir / OUTCOME_FILE, f"{outcome}\n")


def forget_outcome(run_dir: Path) -> None:
    """Remove the outcome of the life before: this one goes on."""
    (run_dir / OUTCOME_FILE).unlink(missing_ok=True)

"""How a run ended, in one word, for the script that started it."""

from pathlib import Path
from typing import Final, Literal

from nulls_dist import durable

OUTCOME_FILE: Final = "outcome"

Outcome = Literal["done", "stopped", "failed"]


def write_outcome(run_dir: Path, outcome: Outcome) -> None:
    """Replace the outcome of the life before."""
    durable.write_text(run_dir / OUTCOME_FILE, f"{outcome}\n")

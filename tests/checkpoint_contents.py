"""Everything a checkpoint holds, in a form that two checkpoints can be compared by."""

import json
from pathlib import Path
from typing import Any

import torch

from nulls_dist.checkpoint.contents import read_state
from tests.small_models import relative_error


def largest_difference(one: Path, two: Path) -> float:
    """Return the largest difference of any tensor of two checkpoints over that tensor's scale."""
    first, second = read_state(one), read_state(two)
    assert first.keys() == second.keys()
    return max(relative_error(second[key], first[key]) for key in first)


def check_equal_state(one: Path, two: Path) -> None:
    """Compare two checkpoints' states to the last bit."""
    first, second = read_state(one), read_state(two)
    assert first.keys() == second.keys()
    different = [key for key in first if not torch.equal(first[key], second[key])]
    assert not different, different


ABOUT_THE_LIFE = ("manifest.json", "run.json")
"""Files that tell which life of a run wrote a checkpoint; the manifest has run.json's checksum."""


def check_equal_contents(one: Path, two: Path) -> None:
    """Compare two checkpoints byte by byte, apart from what tells which life wrote them."""
    first, second = (
        {
            name: path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and (name := path.relative_to(root).as_posix()) not in ABOUT_THE_LIFE
        }
        for root in (one, two)
    )
    assert first.keys() == second.keys()
    different = [name for name in first if first[name] != second[name]]
    assert not different, different


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics, the first step first."""
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]

"""The models of a seed: trained by the training command, deleted from by the deletion command."""

import json
import shutil
from functools import partial
from typing import Any, Final

from nulls_dist.benchmark.unlearning.lab import EXCISED, SUPPRESSED, Lab
from nulls_dist.benchmark.unlearning.sizes import NULLS, Arm
from nulls_dist.benchmark.unlearning.world import request_file

GRADES: Final = {SUPPRESSED: "suppress", EXCISED: "excise"}
"""Checkpoint that a deletion makes -> mode of the deletion command."""


def train(lab: Lab, seed: int, arm: Arm) -> None:
    """Train a model in one process, unless that is done; one that was killed continues."""
    lab.once(seed, f"train-{arm.name}", partial(_train, lab, seed, arm))


def delete(lab: Lab, seed: int, grade: str, *, max_collateral: float) -> None:
    """Delete the seed's sources from the trained model with sinks, unless that is done.

    Args:
        lab: the benchmark.
        seed: the seed.
        grade: SUPPRESSED or EXCISED.
        max_collateral: deletion budget.
    """
    lab.once(seed, f"delete-{grade}", partial(_delete, lab, seed, grade, max_collateral))


def _train(lab: Lab, seed: int, arm: Arm) -> dict[str, Any]:
    size = lab.size
    command = [
        *("-m", "nulls_dist.pretrain", "--preset", size.preset),
        *("--data", lab.corpus(seed, is_retrained=arm.is_retrained)),
        *("--run-dir", lab.run_dir(seed, arm), "--seed", seed),
        *(f"--set={name}={value}" for name, value in size.settings_of(arm).items()),
        *(("--control", arm.control) if arm.control else ()),
    ]
    lab.commands.python(*command, log=lab.log(seed, f"train-{arm.name}"))
    return {"command": " ".join(["python", *map(str, command)])}


def _delete(lab: Lab, seed: int, grade: str, max_collateral: float) -> dict[str, Any]:
    out = lab.checkpoint(seed, NULLS, grade)
    if out.exists():  # of a killed step, which had not yet recorded it
        shutil.rmtree(out)
    command = [
        *(lab.commands.tool("strip_sources"), lab.checkpoint(seed, NULLS)),
        *(request_file(lab, seed), "--out", out, "--mode", GRADES[grade]),
        *("--records", lab.seed_dir(seed) / "records", "--json"),
        *("--max-collateral", max_collateral),
    ]
    text = lab.commands.python(*command, log=lab.log(seed, f"delete-{grade}"))
    report = json.loads(text)
    return {
        "command": " ".join(["python", *map(str, command)]),
        "collateral": report["collateral"],
        "num_values_verified": report["num_values_verified"],
        "record": report["record"],
    }

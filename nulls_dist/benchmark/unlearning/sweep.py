"""`sweep`: train models with other settings on the first seed's world, and ask them.

Every value has a directory of its own, DIR/sweeps/NAME=VALUE, a benchmark's directory as `lab`
describes it, whose world and corpora are links to DIR's. See `sweep_results` for DIR/sweeps.json.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from nulls_dist.benchmark.unlearning.done import count_done
from nulls_dist.benchmark.unlearning.evaluation import evaluate
from nulls_dist.benchmark.unlearning.lab import TRAINED, Lab, begin_lab, open_lab
from nulls_dist.benchmark.unlearning.models import train
from nulls_dist.benchmark.unlearning.schedule import run_side_by_side
from nulls_dist.benchmark.unlearning.sizes import NULLS, RETRAINED, Arm
from nulls_dist.benchmark.unlearning.sweep_results import (
    SEED,
    SWEEPS,
    format_sweeps,
    write_sweeps,
)
from nulls_dist.benchmark.unlearning.world import GROUPS_FILE
from nulls_dist.config.overrides import apply_overrides
from nulls_dist.config.presets import PRESETS
from nulls_dist.errors import InputError

Setting = tuple[str, str]
"""Name and value of a setting, as `nulls_dist.pretrain --set` takes them."""
_LINKED: Final = ("world", "corpus", "corpus-without", GROUPS_FILE)


def sweep(*, out: Path, sweeps: Sequence[str], is_retrained: bool, jobs: int) -> None:
    """Train and ask a model per value of each setting, or what is left, and print a table.

    Args:
        out: directory of the benchmark.
        sweeps: "name=value,value" each.
        is_retrained: whether each is also trained without the deleted sources.
        jobs: models that are trained or asked at once.

    Raises:
        ConfigError: a setting or a value does not exist.
        InputError: a sweep is malformed, or the benchmark's first seed is not done.
        NullsError: a training failed.
    """
    lab = open_lab(out)
    settings = [setting for text in sweeps for setting in parse_sweep(text)]
    for name, value in settings:
        _check(lab, name, value)
    count_done(lab, SEED + 1)
    arms = (NULLS, RETRAINED) if is_retrained else (NULLS,)
    tasks = [
        partial(_train_and_ask, _begin(lab, setting), arm) for setting in settings for arm in arms
    ]
    run_side_by_side(tasks, jobs)
    results = write_sweeps(lab)
    lab.commands.say(f"sweeps: {out / 'sweeps.json'}")
    print(format_sweeps(results))


def parse_sweep(text: str) -> list[Setting]:
    """Return a setting with each of its values.

    Raises:
        InputError: it is not of the form name=value,value.
    """
    name, _, values = text.partition("=")
    parts = [value.strip() for value in values.split(",")]
    if not name.strip() or not all(parts):
        raise InputError(
            f"--set {text}: must have the form name=values, such as model.num_active=8,16"
        )
    return [(name.strip(), value) for value in parts]


def _check(lab: Lab, name: str, value: str) -> None:
    """Refuse before the first training what the training command would refuse."""
    settings = {**lab.size.settings, name: value}
    apply_overrides(PRESETS[lab.size.preset](), [f"{key}={each}" for key, each in settings.items()])


def _begin(lab: Lab, setting: Setting) -> Lab:
    """Open the directory of a setting's models."""
    name, value = setting
    size = replace(lab.size, settings={**lab.size.settings, name: value})
    root = lab.root / SWEEPS / f"{name}={value}"
    changed = begin_lab(root, size)
    seed_dir = changed.seed_dir(SEED)
    seed_dir.mkdir(exist_ok=True)
    for linked in _LINKED:
        link = seed_dir / linked
        if not link.is_symlink():
            link.symlink_to(Path("../../..") / lab.seed_dir(SEED).name / linked)
    return changed


def _train_and_ask(lab: Lab, arm: Arm) -> None:
    train(lab, SEED, arm)
    evaluate(lab, SEED, arm, TRAINED)

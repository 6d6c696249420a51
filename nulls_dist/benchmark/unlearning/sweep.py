"""`sweep`: train models with other settings on the worlds of a benchmark, delete, and ask them.

Every value has a directory of its own, DIR/sweeps/NAME=VALUE, a benchmark's directory as `lab`
describes it, whose worlds and corpora are links to DIR's. See `sweep_results` for DIR/sweeps.json.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from nulls_dist.benchmark.unlearning.done import count_done
from nulls_dist.benchmark.unlearning.evaluation import evaluate
from nulls_dist.benchmark.unlearning.lab import EXCISED, TRAINED, Lab, begin_lab, open_lab
from nulls_dist.benchmark.unlearning.models import delete, train
from nulls_dist.benchmark.unlearning.pool import describe_sources
from nulls_dist.benchmark.unlearning.schedule import run_side_by_side
from nulls_dist.benchmark.unlearning.sizes import NULLS, RETRAINED, Arm
from nulls_dist.benchmark.unlearning.sweep_results import SWEEPS, format_sweeps, write_sweeps
from nulls_dist.benchmark.unlearning.world import GROUPS_FILE, request_file
from nulls_dist.config.overrides import apply_overrides
from nulls_dist.config.presets import PRESETS
from nulls_dist.errors import InputError

Setting = tuple[str, str]
"""Name and value of a setting, as `nulls_dist.pretrain --set` takes them; a value may carry further
settings: "0+model.per_layer=false"."""
_FURTHER: Final = re.compile(r"\+(?=[a-z])")
"""Not the sign of an exponent."""
_LINKED: Final = ("world", "corpus", "corpus-without", GROUPS_FILE)


def sweep(
    *, out: Path, sweeps: Sequence[str], num_seeds: int, is_retrained: bool, jobs: int
) -> None:
    """Train and ask a model per value of each setting, or what is left, and print a table.

    Args:
        out: directory of the benchmark.
        sweeps: "name=value,value" each.
        num_seeds: worlds of the benchmark to train each on, from the first on.
        is_retrained: whether each is also trained without the deleted sources.
        jobs: models that are trained or asked at once.

    Raises:
        ConfigError: a setting or a value does not exist.
        InputError: a sweep is malformed, or the benchmark's seeds are not done.
        NullsError: a training failed.
    """
    lab = open_lab(out)
    settings = [setting for text in sweeps for setting in parse_sweep(text)]
    for setting in settings:
        _check(lab, setting)
    seeds = range(count_done(lab, num_seeds))
    arms = (NULLS, RETRAINED) if is_retrained else (NULLS,)
    tasks = [
        partial(_follow, _begin(lab, setting, seeds), seed, arm)
        for seed in seeds
        for setting in settings
        for arm in arms
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


def settings_of(setting: Setting) -> dict[str, str]:
    """Return every setting that a value stands for, itself first."""
    return dict(part.split("=", 1) for part in _FURTHER.split("=".join(setting)))


def _check(lab: Lab, setting: Setting) -> None:
    """Refuse before the first training what the training command would refuse."""
    settings = {**lab.size.settings, **settings_of(setting)}
    apply_overrides(PRESETS[lab.size.preset](), [f"{key}={each}" for key, each in settings.items()])


def _begin(lab: Lab, setting: Setting, seeds: Sequence[int]) -> Lab:
    """Open the directory of a setting's models."""
    settings = {**lab.size.settings, **settings_of(setting)}
    # What a deletion costs is a finding here: no budget refuses it.
    size = replace(lab.size, settings=settings, max_collateral=1.0)
    root = lab.root / SWEEPS / "=".join(setting)
    changed = begin_lab(root, size)
    for seed in seeds:
        seed_dir = changed.seed_dir(seed)
        seed_dir.mkdir(exist_ok=True)
        for linked in (*_LINKED, request_file(lab, seed).name):
            link = seed_dir / linked
            if not link.is_symlink():
                link.symlink_to(Path("../../..") / lab.seed_dir(seed).name / linked)
    return changed


def _follow(lab: Lab, seed: int, arm: Arm) -> None:
    """Take one model from its training to its answers, before the deletion and after it."""
    train(lab, seed, arm)
    evaluate(lab, seed, arm, TRAINED)
    if arm is NULLS:
        delete(lab, seed, EXCISED)
        describe_sources(lab, seed)
        evaluate(lab, seed, arm, EXCISED)

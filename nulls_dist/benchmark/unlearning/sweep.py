"""`sweep`: train models with other settings on the worlds of a benchmark, delete, and ask them.

Every value has a directory of its own, DIR/sweeps/NAME=VALUE, a benchmark's directory as `lab`
describes it, whose worlds and corpora are links to DIR's. See `sweep_results` for DIR/sweeps.json.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from nulls_dist.benchmark.unlearning.done import count_done
from nulls_dist.benchmark.unlearning.evaluation import evaluate
from nulls_dist.benchmark.unlearning.lab import (
    EXCISED,
    TRAINED,
    Lab,
    begin_lab,
    check_same,
    open_lab,
)
from nulls_dist.benchmark.unlearning.models import delete, train
from nulls_dist.benchmark.unlearning.pool import describe_sources
from nulls_dist.benchmark.unlearning.schedule import run_side_by_side
from nulls_dist.benchmark.unlearning.sizes import NULLS, RETRAINED, Arm
from nulls_dist.benchmark.unlearning.sweep_results import (
    FURTHER,
    SWEEPS,
    format_sweeps,
    write_sweeps,
)
from nulls_dist.benchmark.unlearning.world import GROUPS_FILE, request_file
from nulls_dist.config.overrides import apply_overrides
from nulls_dist.config.presets import PRESETS
from nulls_dist.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A value of a setting, which may carry further settings."""

    text: str
    """Such as "model.first_sink_layer=0+model.per_layer=false"; names the models' directory."""
    settings: Mapping[str, str]
    """All of them, as `nulls_dist.pretrain --set` takes them."""


_NO_BUDGET: Final = 1.0
"""What a deletion costs is a finding here: nothing refuses it."""
_LINKED: Final = ("world", "corpus", "corpus-without", GROUPS_FILE)


def sweep(
    *, out: Path, sweeps: Sequence[str], num_seeds: int, is_retrained: bool, jobs: int
) -> None:
    """Train, ask, delete and ask again, per seed and value, or what is left; print a table.

    Args:
        out: directory of the benchmark.
        sweeps: "name=value,value" each.
        num_seeds: worlds of the benchmark to train each on, from the first on.
        is_retrained: whether each is also trained without the deleted sources.
        jobs: models that are trained or asked at once.

    Raises:
        ConfigError: a sweep is malformed, or a setting or a value does not exist.
        InputError: the benchmark's seeds are not done, or its preset is not what it was.
        NullsError: a training failed.
    """
    lab = open_lab(out)
    check_same(lab, lab.size)
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
        ConfigError: it is not of the form name=value,value+name=value, names a setting twice, or
            contains a slash.
    """
    name, _, values = text.partition("=")
    return [_parse(f"{name.strip()}={value.strip()}", text) for value in values.split(",")]


def _parse(text: str, sweep: str) -> Setting:
    pairs = [part.partition("=") for part in FURTHER.split(text)]
    settings = {name: value for name, _, value in pairs}
    if "/" in text:
        raise ConfigError(f"--set {sweep}: values name directories; leave out '/'")
    if not all(all(pair) for pair in pairs) or len(settings) < len(pairs):
        raise ConfigError(
            f"--set {sweep}: must have the form name=values, such as model.num_active=8,16 or, "
            "with a further setting, model.num_active=8,16+model.sink_dropout=0.1"
        )
    return Setting(text=text, settings=settings)


def _check(lab: Lab, setting: Setting) -> None:
    """Refuse before the first training what the training or the deletion would refuse.

    Raises:
        ConfigError: it would.
    """
    settings = {**lab.size.settings, **setting.settings}
    changes = [f"{key}={each}" for key, each in settings.items()]
    if not apply_overrides(PRESETS[lab.size.preset](), changes).model.has_sinks:
        raise ConfigError(f"--set {setting.text}: leaves no sinks, so nothing could be deleted")


def _begin(lab: Lab, setting: Setting, seeds: Sequence[int]) -> Lab:
    """Open the directory of a setting's models."""
    size = replace(lab.size, settings={**lab.size.settings, **setting.settings})
    changed = begin_lab(lab.root / SWEEPS / setting.text, size)
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
        delete(lab, seed, EXCISED, max_collateral=_NO_BUDGET)
        describe_sources(lab, seed)
        evaluate(lab, seed, arm, EXCISED)

"""The deletion benchmark: the demo's experiment over several seeds, against stated targets."""

import math
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from scipy.stats import t as student_t

from nulls_dist import durable
from nulls_dist.benchmark.commands import Commands
from nulls_dist.benchmark.demo import FULL
from nulls_dist.benchmark.experiment import Experiment
from nulls_dist.benchmark.targets import Target
from nulls_dist.errors import ConfigError

_FIGURES_FILE: Final = "figures.json"
_MIN_SEEDS: Final = 2
_UPPER_95: Final = 0.975


TARGETS: Final = (
    Target(figure="own sinks, unique facts", at_least=0.98),
    Target(figure="deleted, unique facts", at_most=0.10),
    Target(figure="deleted minus retrained", at_most=0.06),
    Target(figure="isolation", at_least=0.93),
    Target(figure="deleted, shared facts", at_least=0.95),
    Target(figure="deleted, facts shared by 10 or more", at_least=0.98),
    Target(figure="kept, unique facts", at_least=0.97),
)


def bench_deletion(work: Path, *, num_seeds: int) -> dict[str, Any]:
    """Run the experiment once per seed; seeds that are done already are not repeated.

    Args:
        work: directory for corpora and models.
        num_seeds: at least 2.

    Returns:
        "seeds" with each seed's figures, "summary" with mean, half-width of the 95 % interval over
        seeds and target of each figure.

    Raises:
        ConfigError: with one seed there is no interval.
    """
    if num_seeds < _MIN_SEEDS:
        raise ConfigError(f"--seeds ({num_seeds}) must be at least {_MIN_SEEDS}, for an interval")
    found = {seed: _figures(work / f"seed-{seed}", seed) for seed in range(num_seeds)}
    targets = {target.figure: target for target in TARGETS}
    summary = {}
    for name in next(iter(found.values())):
        values = [figures[name] for figures in found.values()]
        mean = statistics.mean(values)
        target = targets.get(name)
        summary[name] = {
            "mean": mean,
            "half_width_95": _half_width(values),
            "target": str(target) if target else None,
            "met": target.is_met(mean) if target else None,
        }
    return {
        "seeds": {str(seed): figures for seed, figures in found.items()},
        "summary": summary,
        "articles": FULL.articles,
        "steps": FULL.steps,
    }


def _half_width(values: Sequence[float]) -> float:
    quantile = float(student_t.ppf(_UPPER_95, len(values) - 1))
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def _figures(out: Path, seed: int) -> dict[str, float]:
    done = out / _FIGURES_FILE
    if not done.is_file():
        commands = Commands()
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        result = Experiment(FULL, out, commands, seed=seed).run()
        durable.write_json(done, result.figures)
    figures: dict[str, float] = durable.read_json(done)
    return figures


def format_deletion(result: dict[str, Any]) -> str:
    """Return the summary as a table for a terminal."""
    seeds = list(result["seeds"])
    header = "".join(f"{'seed ' + seed:>9}" for seed in seeds)
    lines = [f"{'':<38}{'mean':>7}{'+-':>7}{header}  target"]
    for name, row in result["summary"].items():
        values = "".join(f"{result['seeds'][seed][name]:>9.3f}" for seed in seeds)
        verdict = (
            "" if row["met"] is None else f"  {row['target']}: {'met' if row['met'] else 'MISSED'}"
        )
        lines.append(f"{name:<38}{row['mean']:>7.3f}{row['half_width_95']:>7.3f}{values}{verdict}")
    return "\n".join(lines)

"""results.json: what a benchmark found, with everything needed to do it again.

    format_version    of this file
    size              every field of `sizes.Size`
    seeds             from 0 on
    measured_on       command, hardware, versions
    seconds           step -> wall time per seed, in order of the seeds; steps ran side by side
    commands          step -> the command that the first seed ran
    configuration     arm -> configuration of its training, resolved, as the first seed's run had it
    figures           name -> `MetricResult.to_dict()` over all seeds (name, variant, formula,
                      direction, source, group, value, n, interval, details), and "per_seed": seed
                      -> {"value", "interval", "details"} of that seed alone
    facts             one entry per model, state, group and kind of fact: arm, checkpoint, state,
                      group, kind, n, and accuracy, nll, preference, each {"value", "low", "high"}
    power             whether it can tell anything, see `power`
    targets           one entry per target: figure, target, value, met, per_seed (seed -> met);
                      value and met are null where there was nothing to compute the figure from

Values that are undefined are null. All of it but times and provenance follows from the tables
(`tables`) and the records of steps; running the same command again computes it anew.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa

from nulls_dist import durable
from nulls_dist.benchmark.provenance import describe_measurement
from nulls_dist.benchmark.targets import Target
from nulls_dist.benchmark.unlearning.backbone import measure_backbone
from nulls_dist.benchmark.unlearning.figures import Evidence, Figures, clusters_of, measure
from nulls_dist.benchmark.unlearning.inference import measure_membership
from nulls_dist.benchmark.unlearning.lab import RESULTS_FILE, Lab
from nulls_dist.benchmark.unlearning.measures import describe_sharing
from nulls_dist.benchmark.unlearning.power import judge_power
from nulls_dist.benchmark.unlearning.recitation import measure_recitation
from nulls_dist.benchmark.unlearning.tables import column, select
from nulls_dist.eval.metrics.intervals import clustered_mean

FORMAT_VERSION: Final = 1
_PER_SEED: Final = ("value", "interval", "details")

_UNIQUE: Final = "deleted sources, unique facts"
TARGETS: Final = (
    # Before anything else: what was never known cannot be deleted.
    Target(figure=f"answer accuracy: {_UNIQUE}, own sinks", at_least=0.98),
    Target(figure="isolation: off", at_least=0.97),
    Target(figure="isolation: excised", at_least=0.97),
    Target(figure="isolation: nearest", at_least=0.98),
    Target(figure=f"preference: {_UNIQUE}, off", at_most=0.55),
    Target(figure=f"preference: {_UNIQUE}, excised", at_most=0.55),
    Target(figure=f"preference: {_UNIQUE}, nearest", at_most=0.55),
    Target(figure="answer accuracy: deleted sources, shared by 3, off", at_least=0.95),
    Target(figure="answer accuracy: deleted sources, shared by 10 or more, off", at_least=0.98),
    Target(
        figure="distance of the interval from 0: deleted sources, rule-based facts, off",
        at_most=0.0,
    ),
    Target(figure="validation loss beyond the dense model's", at_most=0.0),
    Target(figure="collateral beyond the forecast", at_most=0.0),
)


def compute(evidence: Evidence) -> dict[str, Any]:
    """Return what follows from the tables: figures, facts and targets."""
    figures = _all_figures(evidence)
    per_seed = {seed: _all_figures(evidence.of_seed(seed)) for seed in evidence.seeds}
    return {
        "figures": {
            name: {
                **result.to_dict(),
                "per_seed": {
                    str(seed): {part: found[name].to_dict()[part] for part in _PER_SEED}
                    for seed, found in per_seed.items()
                    if name in found
                },
            }
            for name, result in figures.items()
        },
        "facts": list(_facts(evidence)),
        "power": judge_power(evidence),
        "targets": [_verdict(target, figures, per_seed) for target in TARGETS],
    }


def write_results(lab: Lab, *, num_seeds: int) -> dict[str, Any]:
    """Compute everything and write DIR/results.json.

    Args:
        lab: a benchmark whose steps are done.
        num_seeds: its seeds.

    Returns:
        What was written.
    """
    results = {
        "format_version": FORMAT_VERSION,
        "size": lab.size.to_dict(),
        "seeds": list(range(num_seeds)),
        "measured_on": describe_measurement(),
        **_steps(lab, num_seeds),
        "configuration": {
            arm.name: durable.read_json(lab.run_dir(0, arm) / "run.json")["config"]
            for arm in lab.size.arms
        },
        **compute(Evidence.read(lab.root)),
    }
    durable.write_json(lab.root / RESULTS_FILE, results)
    return results


def format_results(results: Mapping[str, Any]) -> str:
    """Return the targets and what was found as a table for a terminal."""
    seeds = [str(seed) for seed in results["seeds"]]
    width = max(len(entry["figure"]) for entry in results["targets"])
    header = "".join(f"{'seed ' + seed:>9}" for seed in seeds)
    lines = [f"{'':<{width}}{'all':>8}{'95 % interval':>18}{header}  target"]
    for entry in results["targets"]:
        figure = results["figures"].get(entry["figure"])
        if figure is None:
            lines.append(f"{entry['figure']:<{width}}  nothing to compute it from")
            continue
        parts = [figure["per_seed"].get(seed, {}).get("value") for seed in seeds]
        lines.append(
            f"{entry['figure']:<{width}}{_number(figure['value']):>8}"
            f"{_range(figure['interval']):>18}{''.join(f'{_number(each):>9}' for each in parts)}"
            f"  {entry['target']}: {'met' if entry['met'] else 'MISSED'}"
        )
    return "\n".join([*lines, results["power"]["verdict"]])


def _all_figures(evidence: Evidence) -> Figures:
    return (
        measure(evidence)
        | measure_backbone(evidence)
        | measure_recitation(evidence)
        | measure_membership(evidence)
    )


def _verdict(target: Target, figures: Figures, per_seed: Mapping[int, Figures]) -> dict[str, Any]:
    def met(found: Figures) -> bool | None:
        result = found.get(target.figure)
        return None if result is None else target.is_met(result.value)

    result = figures.get(target.figure)
    return {
        "figure": target.figure,
        "target": str(target),
        "value": None if result is None else result.to_dict()["value"],
        "met": met(figures),
        "per_seed": {str(seed): met(found) for seed, found in per_seed.items()},
    }


_MODEL_STATE: Final = ("arm", "checkpoint", "state", "group")


def _facts(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Yield accuracy, NLL and preference of every kind of fact in every state of every model."""
    labels = pa.array(_kinds(evidence), pa.string())
    answers = evidence.answers.append_column("label", labels)
    names = [*_MODEL_STATE, "label"]
    groups = answers.group_by(names).aggregate([]).sort_by([(name, "ascending") for name in names])
    for group in groups.to_pylist():
        rows = select(answers, **group)
        clusters = clusters_of(rows)
        values = {
            "accuracy": column(rows, "correct").astype(np.float64),
            "nll": column(rows, "nll"),
            "preference": column(rows, "preference"),
        }
        yield {
            **{name: group[name] for name in _MODEL_STATE},
            "kind": group["label"],
            "n": len(rows),
            **{name: _with_interval(each, clusters) for name, each in values.items()},
        }


def _kinds(evidence: Evidence) -> list[str]:
    """Return what facts are of each row: kind, and how shared, which rule, or which phrasing."""
    answers = evidence.answers
    sharing = describe_sharing(column(answers, "multiplicity"), evidence.sharing_levels)
    rows = zip(
        *(column(answers, name) for name in ("kind", "attribute", "held_out")),
        sharing,
        strict=True,
    )
    words = {True: "held-out", False: "seen"}
    return [
        {
            "unique": f"unique, {words[bool(held_out)]} phrasing",
            "shared": f"shared by {number}",
            "inferable": f"inferable: {attribute}",
        }[kind]
        for kind, attribute, held_out, number in rows
    ]


def _with_interval(values: Any, clusters: Any) -> dict[str, float | None]:
    interval = clustered_mean(values, clusters)
    return {
        "value": float(values.mean()),
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
    }


def _steps(lab: Lab, num_seeds: int) -> dict[str, Any]:
    """Return how long each step took, and the commands of the first seed."""
    records = [
        {path.stem: durable.read_json(path) for path in sorted(folder.glob("*.json"))}
        for folder in (lab.record(seed, "any").parent for seed in range(num_seeds))
    ]
    return {
        "seconds": {
            step: [found[step]["seconds"] for found in records if step in found]
            for step in records[0]
        },
        "commands": {
            step: record["command"] for step, record in records[0].items() if "command" in record
        },
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _range(interval: Mapping[str, Any] | None) -> str:
    return "-" if interval is None else f"[{interval['low']:.3f}, {interval['high']:.3f}]"

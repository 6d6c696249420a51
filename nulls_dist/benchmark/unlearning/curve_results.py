"""curves.json: what a deletion costs and leaves by its size.

    format_version    of this file
    size              name of the benchmark's size
    seeds             from 0 on
    measured_on       command, hardware, versions
    seconds           step -> wall time per seed, in order of the seeds
    deleted_sources   one entry per number of deleted sources, ascending, sets nested:
        num_deleted, num_kept    sources of the first seed's corpus
        pool_wiped               share of all sinks, mean of seeds
        figures                  name -> `MetricResult.to_dict()` over all seeds, and "per_seed":
                                 seed -> {"value", "interval", "n"}:
                                 "collateral found", "collateral forecast", "collateral beyond the
                                 forecast": unique facts of the kept sources that are asked, own
                                 sinks; "isolation: excised", "isolation: nearest": of those deleted
                                 sources that the retrained model never saw (details: acc_on,
                                 acc_deleted, acc_retrained)
    shared_facts      one entry per state ("off", "nearest"), multiplicity (sources of the world
                      that state a fact) and number of them that remain in the corpus: state,
                      multiplicity, remaining, num_facts, num_deleted (mean), and figure, as above:
                      accuracy of the first deleted source's questions about the fact

Excision changes sinks alone: off, which a fact in the backbone answers, is the same for any number
that remains. Values that are undefined are null. All of it but times and provenance follows from
the tables in DIR/curves and the records of steps.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa

from nulls_dist import durable
from nulls_dist.benchmark.provenance import describe_measurement
from nulls_dist.benchmark.unlearning import deletion_curve, measures, shared_curve
from nulls_dist.benchmark.unlearning.figures import (
    OWN,
    RETRAINED_NEAREST,
    RETRAINED_OFF,
    Asked,
    Evidence,
    Figures,
    check_paired,
    clusters_of,
    mean_of,
)
from nulls_dist.benchmark.unlearning.lab import Lab
from nulls_dist.benchmark.unlearning.tables import ANSWERS, Floats, column, read_tables, select
from nulls_dist.benchmark.unlearning.world import DELETED, KEPT
from nulls_dist.eval.metrics import likelihood

FORMAT_VERSION: Final = 1
CURVES_FILE: Final = "curves.json"
_ISOLATION: Final = {
    "excised": ("on", RETRAINED_OFF),
    "nearest": ("nearest", RETRAINED_NEAREST),
}
"""Name -> the state in which deleted sources are asked, and the retrained model to compare with."""
_SHARED: Final = likelihood.ANSWER_ACCURACY.with_variant(
    "greedy, full stop included; asked of the first deleted of the sources that state the fact"
)

Records = Mapping[int, Mapping[str, Any]]
"""Seed -> the record of a deletion's step."""


def write_curves(lab: Lab, *, num_seeds: int) -> dict[str, Any]:
    """Compute the curves of seeds whose steps are done and write DIR/curves.json.

    Returns:
        What was written.
    """
    seeds = range(num_seeds)
    steps = [*map(deletion_curve.step_of, deletion_curve.counts_of(lab.size)), shared_curve.STEP]
    records = {
        step: {seed: durable.read_json(lab.record(seed, step)) for seed in seeds} for step in steps
    }
    before = Evidence.read(lab.root)
    results = {
        "format_version": FORMAT_VERSION,
        "size": lab.size.name,
        "seeds": list(seeds),
        "measured_on": describe_measurement(),
        "seconds": {
            step: [record["seconds"] for record in found.values()]
            for step, found in records.items()
        },
        "deleted_sources": [
            deletion_entry(
                before,
                _of_seeds(read_tables(lab.root / deletion_curve.folder_of(count), ANSWERS), seeds),
                records[deletion_curve.step_of(count)],
            )
            for count in deletion_curve.counts_of(lab.size)
        ],
        "shared_facts": list(
            shared_entries(_of_seeds(read_tables(lab.root / shared_curve.FOLDER, ANSWERS), seeds))
        ),
    }
    durable.write_json(lab.root / CURVES_FILE, results)
    return results


def _of_seeds(answers: pa.Table, seeds: range) -> pa.Table:
    return select(answers, seed=tuple(seeds))


def deletion_entry(before: Evidence, after: pa.Table, records: Records) -> dict[str, Any]:
    """Return what a deletion of one size did.

    Args:
        before: the benchmark's tables.
        after: answers after it.
        records: of its steps.
    """
    first = next(iter(records.values()))
    return {
        "num_deleted": first["num_deleted"],
        "num_kept": first["num_kept"],
        "pool_wiped": float(np.mean([record["pool_wiped"] for record in records.values()])),
        "figures": _per_seed(after, lambda rows: _deletion_figures(before, rows, records)),
    }


def shared_entries(answers: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield what became of shared facts, by state, multiplicity and what remains."""
    names = ["state", "multiplicity", "remaining"]
    groups = answers.group_by(names).aggregate([]).sort_by([(name, "ascending") for name in names])
    for group in groups.to_pylist():
        rows = select(answers, **group)
        label = f"shared by {group['multiplicity']}, {group['state']}"
        figures = _per_seed(rows, partial(_accuracy, label))
        (figure,) = figures.values()
        facts = rows.group_by(["seed", "fact_id"]).aggregate([])
        yield {
            **group,
            "num_facts": len(facts),
            "num_deleted": float((column(rows, "taught") - column(rows, "remaining")).mean()),
            "figure": figure,
        }


def _accuracy(group: str, rows: pa.Table) -> Figures:
    return mean_of(_SHARED, group, rows, "correct")


def _per_seed(rows: pa.Table, measure: Callable[[pa.Table], Figures]) -> dict[str, Any]:
    """Return figures of all seeds, and of each alone."""
    seeds = np.unique(column(rows, "seed")).tolist()
    alone = {seed: measure(select(rows, seed=seed)) for seed in seeds}
    return {
        name: {
            **result.to_dict(),
            "per_seed": {
                str(seed): {
                    part: found[name].to_dict()[part] for part in ("value", "interval", "n")
                }
                for seed, found in alone.items()
                if name in found
            },
        }
        for name, result in measure(rows).items()
    }


def _deletion_figures(before: Evidence, after: pa.Table, records: Records) -> Figures:
    figures = _collateral(before, select(after, group=KEPT), records)
    for name, (state, retrained) in _ISOLATION.items():
        gone = select(after, group=DELETED, state=state)
        own, never = (_same(before, asked, gone) for asked in (OWN, retrained))
        check_paired(own, gone, never)
        right = [_right(each) for each in (own, gone, never)]
        group = f"deleted sources, unique facts, {name}"
        figures[f"isolation: {name}"] = measures.isolation(
            *right, clusters=clusters_of(gone), group=group
        )
    return figures


def _collateral(before: Evidence, kept: pa.Table, records: Records) -> Figures:
    own = _same(before, OWN, kept)
    check_paired(own, kept)
    keys = zip(column(kept, "seed").tolist(), column(kept, "source_id").tolist(), strict=True)
    forecast = np.array([records[seed]["lost_share"][str(source)] for seed, source in keys])
    planned = [
        records[seed]["mean_lost_share"] for seed in np.unique(column(kept, "seed")).tolist()
    ]
    return measures.collateral(
        _right(own) - _right(kept), forecast, clusters_of(kept), planned=float(np.mean(planned))
    )


def _same(before: Evidence, asked: Asked, rows: pa.Table) -> pa.Table:
    """Return another model's answers to the questions of some rows."""
    return pa.concat_tables(
        select(
            before.facts(asked, kind="unique"),
            seed=seed,
            source_id=tuple(column(select(rows, seed=seed), "source_id").tolist()),
        )
        for seed in np.unique(column(rows, "seed")).tolist()
    )


def _right(answers: pa.Table) -> Floats:
    right: Floats = column(answers, "correct").astype(np.float64)
    return right


def format_curves(results: Mapping[str, Any]) -> str:
    """Return both curves as tables for a terminal."""
    names = [
        *("collateral found", "collateral forecast", "collateral beyond the forecast"),
        *("isolation: excised", "isolation: nearest"),
    ]
    lines = ["deleted     pool" + "".join(f"{name:>32}" for name in names)]
    for entry in results["deleted_sources"]:
        cells = "".join(f"{_with_interval(entry['figures'][name]):>32}" for name in names)
        lines.append(f"{entry['num_deleted']:>7}{entry['pool_wiped']:>9.3f}{cells}")
    lines.append("\nshared facts: accuracy by the sources that remain")
    lines += [
        f"  by {entry['multiplicity']:>2}, {entry['state']:<8}{entry['remaining']:>3} remain "
        f"{_with_interval(entry['figure']):>24}  {entry['num_facts']} facts"
        for entry in results["shared_facts"]
    ]
    return "\n".join(lines)


def _with_interval(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "-"
    between = figure["interval"]
    ends = "" if between is None else f" [{between['low']:.3f}, {between['high']:.3f}]"
    return f"{figure['value']:.3f}{ends}"

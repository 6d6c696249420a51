"""How to do it again: size, configurations, commands, versions, times; and every figure."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from nulls_dist.benchmark.unlearning.page.findings import Findings
from nulls_dist.benchmark.unlearning.page.parts import MISSING, Section, Table, limits, number
from nulls_dist.config.flatten import flatten


def build_provenance(findings: Findings) -> Section | None:
    """Return the section."""
    results = findings.results
    return Section(
        title="How it was made",
        lead="Everything follows from these commands and seeds. Steps ran side by side, so times "
        "do not add up to that of the whole.",
        tables=(
            _pairs("Size of the benchmark", {**results["size"], "seeds": results["seeds"]}),
            _pairs("Measured on", results["measured_on"]),
            *_configurations(results["configuration"]),
            _seconds(results),
            _pairs("Commands of the first seed", results["commands"], folded=True),
        ),
    )


def build_all_figures(findings: Findings) -> Section | None:
    """Return the section of every figure, a table per measure and its formula."""
    figures = sorted(findings.results["figures"].values(), key=_measure)
    seeds = [str(seed) for seed in findings.results["seeds"]]
    return Section(
        title="Every figure",
        lead="The figures of results.json, by measure; intervals are 95%, whole sources drawn.",
        tables=tuple(
            Table(
                caption=_describe(measure),
                header=(
                    "group",
                    "value",
                    "interval",
                    "n",
                    *(f"seed {seed}" for seed in seeds),
                    "details",
                ),
                rows=tuple(_row(figure, seeds) for figure in each),
                folded=True,
            )
            for measure, each in groupby(figures, key=_measure)
        ),
    )


def _measure(figure: Mapping[str, Any]) -> tuple[str, ...]:
    parts = ("name", "variant", "formula", "direction", "source")
    return tuple(str(figure[part]) for part in parts)


def _describe(measure: tuple[str, ...]) -> str:
    name, variant, formula, direction, source = measure
    of_variant = f" ({variant})" if variant else ""
    return f"{name}{of_variant}: {formula}. {direction}. Source: {source}"


def _row(figure: Mapping[str, Any], seeds: list[str]) -> tuple[str, ...]:
    per_seed = (figure["per_seed"].get(seed, {}).get("value") for seed in seeds)
    details = ", ".join(
        f"{name} {MISSING if value is None else format(value, '.4g')}"
        for name, value in figure["details"].items()
    )
    return (
        figure["group"],
        number(figure["value"]),
        limits(figure["interval"]),
        f"{figure['n']:,}",
        *map(number, per_seed),
        details,
    )


def _pairs(caption: str, values: Mapping[str, Any], *, folded: bool = False) -> Table:
    rows = tuple((name, _text(value)) for name, value in flatten(values))
    return Table(caption=caption, header=("", ""), rows=rows, folded=folded)


def _configurations(configurations: Mapping[str, Mapping[str, Any]]) -> tuple[Table, Table]:
    """Return what differs between the arms' resolved configurations, and what does not."""
    arms = {name: dict(flatten(each)) for name, each in configurations.items()}
    fields = dict.fromkeys(field for each in arms.values() for field in each)
    cells = {field: [_text(each.get(field)) for each in arms.values()] for field in fields}
    differing = {field: each for field, each in cells.items() if len(set(each)) > 1}
    common = {field: each[0] for field, each in cells.items() if field not in differing}
    return (
        Table(
            caption="Resolved configuration: fields that differ between models",
            header=("field", *arms),
            rows=tuple((field, *each) for field, each in differing.items()),
        ),
        _pairs("Resolved configuration: fields that all models share", common, folded=True),
    )


def _seconds(results: Mapping[str, Any]) -> Table:
    seeds = [f"seed {seed}" for seed in results["seeds"]]
    rows = []
    for step, seconds in results["seconds"].items():
        cells = [f"{each:,.1f}" for each in seconds]
        rows.append((step, *cells, *[MISSING] * (len(seeds) - len(cells))))
    return Table(caption="Wall time per step, seconds", header=("step", *seeds), rows=tuple(rows))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)

"""More deletions: what is kept and what is gone as more and more sources are deleted."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from nulls_dist.benchmark.drawing import INK, mark_chance, new_figure, to_svg
from nulls_dist.benchmark.unlearning.page.findings import Estimate, Findings, estimate_of
from nulls_dist.benchmark.unlearning.page.parts import (
    Chart,
    Section,
    Table,
    count_seeds,
    number,
    with_limits,
)
from nulls_dist.benchmark.unlearning.page.shapes import (
    MARKERS,
    colour_of,
    draw_estimate,
)

_FOUND: Final = "collateral found"
_FORECAST: Final = "collateral forecast"
_BEYOND: Final = "collateral beyond the forecast"
_WAYS: Final = ("excised", "nearest")
_ACCURACIES: Final = {
    "own sinks": ("excised", "acc_on"),
    "excised": ("excised", "acc_deleted"),
    "nearest": ("nearest", "acc_deleted"),
    "retrained, off": ("excised", "acc_retrained"),
}
"""Model in a state -> the isolation that was computed from its accuracy, and the detail of it."""
_APART: Final = 1.9
"""Least ratio of neighbouring labels."""
_SHADES: Final = ("#8fbde0", "#1b6ca8", "#12385c", "#000000")
_SHAPES: Final = "os^D"

Entry = Mapping[str, Any]


def build_deletions(findings: Findings) -> Section | None:
    """Return the section, None where no curve was taken."""
    curves = findings.curves
    if curves is None:
        return None
    charts, tables = [], []
    if curves["deleted_sources"]:
        charts.append(_deleted_chart(curves))
        tables.append(_deleted_table(curves["deleted_sources"]))
    if curves["shared_facts"]:
        charts.append(_shared_chart(curves))
        tables.append(_shared_table(curves["shared_facts"]))
    return Section(
        title="More and more deletions",
        lead="Sources are deleted from the trained model one set after another, each containing "
        "the one before. Every deletion wipes sinks that kept sources partly use, so collateral "
        "grows; what deleted sources alone taught should be gone at any number.",
        charts=tuple(charts),
        tables=tuple(tables),
    )


def _deleted_chart(curves: Mapping[str, Any]) -> Chart:
    entries = curves["deleted_sources"]
    figure, (left, middle, right) = new_figure(2.8, columns=3)
    counts = [entry["num_deleted"] for entry in entries]
    _draw_line(left, counts, _estimates(entries, _FOUND), "excised", label="found")
    forecast = [estimate.value for estimate in _estimates(entries, _FORECAST)]
    left.plot(counts, forecast, color=INK, linewidth=1.2, linestyle="--", label="forecast")
    mark_chance(left, 0.0, upright=False)
    left.set(title="Kept: share lost", ylabel="of unique facts")
    for state, (way, detail) in _ACCURACIES.items():
        values = [entry["figures"][f"isolation: {way}"]["details"].get(detail) for entry in entries]
        _draw_line(middle, counts, [Estimate(value=value) for value in values], state)
    middle.set(title="Deleted: right answers", ylim=(-0.03, 1.04))
    for way, shift in zip(_WAYS, (0.95, 1.05), strict=True):
        places = [shift * count for count in counts]
        _draw_line(right, places, _estimates(entries, f"isolation: {way}"), way)
    mark_chance(right, 1.0, upright=False)
    right.set(title="Deleted: isolation")
    for axes in (left, middle, right):
        _number_deletions(axes, counts)
        axes.legend(loc="best", fontsize=7.5)
    return Chart(
        svg=Markup(to_svg(figure)),
        caption="Unique facts over the number of deleted sources. Left: what kept sources lose, "
        "before minus after, against the planner's forecast. Middle: deleted sources that the "
        "retrained model never saw, before the deletion, after it in two ways, and retrained; "
        "counted, without interval. Right: isolation, 1 (dotted): as retrained. Marker: all "
        "seeds; rings: single seeds; line: 95% interval, whole sources drawn. "
        f"{count_seeds(curves)}; n in the table.",
    )


def _estimates(entries: Sequence[Entry], name: str) -> list[Estimate]:
    return [estimate_of(entry["figures"][name]) for entry in entries]


def _draw_line(
    axes: Any,
    places: Sequence[float],
    estimates: Sequence[Estimate],
    state: str,
    *,
    label: str = "",
) -> None:
    """Draw values with intervals, and a line through those that are there."""
    colour, marker = colour_of(state), MARKERS[state]
    points = [
        (place, estimate)
        for place, estimate in zip(places, estimates, strict=True)
        if estimate.value is not None
    ]
    for place, estimate in points:
        draw_estimate(axes, estimate, place, colour=colour, upright=True, marker=marker)
    line = {"color": colour, "linewidth": 1, "marker": marker, "markersize": 4}
    values = [estimate.value for _, estimate in points]
    axes.plot([place for place, _ in points], values, label=label or state, **line)


def _number_deletions(axes: Any, counts: Sequence[int]) -> None:
    """Scale logarithmically and label the counts, those that would touch another left out."""
    from matplotlib.ticker import NullLocator  # heavy, and needed for reports only

    labelled: list[int] = []
    for count in counts:
        if not labelled or count >= _APART * labelled[-1]:
            labelled.append(count)
    axes.set(xlabel="sources deleted", xscale="log")
    axes.xaxis.set_ticks(labelled, [f"{count:,}" for count in labelled], fontsize=7.5)
    axes.xaxis.set_minor_locator(NullLocator())


def _deleted_table(entries: Sequence[Entry]) -> Table:
    names = (_FOUND, _FORECAST, _BEYOND, *(f"isolation: {way}" for way in _WAYS))
    asked = sorted({entry["figures"][_FOUND]["n"] for entry in entries})
    return Table(
        caption="Deletions of growing size: what kept sources lose, and isolation, with 95% "
        f"interval; n of kept sources: {', '.join(f'{count:,}' for count in asked)}",
        header=("deleted", "sinks wiped", *names, "n deleted"),
        rows=tuple(
            (
                f"{entry['num_deleted']:,}",
                number(entry["pool_wiped"]),
                *(with_limits(entry["figures"][name]) for name in names),
                f"{entry['figures']['isolation: excised']['n']:,}",
            )
            for entry in entries
        ),
    )


def _shared_chart(curves: Mapping[str, Any]) -> Chart:
    entries = curves["shared_facts"]
    states = sorted({entry["state"] for entry in entries}, reverse=True)
    numbers = sorted({entry["multiplicity"] for entry in entries})
    left_over = sorted({entry["remaining"] for entry in entries}, reverse=True)
    figure, grid = new_figure(2.8, columns=len(states), sharey=True, squeeze=False)
    for axes, state in zip(grid[0], states, strict=True):
        for index, multiplicity in enumerate(numbers):
            mine = [
                entry
                for entry in entries
                if (entry["state"], entry["multiplicity"]) == (state, multiplicity)
            ]
            mine.sort(key=lambda entry: -entry["remaining"])
            shift = 0.1 * (index - (len(numbers) - 1) / 2)
            places = [left_over.index(entry["remaining"]) + shift for entry in mine]
            _draw_shared(axes, places, mine, index)
        axes.set_xticks(range(len(left_over)), [_remain(count) for count in left_over])
        axes.set(xlabel="sources left that state the fact", title=state, ylim=(-0.03, 1.04))
    grid[0][0].set_ylabel("right answers")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=len(numbers), loc="outside upper left")
    return Chart(
        svg=Markup(to_svg(figure)),
        caption="Facts that m sources of the world state, as these are deleted one after another, "
        "every fact from the trained model by itself; at the right end all are gone. The first of "
        "them to go is asked, off (backbone alone) or with the sinks of the nearest source that is "
        "left. Excision changes sinks alone, so off stays as it is: what the backbone knows is not "
        "taken by deleting sources. Marker: all seeds; rings: single seeds; line: 95% interval, "
        f"whole sources drawn. {count_seeds(curves)}; facts and n in the table.",
    )


def _draw_shared(axes: Any, places: Sequence[float], entries: Sequence[Entry], index: int) -> None:
    colour, marker = (every[index % len(_SHADES)] for every in (_SHADES, _SHAPES))
    estimates = [estimate_of(entry["figure"]) for entry in entries]
    for place, estimate in zip(places, estimates, strict=True):
        draw_estimate(axes, estimate, place, colour=colour, upright=True, marker=marker)
    label = f"m = {entries[0]['multiplicity']}" if entries else ""
    values = [estimate.value for estimate in estimates]
    axes.plot(places, values, color=colour, linewidth=1, marker=marker, markersize=4, label=label)


def _remain(count: int) -> str:
    return str(count) if count else "0: all gone"


def _shared_table(entries: Sequence[Entry]) -> Table:
    return Table(
        caption="Shared facts by the sources that are left, with 95% interval",
        header=("m, state", "left", "deleted, mean", "facts", "right answers", "n"),
        rows=tuple(
            (
                f"{entry['multiplicity']}, {entry['state']}",
                str(entry["remaining"]),
                f"{entry['num_deleted']:.1f}",
                f"{entry['num_facts']:,}",
                with_limits(entry["figure"]),
                f"{entry['figure']['n']:,}",
            )
            for entry in entries
        ),
        folded=True,
    )

"""Sweeps: what settings buy and cost, the benchmark's own model beside those with others."""

import re
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, Final

from markupsafe import Markup

from nulls_dist.benchmark.drawing import (
    mark_chance,
    new_figure,
    to_svg,
)
from nulls_dist.benchmark.unlearning.page.findings import Estimate, Findings
from nulls_dist.benchmark.unlearning.page.labels import Label, draw_labels
from nulls_dist.benchmark.unlearning.page.load import build_load
from nulls_dist.benchmark.unlearning.page.parts import (
    Chart,
    Section,
    Table,
    limits,
    number,
)
from nulls_dist.benchmark.unlearning.page.shapes import colour_of, draw_estimate
from nulls_dist.benchmark.unlearning.page.swept import estimate_of_cell, is_alone, name_seeds
from nulls_dist.benchmark.unlearning.sweep_results import COLUMNS, on_seeds
from nulls_dist.config.flatten import flatten

_SHARED: Final = "shared 3, all"
_TRADES: Final = {"AUC off, all": 0.5, "isolation off": 1.0}
"""What is traded against shared facts -> its value after a perfect deletion."""
_TRADE_LABELS: Final = {
    "AUC off, all": "AUC of unique facts, off",
    "isolation off": "isolation of unique facts, off",
}
_FACTS: Final = {
    "own": ("own sinks", "-", "s"),
    "off": ("off", "-", "o"),
    _SHARED: ("off", "--", "^"),
}
_LOSSES: Final = {"loss own": ("own sinks", "-", "s"), "loss off": ("off", "-", "o")}
"""Column -> state, whose colour it has, dashes and marker."""
_LABELS: Final = {
    "own": "unique facts, own sinks",
    "off": "unique facts, off",
    _SHARED: "shared by 3, off",
    "loss own": "loss, own sinks",
    "loss off": "loss, off",
}
_SERIES: Final = ("#2a7f62", "#8a4f9e", "#b0892b", "#555555", "#7fb8a0", "#c39bd0")
_SHAPES: Final = "os^Dv<"
_SECTION: Final = re.compile(r"\+[a-z]+\.")
_COLUMNS: Final = 4
"""At most, side by side."""

Model = Mapping[str, Any]
Seeds = tuple[int, ...]


def build_sweeps(findings: Findings) -> Section | None:
    """Return the section, None where no model with another setting was asked."""
    if findings.sweeps is None:
        return None
    sets = _sets_of_seeds(findings.sweeps["models"])
    if not sets:
        return None
    total = len(findings.sweeps["models"])
    models = {seeds: _with_seeds(findings.sweeps["models"], seeds) for seeds in sets}
    widest = max(sets, key=lambda seeds: (len(models[seeds]), len(seeds)))
    trades = dict.fromkeys((widest, sets[-1]))  # of most models, and on most seeds
    alone = [each for each in models[widest] if is_alone(each)]
    settings = _settings(alone)
    charts = ceil(len(settings) / _COLUMNS)
    chunks = [settings[place::charts] for place in range(charts)]
    return Section(
        title="Sweeps",
        lead="The benchmark's model is trained again with other settings, on the same worlds, "
        "with the same initial values. A setting is better where shared facts survive and "
        "deleted ones do not, which other settings trade against each other.",
        charts=(
            *(
                _trade_chart(models[seeds], seeds, left_out=total - len(models[seeds]))
                for seeds in trades
            ),
            *(_capacity_chart(alone, each, widest) for each in chunks),
            *build_load(alone, widest),
        ),
        tables=(_table(models), _details(models)),
    )


def _sets_of_seeds(models: Sequence[Model]) -> list[Seeds]:
    """Return the sets of seeds that a changed model was trained on, single ones first."""
    found = {
        tuple(each["seeds"]) for model in models if model["setting"] for each in model["measured"]
    }
    return sorted(found, key=lambda seeds: (len(seeds), seeds))


def _with_seeds(models: Sequence[Model], seeds: Seeds) -> list[Model]:
    """Return the models that were trained on a set of seeds, each with what it did there."""
    found = ((model, on_seeds(model, seeds)) for model in models)
    return [{**model, **measured} for model, measured in found if measured]


def _settings(models: Sequence[Model]) -> list[str]:
    return list(dict.fromkeys(each["setting"] for each in models if each["setting"]))


def _name(model: Model) -> str:
    return f"{model['setting']} = {model['value']}" if model["setting"] else "as it is"


def _trade_chart(models: Sequence[Model], seeds: Seeds, *, left_out: int) -> Chart:
    settings = _settings(models)
    points = {column: _trade_points(models, column) for column in _TRADES}
    shown = [column for column, found in points.items() if len(found) > 1]
    figure, panels = new_figure(4.4, columns=max(len(shown), 1), squeeze=False)
    for axes, column in zip(panels[0], shown, strict=False):
        for model, pair in points[column]:
            _draw_point(axes, model, pair, settings)
        mark_chance(axes, _TRADES[column], upright=False)
        axes.set(xlabel="right answers, facts shared by 3, off", ylabel=_TRADE_LABELS[column])
        axes.margins(0.08)
    _add_legend(figure, settings)
    for axes, column in zip(panels[0], shown, strict=False):
        draw_labels(figure, axes, [_label(*point, settings) for point in points[column]])
    lacking = {_TRADE_LABELS[column]: len(models) - len(points[column]) for column in _TRADES}
    return Chart(
        svg=Markup(to_svg(figure)),
        caption="What survives against what is gone: facts that three sources state, asked of the "
        "backbone alone (to the right is better), against the mean preference for right answers of "
        "unique facts (AUC) and, where retrained models were trained, against isolation of unique "
        "facts of deleted sources; dotted: as guessed, or retrained. Shared facts and the "
        "preference are asked of deleted and kept sources, as no deletion changes the backbone. "
        "Star: the benchmark's own setting; numbers: value of the setting; grey: 95% intervals, "
        f"whole sources drawn. {name_seeds(seeds)}. Models that lack a figure: "
        + "; ".join(f"{count} ({label})" for label, count in lacking.items())
        + f"; that were not trained on all of these seeds: {left_out}.",
    )


def _trade_points(models: Sequence[Model], column: str) -> list[tuple[Model, list[Estimate]]]:
    """Return the models that have both figures, and these: shared facts, and a column."""
    pairs = [
        (model, [estimate_of_cell(model["figures"][each]) for each in (_SHARED, column)])
        for model in models
    ]
    return [(model, pair) for model, pair in pairs if all(each.value is not None for each in pair)]


def _style(model: Model, settings: Sequence[str]) -> tuple[str, str, int]:
    """Return colour, marker and size of a model."""
    if model["setting"] is None:
        return "#111111", "*", 13
    index = settings.index(model["setting"]) % len(_SERIES)
    return _SERIES[index], _SHAPES[index], 6


def _draw_point(axes: Any, model: Model, pair: Sequence[Estimate], settings: Sequence[str]) -> None:
    shared, traded = pair
    colour, marker, size = _style(model, settings)
    grey = {"color": "#d5d5d5", "linewidth": 1, "zorder": 1}
    if shared.low is not None:
        axes.hlines(traded.value, shared.low, shared.high, **grey)
    if traded.low is not None:
        axes.vlines(shared.value, traded.low, traded.high, **grey)
    axes.plot(shared.value, traded.value, marker, color=colour, markersize=size, zorder=3)


def _label(model: Model, pair: Sequence[Estimate], settings: Sequence[str]) -> Label:
    shared, traded = (float(each.value or 0.0) for each in pair)
    colour, *_ = _style(model, settings)
    return Label(text=_short(model["value"]), x=shared, y=traded, colour=colour)


def _short(value: str | None) -> str:
    """Return a value as a label; of further settings without their sections."""
    return "as it is" if value is None else _SECTION.sub(", ", value)


def _add_legend(figure: Any, settings: Sequence[str]) -> None:
    from matplotlib.lines import Line2D  # heavy, and needed for reports only

    models: list[Model] = [{"setting": None}, *({"setting": each} for each in settings)]
    handles = [
        Line2D([], [], linestyle="none", marker=marker, color=colour, markersize=min(size, 9))
        for colour, marker, size in (_style(model, settings) for model in models)
    ]
    labels = ["as it is", *settings]
    figure.legend(handles, labels, ncols=4, loc="outside upper left", columnspacing=1.2)


def _capacity_chart(models: Sequence[Model], settings: Sequence[str], seeds: Seeds) -> Chart:
    rows = ((_FACTS, "right answers"), (_LOSSES, "loss (nats per token)"))
    shared: dict[str, Any] = {"sharex": "col", "sharey": "row", "squeeze": False}
    figure, grid = new_figure(4.2, max(len(settings), 2), len(rows), **shared)
    for panels, (columns, title) in zip(grid, rows, strict=True):
        panels[-1].set_visible(len(panels) == len(settings))
        for axes, setting in zip(panels, settings, strict=False):
            points = _points(models, setting)
            for column, style in columns.items():
                _draw_column(axes, points, column, style)
            labels = [_tick(model) for model in points]
            axes.set_xticks(range(len(points)), labels, fontsize=7.5)
            axes.set_xlim(-0.5, len(points) - 0.5)
            _mark_base(axes, points)
        panels[0].set_ylabel(title)
    grid[0][0].set_ylim(-0.03, 1.04)
    for axes, setting in zip(grid[-1], settings, strict=False):
        axes.set_xlabel(setting)
    handles = [
        pair for row in grid for pair in zip(*row[0].get_legend_handles_labels(), strict=True)
    ]
    figure.legend(*zip(*handles, strict=True), ncols=3, loc="outside upper left", columnspacing=1.2)
    return Chart(
        svg=Markup(to_svg(figure)),
        caption="Capacity: each setting by itself, its values in order, not to scale; the "
        "benchmark's own is shaded. Above: right answers before any deletion, with own sinks and "
        "by the backbone alone; unique facts of deleted sources, facts shared by three of deleted "
        "and kept ones. Below: loss on validation text "
        f"of kept sources. Line upright: 95% interval, whole sources drawn. {name_seeds(seeds)}.",
    )


def _points(models: Sequence[Model], setting: str) -> list[Model]:
    """Return the models of a setting by its value, the benchmark's own among them."""
    mine = [{**model} for model in models if model["setting"] == setting]
    for base in models:
        own = dict(flatten(base["configuration"])).get(setting)
        if base["setting"] is None and own is not None:
            mine.append({**base, "value": str(own).lower() if isinstance(own, bool) else str(own)})
    return sorted(mine, key=lambda model: _order(model["value"]))


def _order(value: str) -> tuple[int, float, str]:
    """Order numbers by size, then words."""
    try:
        return 0, float(value), value
    except ValueError:
        return 1, 0.0, value


def _tick(model: Model) -> str:
    value: str = model["value"]
    return value if model["setting"] else f"{value}\nas it is"


def _mark_base(axes: Any, points: Sequence[Model]) -> None:
    for place, model in enumerate(points):
        if model["setting"] is None:
            axes.axvspan(place - 0.35, place + 0.35, color="#efefef", zorder=0, linewidth=0)


def _draw_column(
    axes: Any, points: Sequence[Model], column: str, style: tuple[str, str, str]
) -> None:
    state, dashes, marker = style
    colour = colour_of(state)
    found = [
        (place, estimate_of_cell(model["figures"][column])) for place, model in enumerate(points)
    ]
    known = [(place, estimate) for place, estimate in found if estimate.value is not None]
    for place, estimate in known:
        draw_estimate(axes, estimate, place, colour=colour, upright=True, marker=marker)
    line = {"color": colour, "linestyle": dashes, "linewidth": 1.1, "marker": marker}
    values = [estimate.value for _, estimate in known]
    axes.plot([place for place, _ in known], values, markersize=5, label=_LABELS[column], **line)


def _table(models: Mapping[Seeds, Sequence[Model]]) -> Table:
    return Table(
        caption="Every model and figure; deleted sources, unless all that are asked, or kept ones, "
        "are named; losses in nats per token of kept sources' validation text; - : nothing to "
        "compute it from, such as a retrained model on all of the seeds",
        header=("setting", "seeds", *COLUMNS, "sources per sink", "training, s"),
        rows=tuple(
            (
                _name(model),
                _list(seeds),
                *(_cell(model["figures"][column]) for column in COLUMNS),
                number(model["load"]),
                " / ".join(f"{each:.0f}" for each in model["seconds"]),
            )
            for seeds, of_seeds in models.items()
            for model in of_seeds
        ),
    )


def _list(seeds: Seeds) -> str:
    return ", ".join(map(str, seeds))


def _cell(cell: Mapping[str, Any] | None) -> str:
    return "-" if cell is None else number(cell["value"])


def _details(models: Mapping[Seeds, Sequence[Model]]) -> Table:
    cells = (
        (model, seeds, cell)
        for seeds, of_seeds in models.items()
        for model in of_seeds
        for cell in model["figures"].values()
        if cell is not None
    )
    return Table(
        caption="The same with 95% intervals and n",
        header=("setting", "seeds", "figure", "value", "interval", "n"),
        rows=tuple(
            (
                _name(model),
                _list(seeds),
                ("loss, " if cell["figure"].startswith("perplexity") else "") + cell["figure"],
                number(cell["value"]),
                limits(None if cell["low"] is None else cell),
                f"{cell['n']:,}",
            )
            for model, seeds, cell in cells
        ),
        folded=True,
    )

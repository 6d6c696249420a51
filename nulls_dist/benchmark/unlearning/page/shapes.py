"""Shapes of this page's figures: models in their colours, values with interval and seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from nulls_dist.benchmark.drawing import ACCENT, CONTRAST, GREY, INK
from nulls_dist.benchmark.unlearning.page.findings import Estimate

COLOURS: Final = {
    "own sinks": INK,
    "off": ACCENT,
    "excised": "#5e9fd0",
    "nearest": "#8fbde0",
    "retrained, off": CONTRAST,
    "retrained, nearest": "#f2bd8c",
    "dense": GREY,
    "dense retrained": "#bdbdbd",
    "dense total": "#5a5a5a",
    "dense, ascent": "#7d9b76",
    "dense, NPO": "#b3c8ad",
}
"""Model in a state -> colour: before deletion dark, deleted blue, retrained orange, dense grey,
unlearned by a rival green."""
MARKERS: Final = {
    "own sinks": "s",
    "off": "o",
    "excised": "D",
    "nearest": "^",
    "retrained, off": "X",
    "retrained, nearest": "P",
    "dense": "v",
    "dense retrained": "<",
    "dense, ascent": "d",
    "dense, NPO": "p",
}
"""For print without colours."""


def colour_of(name: str) -> str:
    """Return the colour of a model in a state; grey for those that are not set off."""
    return COLOURS.get(name, GREY)


def draw_forest(axes: Any, rows: Mapping[str, Estimate], colours: Mapping[str, str]) -> None:
    """Draw a row per value: a dot with its interval, and a small ring per seed.

    Args:
        axes: where.
        rows: label -> value; one that is missing is named so.
        colours: label -> colour.
    """
    for place, (label, estimate) in enumerate(rows.items()):
        draw_estimate(axes, estimate, place, colour=colours.get(label, GREY), upright=False)
        if estimate.value is None:
            _write_missing(axes, "not available", place, color=GREY, fontsize=8)
    _dress_rows(axes, list(rows))


def draw_rows(
    axes: Any, rows: Mapping[str, Mapping[str, Estimate]], *, missing: str = "not available"
) -> None:
    """Draw a row per label, in it a value per model with interval and seeds.

    Args:
        axes: where.
        rows: label -> model in a state -> value; models that a row lacks leave their place empty.
        missing: what is written for a value that is None.
    """
    names = [name for name in COLOURS if any(name in row for row in rows.values())]
    step = 0.8 / max(len(names), 1)
    for place, row in enumerate(rows.values()):
        if place % 2:
            axes.axhspan(place - 0.5, place + 0.5, color="#f6f6f6", linewidth=0, zorder=0)
        for index, name in enumerate(names):
            if name not in row:
                continue
            level = place + (index - (len(names) - 1) / 2) * step
            colour, marker = colour_of(name), MARKERS[name]
            draw_estimate(axes, row[name], level, colour=colour, upright=False, marker=marker)
            if row[name].value is None:
                _write_missing(axes, missing, level, color=colour, fontsize=6)
    _dress_rows(axes, list(rows))


def _write_missing(axes: Any, text: str, place: float, **settings: Any) -> None:
    across = axes.get_yaxis_transform()
    axes.text(0.02, place, text, transform=across, va="center", fontstyle="italic", **settings)


def _dress_rows(axes: Any, rows: Sequence[str]) -> None:
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color="#ececec", linewidth=0.7)
    axes.set_axisbelow(True)


def draw_estimate(
    axes: Any, estimate: Estimate, place: float, *, colour: str, upright: bool, marker: str = "o"
) -> None:
    """Draw a value with its interval and its seeds, nothing where it is missing.

    Args:
        axes: where.
        estimate: the value.
        place: on the other axis.
        colour: of all of it.
        upright: whether values go upwards.
        marker: of the value.
    """
    if estimate.value is None:
        return
    if estimate.low is not None and estimate.high is not None:
        draw_line = axes.vlines if upright else axes.hlines
        draw_line(place, estimate.low, estimate.high, color=colour, linewidth=1.8)
    if len(estimate.seeds) > 1:
        style = {"marker": "o", "markerfacecolor": "white", "markeredgecolor": colour}
        _dots(axes, estimate.seeds, place, upright, markersize=3.2, markeredgewidth=0.8, **style)
    _dots(axes, [estimate.value], place, upright, marker=marker, color=colour, markersize=5.5)


def _dots(axes: Any, values: Sequence[float], place: float, upright: bool, **settings: Any) -> None:
    places = [place] * len(values)
    pair = (places, values) if upright else (values, places)
    axes.plot(*pair, linestyle="none", **settings)

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
}
"""Model in a state -> colour: before deletion dark, deleted blue, retrained orange, dense grey."""
MARKERS: Final = {
    "own sinks": "s",
    "off": "o",
    "excised": "D",
    "nearest": "^",
    "retrained, off": "X",
    "retrained, nearest": "P",
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
            axes.text(
                0.02,
                place,
                "not available",
                transform=axes.get_yaxis_transform(),
                va="center",
                fontsize=8,
                fontstyle="italic",
                color=GREY,
            )
    axes.set_yticks(range(len(rows)), list(rows))
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

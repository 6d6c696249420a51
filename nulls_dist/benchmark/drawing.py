"""Figures as inline SVG, so that a report is one file, and shapes that several of them share."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy.typing as npt

from nulls_dist.errors import ConfigError

ACCENT: Final = "#1b6ca8"
CONTRAST: Final = "#e07a1f"
"""Blue and orange are told apart by all common kinds of colour vision, and in grey print."""
GREY: Final = "#8a8a8a"
INK: Final = "#3a3a3a"
WIDTH: Final = 7.6
"""Of a figure, inches."""
_STYLE: Final = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": INK,
    "text.color": INK,
    "text.parse_math": False,  # names of sources and attributes are no formulas
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",  # letters stay letters: small files, and they can be searched
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw figures within it as a page shows them.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context  # heavy, and of an extra
    except ImportError as error:
        raise ConfigError(
            "a report's figures need matplotlib: pip install 'nulls-dist[report]'"
        ) from error
    with rc_context(_STYLE):  # type: ignore[arg-type]  # its keys are literals
        yield


def new_figure(height: float, columns: int = 1, rows: int = 1, **settings: Any) -> tuple[Any, Any]:
    """Return a figure and its axes, as `Figure.subplots` gives them.

    Args:
        height: inches, of all rows.
        columns: panels side by side.
        rows: panels one below another.
        settings: of `Figure.subplots`.
    """
    from matplotlib.figure import Figure  # heavy, and needed for reports only

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **settings)


def to_svg(figure: Any) -> str:
    """Return a figure as an <svg> element: the same text for the same figure, no links."""
    from matplotlib import rc_context

    text = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.hashsalt": "nulls-dist"}):
        figure.savefig(text, format="svg", bbox_inches="tight", metadata=nothing)
    return text.getvalue()[text.getvalue().index("<svg") :]


def mark_chance(axes: Any, place: float, *, upright: bool, label: str | None = None) -> None:
    """Draw a dotted line across at a value that has a meaning, such as that of a guess."""
    line = axes.axvline if upright else axes.axhline
    line(place, color=GREY, linewidth=0.9, linestyle=(0, (1, 2)), zorder=0, label=label)


def draw_steps(axes: Any, values: npt.ArrayLike, **settings: Any) -> None:
    """Draw the empirical distribution function of values.

    Args:
        axes: where.
        values: (n,), n at least one.
        settings: of the line.
    """
    axes.ecdf(values, **{"linewidth": 1.4, **settings})

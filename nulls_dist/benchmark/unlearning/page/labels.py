"""Labels beside points that lie close together."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

_FONT_SIZE: Final = 7.5
_LETTER: Final = 0.58 * _FONT_SIZE
"""Mean width of a letter; lengths are in points."""
_MARKER: Final = 4.0
"""Half the side of the square that a marker takes."""
_GAPS: Final = (6.0, 13.0, 22.0)
_DIRECTIONS: Final = ((1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """What is written beside a point."""

    text: str
    x: float
    y: float
    colour: str


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    low: float
    right: float
    high: float

    def overlap(self, other: "_Box") -> float:
        across = min(self.right, other.right) - max(self.left, other.left)
        upright = min(self.high, other.high) - max(self.low, other.low)
        return max(across, 0.0) * max(upright, 0.0)


def draw_labels(figure: Any, axes: Any, labels: Sequence[Label]) -> None:
    """Write each label where it covers the least of markers and of the labels before it.

    Args:
        figure: all else of which is drawn.
        axes: where the points are.
        labels: one per point.
    """
    figure.draw_without_rendering()  # until then the limits of the axes are not settled
    places = axes.transData.transform([(label.x, label.y) for label in labels])
    places = places * 72 / figure.dpi
    taken = [_Box(x - _MARKER, y - _MARKER, x + _MARKER, y + _MARKER) for x, y in places]
    for label, (x, y) in zip(labels, places, strict=True):
        offset, box = min(
            _candidates(label.text, x, y),
            key=lambda candidate: sum(candidate[1].overlap(each) for each in taken),
        )
        taken.append(box)
        axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=_FONT_SIZE,
            color=label.colour,
        )


def _candidates(text: str, x: float, y: float) -> list[tuple[tuple[float, float], _Box]]:
    """Return offsets of a label's middle from its point, the nearest first, with what it covers."""
    width, height = _LETTER * len(text) / 2, _FONT_SIZE / 2
    found = []
    for gap, (across, up) in product(_GAPS, _DIRECTIONS):
        right, above = across * (width + gap), up * (height + gap / 2)
        box = _Box(x + right - width, y + above - height, x + right + width, y + above + height)
        found.append(((right, above), box))
    return found

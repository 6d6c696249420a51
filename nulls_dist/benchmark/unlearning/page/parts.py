"""What a page is made of: sections with figures and tables, all of it text but the drawings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

MISSING: Final = "not available"


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A figure with its caption."""

    svg: Markup
    caption: str
    """What was measured, how to read it, n, and what the interval is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of text; the first column is the header of its row."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False
    """Whether it is opened on demand."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of the page."""

    title: str
    lead: str
    """What the question is."""
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()

    @property
    def anchor(self) -> str:
        """Return its name in links."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())


def number(value: float | None, digits: int = 3) -> str:
    """Return a value as text; what was not computed is not 0."""
    return MISSING if value is None else f"{value:.{digits}f}"


def limits(interval: Mapping[str, Any] | None, digits: int = 3) -> str:
    """Return the ends of an interval of results.json."""
    if interval is None:
        return "no interval"
    return f"[{interval['low']:.{digits}f}, {interval['high']:.{digits}f}]"


def with_limits(figure: Mapping[str, Any], digits: int = 3) -> str:
    """Return the value of a figure, and the ends of its interval where it has one."""
    value = number(figure["value"], digits)
    return f"{value} {limits(figure['interval'], digits)}" if figure["interval"] else value


def count_seeds(content: Mapping[str, Any]) -> str:
    """Say how many seeds a file of the benchmark covers, for a caption."""
    seeds = len(content["seeds"])
    return f"{seeds} seed{'s' if seeds > 1 else ''}"

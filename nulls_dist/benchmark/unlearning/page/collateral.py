"""Collateral: what kept sources lose, against what the planner forecast."""

from typing import Any, Final

import numpy as np
from markupsafe import Markup

from nulls_dist.benchmark.drawing import ACCENT, INK, mark_chance, new_figure, to_svg
from nulls_dist.benchmark.unlearning.figures import EXCISED_OWN, OWN, Evidence, clusters_of
from nulls_dist.benchmark.unlearning.measures import look_up
from nulls_dist.benchmark.unlearning.page.findings import Findings
from nulls_dist.benchmark.unlearning.page.parts import Chart, Section, Table, limits, number
from nulls_dist.benchmark.unlearning.page.shapes import draw_estimate, draw_forest
from nulls_dist.benchmark.unlearning.tables import Floats, column, select
from nulls_dist.benchmark.unlearning.world import KEPT

_PALE: Final = "#b5b5b5"
_OVERLAPS: Final = ("least", "middle", "most")
_ROWS: Final = ("collateral found", "collateral forecast", "collateral beyond the forecast")


def build_collateral(findings: Findings) -> Section | None:
    """Return the section, None where no kept source was asked."""
    sources = _by_source(findings.evidence)
    if sources is None:
        return None
    return Section(
        title="Collateral",
        lead="Excision overwrites sinks that kept sources partly use. The planner forecasts what "
        "that costs before anything is deleted: the share of a source's sinks that is overwritten. "
        "The forecast holds where no more than that share of its unique facts is lost.",
        charts=(_chart(findings, *sources),),
        tables=(_table(findings),),
    )


def _by_source(evidence: Evidence) -> tuple[Floats, Floats] | None:
    """Return (S,) overlap with the nearest deleted source, and (S,) accuracy lost."""
    before, after = (
        evidence.facts(asked, group=KEPT, kind="unique") for asked in (OWN, EXCISED_OWN)
    )
    kept = select(evidence.sources, group=KEPT)
    if not len(before) or not len(kept):
        return None
    clusters = clusters_of(before)
    counts = np.bincount(clusters)
    lost = column(before, "correct").astype(np.float64) - column(after, "correct")
    overlap = look_up(before, kept, "max_shared")
    return np.bincount(clusters, overlap) / counts, np.bincount(clusters, lost) / counts


def _chart(findings: Findings, overlap: Floats, lost: Floats) -> Chart:
    figure, (left, right) = new_figure(2.7, columns=2, width_ratios=(1, 1.25))
    rows = {name.removeprefix("collateral "): findings.estimate(name) for name in _ROWS}
    draw_forest(left, rows, {"found": ACCENT, "forecast": INK, "beyond the forecast": ACCENT})
    mark_chance(left, 0.0, upright=True)
    left.set(xlabel="accuracy lost, share of facts", title="All kept sources asked")
    right.plot(overlap, lost, "o", color=_PALE, markersize=3.5, label="one source")
    _draw_thirds(right, findings)
    mark_chance(right, 0.0, upright=False)
    right.set(
        xlabel="share of sinks in common with the nearest deleted source",
        ylabel="accuracy lost",
        title="By overlap",
    )
    right.legend(loc="best")
    return Chart(
        svg=Markup(to_svg(figure)),
        caption="What kept sources lose of their unique facts, own sinks, before minus after "
        "excision. Left: found, forecast (no interval: it is counted, over all kept sources) and "
        "the difference over the sources asked, which should not exceed 0. Right: each kept source "
        "(grey), and thirds of the sources by their overlap with the deleted source nearest in the "
        "pool (blue, with interval; rings: seeds) beside their forecast (black bar); ties may "
        "leave a third empty. " + findings.basis("collateral found"),
    )


def _draw_thirds(axes: Any, findings: Findings) -> None:
    label: str | None = "forecast, thirds"
    for name in _OVERLAPS:
        key = f"collateral found: kept sources, {name} overlap"
        details = findings.figure(key)["details"]
        if not details:
            continue
        begin, end = details["overlap_from"], details["overlap_to"]
        place = (begin + end) / 2
        draw_estimate(axes, findings.estimate(key), place, colour=ACCENT, upright=True)
        line = {"marker": "_", "markersize": 22, "markeredgewidth": 1.3, "linestyle": "none"}
        axes.plot(place, details["forecast"], color="#111111", label=label, **line)
        label = None  # one line of the legend for all three
    axes.plot([], [], "o", color=ACCENT, label="found, thirds")


def _table(findings: Findings) -> Table:
    names = [*_ROWS, *(f"collateral found: kept sources, {name} overlap" for name in _OVERLAPS)]
    rows = []
    for name in names:
        figure = findings.figure(name)
        details = figure["details"]
        overlap = "all"
        if details:
            overlap = f"{details['overlap_from']:.3f} to {details['overlap_to']:.3f}"
        rows.append(
            (
                name,
                overlap,
                number(figure["value"]),
                limits(figure["interval"]),
                number(details["forecast"]) if details else "",
                f"{figure['n']:,}",
            )
        )
    return Table(
        caption="Collateral found and forecast",
        header=("figure", "overlap", "value", "interval", "forecast of these", "n"),
        rows=tuple(rows),
    )

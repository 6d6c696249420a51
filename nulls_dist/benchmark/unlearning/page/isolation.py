"""Isolation: does deletion take away all that the sources' sinks added?"""

from typing import Any, Final

import numpy as np
from markupsafe import Markup

from nulls_dist.benchmark.drawing import mark_chance, new_figure, to_svg
from nulls_dist.benchmark.unlearning.figures import DELETIONS, OWN
from nulls_dist.benchmark.unlearning.measures import MANY, describe_sharing
from nulls_dist.benchmark.unlearning.page.findings import Estimate, Findings
from nulls_dist.benchmark.unlearning.page.parts import Chart, Section, Table, limits, number
from nulls_dist.benchmark.unlearning.page.shapes import (
    COLOURS,
    MARKERS,
    colour_of,
    draw_estimate,
    draw_forest,
)
from nulls_dist.benchmark.unlearning.tables import column
from nulls_dist.benchmark.unlearning.world import DELETED

_STATES: Final = ("own sinks", "off", "nearest", "retrained, off")
_ACCURACIES: Final = ("acc_on", "acc_deleted", "acc_retrained")


def build_isolation(findings: Findings) -> Section | None:
    """Return the section."""
    shared = _shared_chart(findings)
    return Section(
        title="Isolation",
        lead="1: deletion takes from the deleted sources' unique facts exactly what training on "
        "them added, as retraining would; 0: it takes nothing. Facts that other sources state are "
        "meant to survive, the more surely the more sources state them. Nearest shows what a user "
        "meets, not what is gone: another source's sinks answer for that source, whatever the "
        "backbone may have kept.",
        charts=(_chart(findings), *((shared,) if shared else ())),
        tables=(_table(findings),),
    )


def _chart(findings: Findings) -> Chart:
    rows = {way: findings.estimate(f"isolation: {way}") for way in DELETIONS}
    figure, axes = new_figure(1.7)
    draw_forest(axes, rows, COLOURS)
    for place, way in enumerate(rows):
        bound = findings.bound(f"isolation: {way}")
        if bound is not None:
            axes.vlines(bound, place - 0.32, place + 0.32, color="#111111", linewidth=1)
    mark_chance(axes, 1.0, upright=True)
    axes.set(xlabel="isolation, (own - deleted) / (own - retrained)")
    return Chart(
        svg=Markup(to_svg(figure)),
        caption="Isolation of unique facts of deleted sources: off is the backbone alone, excised "
        "the checkpoint whose sinks were overwritten, nearest the sinks of the most similar source "
        "that is left. Dot: all seeds; rings: single seeds; line: interval; dotted: as retrained; "
        f"upright stroke: target. {findings.basis('isolation: off')}",
    )


def _shared_chart(findings: Findings) -> Chart | None:
    """Return accuracy against the number of sources that state a fact, None where none shares."""
    asked = findings.evidence.facts(OWN, group=DELETED, kind="shared")
    if not len(asked):
        return None
    counts = np.unique(column(asked, "multiplicity")).tolist()
    found = describe_sharing(counts, findings.evidence.sharing_levels)
    numbers = list(dict.fromkeys(found))
    figure, axes = new_figure(2.9)
    for index, state in enumerate(_STATES):
        of_unique = f"answer accuracy: deleted sources, unique facts, {state}"
        names = [
            f"answer accuracy: deleted sources, shared by {number}, {state}" for number in numbers
        ]
        estimates = [findings.estimate(name) for name in (of_unique, *names)]
        _draw_series(axes, estimates, state, shift=0.09 * (index - 1.5))
    for place, each in enumerate(numbers, start=1):
        many = each.isdigit() and int(each) >= MANY
        name = f"{MANY} or more" if many else each
        bound = findings.bound(f"answer accuracy: deleted sources, shared by {name}, off")
        if bound is not None:
            axes.hlines(bound, place - 0.3, place + 0.3, color="#111111", linewidth=1)
    labels = ["1 (unique)", *numbers]
    axes.set_xticks(range(len(labels)), labels)
    axes.set(xlabel="sources of the world that state the fact, m", ylabel="right answers")
    axes.set_ylim(-0.03, 1.04)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return Chart(
        svg=Markup(to_svg(figure)),
        caption="Facts of deleted sources by how many sources state them. At m = 1 deletion should "
        "fall to the retrained model, beyond it should stay with it. Only shared facts of which at "
        "least two thirds of the world's m sources are left in the corpus. Marker: all seeds; "
        "rings: single seeds; upright line: 95% interval, whole sources drawn; level stroke: "
        f"target of off. At m = {numbers[0]}: "
        + findings.basis(f"answer accuracy: deleted sources, shared by {numbers[0]}, off"),
    )


def _draw_series(axes: Any, estimates: list[Estimate], state: str, *, shift: float) -> None:
    points = [
        (place + shift, each) for place, each in enumerate(estimates) if each.value is not None
    ]
    colour, marker = colour_of(state), MARKERS[state]
    for place, each in points:
        draw_estimate(axes, each, place, colour=colour, upright=True, marker=marker)
    axes.plot(
        [place for place, _ in points],
        [each.value for _, each in points],
        color=colour,
        linewidth=0.9,
        marker=marker,
        markersize=5.5,
        label=state,
    )


def _table(findings: Findings) -> Table:
    rows = []
    for way in DELETIONS:
        figure = findings.figure(f"isolation: {way}")
        parts = [number(figure["details"].get(name)) for name in _ACCURACIES]
        rows.append(
            (way, *parts, number(figure["value"]), limits(figure["interval"]), f"{figure['n']:,}")
        )
    return Table(
        caption="What isolation is computed from: right answers about unique facts",
        header=("deletion", "own sinks", "deleted", "retrained", "isolation", "interval", "n"),
        rows=tuple(rows),
    )

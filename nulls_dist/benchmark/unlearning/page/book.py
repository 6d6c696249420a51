"""A book as one source: its text by heart, and its facts, before and after deletion."""

from typing import Final

from markupsafe import Markup

from nulls_dist.benchmark.drawing import new_figure, to_svg
from nulls_dist.benchmark.unlearning.figures import DELETIONS, MODELS
from nulls_dist.benchmark.unlearning.page.findings import Findings
from nulls_dist.benchmark.unlearning.page.parts import Chart, Section, Table, limits, number
from nulls_dist.benchmark.unlearning.page.shapes import COLOURS, draw_forest
from nulls_dist.benchmark.unlearning.recitation import BOOK, RECITED
from nulls_dist.eval.metrics import likelihood

_MEASURES: Final = {
    **{metric.name: f"{metric.name}: {BOOK}, " for metric in RECITED},
    "unique facts": f"{likelihood.ANSWER_ACCURACY.name}: {BOOK}, unique facts, ",
}
"""Label -> what the names of its figures begin with."""


def build_book(findings: Findings) -> Section | None:
    """Return the section, None where the world has no book."""
    labels = list(_MEASURES)
    models = [
        name for name in MODELS if any(findings.figure(_MEASURES[of] + name)["n"] for of in labels)
    ]
    if not models:
        return None
    figure, panels = new_figure(0.55 + 0.21 * len(models), columns=len(labels), sharey=True)
    for axes, label in zip(panels, labels, strict=True):
        rows = {name: findings.estimate(_MEASURES[label] + name) for name in models}
        draw_forest(axes, rows, COLOURS)
        axes.set(xlim=(-0.03, 1.03))
        axes.set_title(label)
    chart = Chart(
        svg=Markup(to_svg(figure)),
        caption="The book, a source of many chapters that is deleted as a whole. Left: share of "
        "its tokens that are the model's first choice; middle: how large a rest of a chapter "
        "greedy decoding writes to its end; right: right answers about facts that only the book "
        "states. Dot: all seeds; rings: single seeds; line: interval, where there are several. "
        + findings.basis(_MEASURES[labels[0]] + models[0], "chapters"),
    )
    return Section(
        title="A book as one source",
        lead="The more text a source has, the more its sinks must hold, and the more of it the "
        "backbone may learn. A deletion is right where the book is recited and known as by the "
        "retrained model.",
        charts=(chart,),
        tables=(_table(findings),),
    )


def _table(findings: Findings) -> Table:
    figures = {way: findings.figure(f"isolation: {BOOK}, {way}") for way in DELETIONS}
    return Table(
        caption="Isolation of the book's unique facts",
        header=("deletion", "isolation", "interval", "n"),
        rows=tuple(
            (way, number(figure["value"]), limits(figure["interval"]), f"{figure['n']:,}")
            for way, figure in figures.items()
        ),
    )

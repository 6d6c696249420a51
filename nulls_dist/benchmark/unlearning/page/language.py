"""General loss of every model, and how trainings went."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from markupsafe import Markup

from nulls_dist.benchmark.drawing import ACCENT, CONTRAST, GREY, INK, new_figure, to_svg
from nulls_dist.benchmark.unlearning.figures import MODELS, TEXTS
from nulls_dist.benchmark.unlearning.page.findings import LOSS, TOKENS, Estimate, Findings
from nulls_dist.benchmark.unlearning.page.parts import Chart, Section, Table, limits, number
from nulls_dist.benchmark.unlearning.page.shapes import COLOURS, draw_forest
from nulls_dist.benchmark.unlearning.tables import Floats

_EXCESS: Final = "validation loss beyond the dense model's"
_NUM_BLOCKS: Final = 60
_LINES: Final = {
    "nulls": (ACCENT, "-"),
    "nulls_retrained": (CONTRAST, "-"),
    "dense_active": (GREY, "-"),
    "dense_active_retrained": ("#bdbdbd", "--"),
    "dense_total": (INK, ":"),
}


def build_language(findings: Findings) -> Section | None:
    """Return the section, None where no text was scored."""
    rows = {
        name: found
        for name in MODELS
        if any(found := [findings.figure(f"perplexity: {text}, {name}")["n"] for text in TEXTS])
    }
    charts = [_chart(findings, list(rows))] if rows else []
    charts += [_training(findings.trainings)] if findings.trainings else []
    if not charts:
        return None
    return Section(
        title="General loss",
        lead="What the way of training costs as a language model, on text that nobody deleted: "
        "sinks should not make it worse than a dense model of equal active size that was trained "
        "until it converged.",
        charts=tuple(charts),
        tables=(_table(findings, list(rows)),) if rows else (),
    )


def _chart(findings: Findings, models: Sequence[str]) -> Chart:
    figure, panels = new_figure(0.55 + 0.21 * len(models), columns=len(TEXTS), sharey=True)
    for axes, text in zip(panels, TEXTS, strict=True):
        rows = {name: _in_nats(findings.estimate(f"perplexity: {text}, {name}")) for name in models}
        draw_forest(axes, rows, COLOURS)
        axes.set(xlabel="nats per token")
        axes.set_title(text.replace(" of ", "\nof "))
    excess = findings.figure(_EXCESS)
    return Chart(
        svg=Markup(to_svg(figure)),
        caption="Loss per model and state on three texts: documents of kept sources that no model "
        "was trained on, documents of sources that no model saw, and the deleted sources' training "
        "documents. Dot: all seeds; rings: single seeds; line: interval. Scales differ between "
        f"panels. Sinks against dense on the first text: {number(excess['value'])} nats per token "
        f"{limits(excess['interval'])}, own sinks minus dense, paired by document. "
        + findings.basis(_EXCESS, "tokens"),
    )


def _in_nats(perplexity: Estimate) -> Estimate:
    def log(value: float | None) -> float | None:
        return None if value is None else math.log(value)

    return Estimate(
        value=log(perplexity.value),
        low=log(perplexity.low),
        high=log(perplexity.high),
        seeds=tuple(map(math.log, perplexity.seeds)),
    )


def _table(findings: Findings, models: Sequence[str]) -> Table:
    rows = []
    for name in models:
        cells = []
        for text in TEXTS:
            figure = findings.figure(f"perplexity: {text}, {name}")
            interval = f" {limits(figure['interval'], 2)}" if figure["interval"] else ""
            cells.append(number(figure["value"], 2) + interval)
        rows.append((name, *cells))
    return Table(
        caption="Perplexity, exp(sum of nats / tokens), with its 95% interval (sources drawn)",
        header=("model", *TEXTS),
        rows=tuple(rows),
    )


def _training(trainings: Mapping[str, Sequence[Sequence[Mapping[str, float]]]]) -> Chart:
    figure, axes = new_figure(2.8)
    for arm, seeds in trainings.items():
        colour, style = _LINES[arm]
        label: str | None = arm.replace("_", " ")
        for lines in seeds:
            places, losses = (_block_means([line[key] for line in lines]) for key in (TOKENS, LOSS))
            axes.plot(
                places / 1e6, losses, color=colour, linestyle=style, linewidth=1.2, label=label
            )
            label = None  # one entry of the legend for all seeds
    axes.set(xlabel="million tokens", ylabel="training loss, nats per token")
    axes.legend(loc="upper right")
    num_lines = max(map(len, trainings.values()))
    return Chart(
        svg=Markup(to_svg(figure)),
        caption=f"Training loss per model, a line per seed ({num_lines}), each point the mean of "
        f"one of {_NUM_BLOCKS} equal blocks of steps. A curve that still falls at its end belongs "
        "to a model that had not converged. Losses of models trained on different corpora are not "
        "to be compared here. No interval.",
    )


def _block_means(values: Sequence[float]) -> Floats:
    blocks = np.array_split(np.asarray(values), min(_NUM_BLOCKS, len(values)))
    return np.array([block.mean() for block in blocks])

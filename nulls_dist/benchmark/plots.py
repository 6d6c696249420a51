"""Plots as inline SVG, so that a report is one file."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from nulls_dist.benchmark.fact_table import FactTable

_COLOURS: Final = ("#1b6ca8", "#e07a1f", "#7a7a7a", "#b9b9b9", "#3a9d5d")


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _new_figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # heavy, and needed for reports only

    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def plot_losses(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Draw training loss and the evaluation losses per state over steps."""
    figure, axes = _new_figure(7.5, 3.0)
    steps = [line["step"] for line in metrics]
    axes.plot(
        steps,
        [line["train/loss_nats"] for line in metrics],
        color=_COLOURS[0],
        linewidth=0.8,
        alpha=0.6,
        label="training",
    )
    for colour, state in zip(_COLOURS[1:], ("on", "off", "placebo"), strict=False):
        key = f"eval/loss_{state}_nats"
        points = [(line["step"], line[key]) for line in metrics if key in line]
        axes.plot(*zip(*points, strict=True), "o-", color=colour, label=f"sinks {state}")
    axes.set(xlabel="optimizer step", ylabel="loss (nats per token)")
    axes.legend(frameon=False)
    return _svg(figure)


def plot_facts(before: FactTable, after: FactTable, *, state: str, label: str) -> str:
    """Draw the accuracy per kind of fact before and after deletion, side by side."""
    figure, axes = _new_figure(7.5, 3.2)
    kinds = before.kinds
    bar = 0.38
    pairs = ((before, "before deletion"), (after, label))
    for index, (table, name) in enumerate(pairs):
        scores = next(scores for key, scores in table.scores.items() if key == state)
        heights = [scores[kind].accuracy for kind in kinds]
        places = [place + (index - 0.5) * bar for place in range(len(kinds))]
        bars = axes.bar(places, heights, bar, color=_COLOURS[index], label=name)
        axes.bar_label(bars, [f"{height:.2f}" for height in heights], fontsize=8, padding=1)
    axes.set_xticks(
        range(len(kinds)),
        [kind.replace(" ", "\n") for kind in kinds],
    )
    axes.set(ylabel="right answers", ylim=(0, 1.12))
    axes.legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.18))
    return _svg(figure)

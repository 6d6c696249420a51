"""The demo's plots."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from nulls_dist.benchmark.drawing import ACCENT, CONTRAST, GREY, new_figure, paper_style, to_svg
from nulls_dist.eval.fact_table import FactTable
from nulls_dist.eval.states import State

_COLOURS: Final = (ACCENT, CONTRAST, GREY)

Bars = Sequence[tuple[str, FactTable, State]]
"""Label, table and state of each group of bars."""


@paper_style()
def plot_losses(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Draw the training loss of each run, and its evaluation losses with sinks on and off."""
    figure, panels = new_figure(2.9, columns=len(runs), sharey=True)
    for axes, (title, metrics) in zip(panels, runs.items(), strict=True):
        steps = [line["step"] for line in metrics]
        losses = [line["train/loss_nats"] for line in metrics]
        axes.plot(steps, losses, color="#b5cfe3", linewidth=0.8, label="training")
        for colour, state in zip(_COLOURS, ("on", "off", "placebo"), strict=True):
            key = f"eval/loss_{state}_nats"
            points = [(line["step"], line[key]) for line in metrics if key in line]
            places, values = zip(*points, strict=True)
            axes.plot(places, values, "o-", color=colour, markersize=3, label=f"sinks {state}")
        axes.set_title(title, fontsize=10)
        axes.set(xlabel="optimizer step")
    panels[0].set(ylabel="loss (nats per token)")
    panels[0].legend(frameon=False, fontsize=8)
    return to_svg(figure)


@paper_style()
def plot_facts(bars: Bars) -> str:
    """Draw the share of right answers per kind of fact, one bar per group, side by side."""
    figure, axes = new_figure(3.1)
    kinds = bars[0][1].kinds
    width = 0.84 / len(bars)
    for index, (label, table, state) in enumerate(bars):
        heights = [table.scores[state][kind].accuracy for kind in kinds]
        offset = (index - (len(bars) - 1) / 2) * width
        places = [place + offset for place in range(len(kinds))]
        drawn = axes.bar(places, heights, width * 0.94, color=_COLOURS[index], label=label)
        axes.bar_label(drawn, [f"{height:.2f}" for height in heights], fontsize=6.5, padding=1)
    axes.set_xticks(range(len(kinds)), [kind.replace(" ", "\n") for kind in kinds], fontsize=9)
    axes.set(ylabel="right answers", ylim=(0, 1.08))
    figure.legend(frameon=False, ncols=len(bars), loc="outside upper center", fontsize=9)
    return to_svg(figure)

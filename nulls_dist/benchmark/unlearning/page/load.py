"""Load: what happens when more sources share a sink, from models with pools of other sizes."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from nulls_dist.benchmark.drawing import GREY, new_figure, to_svg
from nulls_dist.benchmark.unlearning.page.parts import Chart
from nulls_dist.benchmark.unlearning.page.shapes import colour_of, draw_estimate
from nulls_dist.benchmark.unlearning.page.swept import estimate_of_cell, name_seeds

POOL_SIZE: Final = "model.num_sinks"
_DELETED: Final = {
    "own": ("own sinks", "own sinks", "-"),
    "off": ("off", "backbone alone", "-"),
    "AUC off, all": ("off", "the same, AUC", ":"),
}
_KEPT: Final = {
    "kept": ("own sinks", "own sinks, before", "-"),
    "kept after": ("excised", "own sinks, after", "-"),
}
_LOSSES: Final = {
    "loss own": ("own sinks", "own sinks", "-"),
    "loss off": ("off", "backbone alone", "-"),
}
_PANELS: Final = (
    (_DELETED, "right answers, deleted sources"),
    (_KEPT, "right answers, kept sources"),
    (_LOSSES, "loss (nats per token)"),
)
"""Column -> state, whose colour it has, label and dashes."""

Model = Mapping[str, Any]


def build_load(models: Sequence[Model], seeds: Sequence[int]) -> tuple[Chart, ...]:
    """Return the chart, none where only one size of the pool was tried.

    Args:
        models: of sweeps.json with one setting changed, each with what was measured on the seeds.
        seeds: of all of them.
    """
    shown = sorted(
        (each for each in models if each["setting"] in (None, POOL_SIZE)),
        key=lambda model: float(model["load"]),
    )
    if len({each["load"] for each in shown}) == 1:
        return ()
    figure, panels = new_figure(3.4, columns=len(_PANELS))
    for axes, (columns, label) in zip(panels, _PANELS, strict=True):
        for column, (state, name, dashes) in columns.items():
            style = {"color": colour_of(state), "linestyle": dashes, "label": name}
            _draw_line(axes, shown, column, style)
        axes.set_xscale("log", base=2)
        axes.set_xticks(*_ticks(shown), fontsize=7.5)
        axes.minorticks_off()
        axes.set(xlabel="sources per sink", ylabel=label)
    _draw_forecast(panels[1], shown)
    for axes in panels[:2]:
        axes.set_ylim(-0.03, 1.04)
    for axes in panels:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.03), fontsize=7)
    return (
        Chart(
            svg=Markup(to_svg(figure)),
            caption="Load: the smaller the pool, the more sources share each of its sinks, and the "
            "larger the part of the pool that each source fills. Left: unique facts of deleted "
            "sources before the deletion; what the backbone alone knows is left of them; dotted: "
            "its preference for right answers, of deleted and kept sources. Middle: "
            "those of kept sources, before and after the excision; dashed: what would be left if "
            "each lost the share that the planner forecasts. Right: validation text of kept "
            "sources, before the deletion. Line "
            f"upright: 95% interval, whole sources drawn. {name_seeds(seeds)}.",
        ),
    )


def _ticks(models: Sequence[Model]) -> tuple[list[float], list[str]]:
    loads = [float(model["load"]) for model in models]
    return loads, [f"{load:.3g}" for load in loads]


def _draw_line(axes: Any, models: Sequence[Model], column: str, style: Mapping[str, str]) -> None:
    known = [(float(model["load"]), estimate_of_cell(model["figures"][column])) for model in models]
    known = [(load, estimate) for load, estimate in known if estimate.value is not None]
    for load, estimate in known:
        draw_estimate(axes, estimate, load, colour=style["color"], upright=True)
    values = [estimate.value for _, estimate in known]
    axes.plot([load for load, _ in known], values, linewidth=1.1, **style)


def _draw_forecast(axes: Any, models: Sequence[Model]) -> None:
    style = {"color": GREY, "linestyle": "--", "linewidth": 1.0}
    axes.plot(*zip(*forecasts(models), strict=True), label="forecast", **style)


def forecasts(models: Sequence[Model]) -> list[tuple[float, float]]:
    """Return (load, right answers of kept sources that a deletion leaves by its forecast) each."""
    points = []
    for model in models:
        kept, share = (
            estimate_of_cell(model["figures"][column]).value for column in ("kept", "forecast")
        )
        if kept is not None and share is not None:
            points.append((float(model["load"]), kept * (1 - share)))
    return points

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
    "own": ("own sinks", "deleted, before"),
    "off": ("off", "deleted, after"),
}
_KEPT: Final = {
    "kept": ("own sinks", "kept, before"),
    "kept after": ("off", "kept, after"),
}
_LOSSES: Final = {
    "loss own": ("own sinks", "own sinks"),
    "loss off": ("off", "off"),
}
_PANELS: Final = (
    (_DELETED, "right answers, deleted sources"),
    (_KEPT, "right answers, kept sources"),
    (_LOSSES, "loss (nats per token)"),
)
"""Column -> state, whose colour it has, and label."""

Model = Mapping[str, Any]


def build_load(models: Sequence[Model], seeds: Sequence[int]) -> tuple[Chart, ...]:
    """Return the chart, none where only one size of the pool was tried.

    Args:
        models: of sweeps.json, each with what was measured on the seeds.
        seeds: of all of them.
    """
    shown = sorted(
        (each for each in models if each["setting"] is None or _is_plain(each)),
        key=lambda model: float(model["load"]),
    )
    if len(shown) == 1:
        return ()
    figure, panels = new_figure(2.9, columns=len(_PANELS))
    for axes, (columns, label) in zip(panels, _PANELS, strict=True):
        for column, (state, name) in columns.items():
            _draw_line(axes, shown, column, colour_of(state), name)
        axes.set_xscale("log", base=2)
        axes.set_xticks(*_ticks(shown), fontsize=7.5)
        axes.minorticks_off()
        axes.set(xlabel="sources per sink", ylabel=label)
    _draw_forecast(panels[1], shown)
    for axes in panels[:2]:
        axes.set_ylim(-0.03, 1.04)
    for axes in panels:
        axes.legend(loc="best", fontsize=7)
    return (
        Chart(
            svg=Markup(to_svg(figure)),
            caption="Load: the smaller the pool, the more sources share each of its sinks, and the "
            "larger the part of the pool that each source fills. Unique facts of deleted sources "
            "with their own sinks before the deletion and by the backbone alone after it; those of "
            "kept sources with their own sinks, dashed: what would be left if each lost the share "
            "of facts that the planner forecasts; loss on validation text of kept sources. Line "
            f"upright: 95% interval, whole sources drawn. {name_seeds(seeds)}.",
        ),
    )


def _is_plain(model: Model) -> bool:
    return model["setting"] == POOL_SIZE and str(model["value"]).isdigit()


def _ticks(models: Sequence[Model]) -> tuple[list[float], list[str]]:
    loads = [float(model["load"]) for model in models]
    return loads, [f"{load:.3g}" for load in loads]


def _draw_line(axes: Any, models: Sequence[Model], column: str, colour: str, name: str) -> None:
    known = [(float(model["load"]), estimate_of_cell(model["figures"][column])) for model in models]
    known = [(load, estimate) for load, estimate in known if estimate.value is not None]
    for load, estimate in known:
        draw_estimate(axes, estimate, load, colour=colour, upright=True)
    values = [estimate.value for _, estimate in known]
    axes.plot([load for load, _ in known], values, color=colour, linewidth=1.1, label=name)


def _draw_forecast(axes: Any, models: Sequence[Model]) -> None:
    points = []
    for model in models:
        kept, share = (
            estimate_of_cell(model["figures"][column]).value for column in ("kept", "forecast")
        )
        if kept is not None and share is not None:
            points.append((float(model["load"]), kept * (1 - share)))
    style = {"color": GREY, "linestyle": "--", "linewidth": 1.0}
    axes.plot([load for load, _ in points], [left for _, left in points], label="forecast", **style)

"""What was known before and after a deletion, by kind of fact."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from nulls_dist.benchmark.drawing import new_figure, to_svg
from nulls_dist.benchmark.unlearning.figures import MODELS, Asked, clusters_of
from nulls_dist.benchmark.unlearning.page.findings import Findings
from nulls_dist.benchmark.unlearning.page.parts import Chart, Section, Table, number
from nulls_dist.benchmark.unlearning.page.shapes import colour_of
from nulls_dist.benchmark.unlearning.world import DELETED, KEPT

_OF_DELETED: Final = ("own sinks", "off", "excised", "nearest", "retrained, off")
_OF_KEPT: Final = ("own sinks", "excised", "retrained, own sinks")
_SERIES: Final[Mapping[str, Asked]] = {
    **MODELS,
    "retrained, own sinks": Asked(arm="nulls_retrained", checkpoint="trained", state="on"),
}
_LABELS: Final = {
    DELETED: {"own sinks": "before: own sinks", "retrained, off": "retrained without them"},
    KEPT: {
        "own sinks": "before deletion",
        "excised": "after excision of others",
        "retrained, own sinks": "retrained without the deleted sources",
    },
}
_COLOURS: Final = {"retrained, own sinks": colour_of("retrained, off")}
_READING: Final = (
    "Height: share of questions that greedy decoding answers right, full stop included, mean over "
    "facts and phrasings of all seeds. Line: 95% interval, a percentile bootstrap that draws whole "
    "sources; none where fewer than two sources were asked. n below each kind: questions per bar."
)
_DELETED_CAPTION: Final = (
    "Deleted sources. For each kind of fact, the trained model with the sources' own sinks, the "
    "same without them in three ways (backbone alone, sinks overwritten, sinks of the nearest "
    "source that is left), and a model that was trained without the sources. A deletion is right "
    f"where its bars equal the last one. {_READING} Shared facts are all counted here, whatever "
    "the deletion left of them."
)
_KEPT_CAPTION: Final = (
    "Kept sources, each asked with its own sinks: before the deletion, after it, and in a model "
    "retrained without the deleted sources. What the second bar lacks against the first is "
    f"collateral damage. {_READING}"
)
Fact = Mapping[str, Any]


def build_facts(findings: Findings) -> Section | None:
    """Return the section, None where nothing was asked."""
    facts = findings.results["facts"]
    if not facts:
        return None
    charts = [
        _chart(findings, DELETED, _OF_DELETED, _DELETED_CAPTION),
        _chart(findings, KEPT, _OF_KEPT, _KEPT_CAPTION),
    ]
    groups = sorted({fact["group"] for fact in facts})
    return Section(
        title="Facts before and after, against retraining",
        lead="A unique fact is stated by one source alone and must be forgotten with it. A fact "
        "that other sources state as well, or that a rule implies which they teach, must stay, as "
        "far as the model knows it that never saw the deleted sources.",
        charts=tuple(chart for chart in charts if chart is not None),
        tables=tuple(_table(facts, group) for group in groups),
    )


def _chart(findings: Findings, group: str, names: Sequence[str], caption: str) -> Chart | None:
    facts = findings.results["facts"]
    series = {name: _by_kind(facts, group, _SERIES[name]) for name in names}
    kinds = sorted({kind for each in series.values() for kind in each}, key=_order)
    if not kinds:
        return None
    figure, axes = new_figure(3.2)
    width = 0.84 / len(names)
    for index, name in enumerate(names):
        offset = (index - (len(names) - 1) / 2) * width
        for place, kind in enumerate(kinds):
            _draw_bar(axes, series[name].get(kind), place + offset, width * 0.9, name)
        label = _LABELS[group].get(name, name)
        axes.bar(0, 0, color=_colour(name), label=label)
    counts = {kind: fact["n"] for each in series.values() for kind, fact in each.items()}
    labels = [f"{_wrap(kind)}\nn={counts[kind]:,}" for kind in kinds]
    axes.set_xticks(range(len(kinds)), labels, fontsize=8)
    axes.tick_params(axis="x", length=0)
    axes.set(ylabel="right answers", ylim=(0, 1.04), xlim=(-0.55, len(kinds) - 0.45))
    figure.legend(ncols=len(names), loc="outside upper left", columnspacing=1.2, handlelength=1)
    asked = findings.evidence.facts(MODELS["own sinks"], group=group)
    num_sources = len(np.unique(clusters_of(asked)))
    seeds = len(findings.results["seeds"])
    about = f"{num_sources} sources of {seeds} seed{'s' if seeds > 1 else ''}."
    return Chart(svg=Markup(to_svg(figure)), caption=f"{caption} {about}")


def _draw_bar(axes: Any, fact: Fact | None, place: float, width: float, name: str) -> None:
    accuracy = fact["accuracy"] if fact else {"value": None}
    if accuracy["value"] is None:
        axes.text(place, 0.01, "not available", rotation=90, fontsize=6.5, ha="center", va="bottom")
        return
    axes.bar(place, accuracy["value"], width, color=_colour(name))
    # So that a bar of no height is seen to be there:
    axes.hlines(0, place - width / 2, place + width / 2, color=_colour(name), linewidth=2)
    if accuracy["low"] is not None:
        axes.vlines(place, accuracy["low"], accuracy["high"], color="#111111", linewidth=0.9)


def _colour(name: str) -> str:
    return _COLOURS.get(name) or colour_of(name)


def _by_kind(facts: Sequence[Fact], group: str, asked: Asked) -> dict[str, Fact]:
    wanted = {**asked.wanted, "group": group}.items()
    return {fact["kind"]: fact for fact in facts if wanted <= fact.items()}


def _order(kind: str) -> tuple[int, int, str]:
    """Order kinds: unique ones, shared ones by how many share them, then those of rules."""
    family = ("unique", "shared", "inferable").index(kind.split()[0].rstrip(":,"))
    numbers = [int(word) for word in kind.split() if word.isdigit()]
    return family, numbers[0] if family == 1 else -(" seen " in kind), kind


def _wrap(kind: str) -> str:
    return kind.replace(", ", ",\n").replace(": ", ":\n").replace("shared by", "shared\nby")


def _table(facts: Sequence[Fact], group: str) -> Table:
    mine = [fact for fact in facts if fact["group"] == group]
    kinds = sorted({fact["kind"] for fact in mine}, key=_order)
    models: dict[tuple[str, str, str], dict[str, Fact]] = {
        (fact["arm"], fact["checkpoint"], fact["state"]): {} for fact in mine
    }
    for fact in mine:
        models[fact["arm"], fact["checkpoint"], fact["state"]][fact["kind"]] = fact
    return Table(
        caption=f"Right answers about {group} sources, every model in every state",
        header=("model", "checkpoint", "state", *kinds),
        rows=tuple(
            (*model, *(_cell(of_kinds.get(kind)) for kind in kinds))
            for model, of_kinds in models.items()
        ),
        folded=True,
    )


def _cell(fact: Fact | None) -> str:
    if fact is None or fact["accuracy"]["value"] is None:
        return number(None)
    accuracy = fact["accuracy"]
    if accuracy["low"] is None:
        return number(accuracy["value"])
    return f"{accuracy['value']:.3f} [{accuracy['low']:.2f}, {accuracy['high']:.2f}]"

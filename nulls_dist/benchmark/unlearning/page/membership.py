"""Membership inference: are the deleted sources' documents told from documents never seen?"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from nulls_dist.benchmark.drawing import GREY, new_figure, to_svg
from nulls_dist.benchmark.unlearning.figures import MODELS
from nulls_dist.benchmark.unlearning.inference import mean_over_seeds
from nulls_dist.benchmark.unlearning.page.findings import Findings
from nulls_dist.benchmark.unlearning.page.parts import Chart, Section, Table, with_limits
from nulls_dist.benchmark.unlearning.page.shapes import colour_of
from nulls_dist.benchmark.unlearning.tables import Floats, column
from nulls_dist.benchmark.unlearning.world import DELETED, UNSEEN
from nulls_dist.eval.metrics import membership

_SHOWN: Final = ("own sinks", "off", "nearest", "retrained, off", "dense")
_MODELS: Final = ("own sinks", "off", "nearest", "dense")
_NUM_RATES: Final = 60
_LOWEST_RATE: Final = 1e-3
_AUCS: Final = (
    *(metric.label for metric in (membership.LOSS, membership.ZLIB, membership.MIN_K)),
    *(metric.label for metric in (membership.MIN_K_PLUS, membership.REFERENCE)),
)
_AUC_CAPTION: Final = (
    "Membership AUC with its 95% interval (whole sources drawn in each seed), 0.5: not told; "
    "- : no reference model"
)
_OTHERS_CAPTION: Final = (
    "True positives at few false alarms, and PrivLeak (0: as the retrained model, -100: told "
    "perfectly); without interval; - : no model to compare with"
)
_OTHERS: Final = (membership.TRUE_POSITIVES.label, membership.PRIV_LEAK.name)


def build_membership(findings: Findings) -> Section | None:
    """Return the section, None where no such figure was computed."""
    groups = _groups(findings)
    if not groups:
        return None
    chart = _chart(findings)
    return Section(
        title="Membership inference",
        lead="Members are the deleted sources' documents, others documents of sources of "
        "the same world that no model saw. After a right deletion the two are told apart no better "
        "than in the retrained model, which is not always 0.5.",
        charts=(chart,) if chart else (),
        tables=(
            _table(findings, groups, _AUCS, _AUC_CAPTION),
            _table(findings, groups, _OTHERS, _OTHERS_CAPTION),
        ),
    )


def _groups(findings: Findings) -> list[str]:
    names = {metric.name for metric in (membership.LOSS, membership.TRUE_POSITIVES)}
    figures = findings.results["figures"].values()
    return sorted({each["group"] for each in figures if each["name"] in names}, key=_order)


def _order(group: str) -> tuple[int, str]:
    """Order models as the ROC does, each before the retrained one that it is compared with."""
    return [group.startswith(name) for name in (*_MODELS, "")].index(True), group


def _chart(findings: Findings) -> Chart | None:
    rates = np.unique(
        np.concatenate([np.geomspace(_LOWEST_RATE, 1, _NUM_RATES), np.linspace(0, 1, _NUM_RATES)])
    )
    figure, panels = new_figure(3.1, columns=2)
    sizes: tuple[int, ...] = ()
    for name in _SHOWN:
        samples = [
            findings.evidence.texts(MODELS[name], group=group, validation=False)
            for group in (DELETED, UNSEEN)
        ]
        if not all(map(len, samples)):
            continue
        sizes = tuple(map(len, samples))
        scores, seeds = ([column(each, key) for each in samples] for key in ("loss", "seed"))
        found = [_true_positives(scores, seeds, float(rate)) for rate in rates]
        line = {"color": colour_of(name), "linestyle": "--" if name == "dense" else "-"}
        for axes in panels:
            axes.step(rates, found, where="post", linewidth=1.4, label=name, **line)
    if not sizes:
        return None
    _dress(*panels)
    return Chart(
        svg=Markup(to_svg(figure)),
        caption="ROC curves of the attack by loss (nats per token; members are guessed where it is "
        "low), mean of the seeds' curves, on linear and on logarithmic axes; dotted: guessing. "
        f"The right panel shows what can be said with few false alarms: with n = {sizes[0]:,} "
        f"members and {sizes[1]:,} others over all seeds, not one false alarm is allowed at rates "
        "below one over the others of a seed. No interval is drawn; those of the AUC are below.",
    )


def _true_positives(scores: list[Floats], seeds: list[Any], rate: float) -> float:
    def statistic(members: Any, others: Any) -> float:
        return membership.true_positive_rate(members, others, rate)

    return mean_over_seeds(statistic, scores, seeds)


def _dress(linear: Any, logarithmic: Any) -> None:
    from matplotlib.ticker import NullLocator

    ends = np.geomspace(_LOWEST_RATE, 1, _NUM_RATES)
    for axes in (linear, logarithmic):
        axes.plot(ends, ends, color=GREY, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.set(xlabel="false-positive rate", ylabel="true-positive rate")
    linear.set(title="Linear", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    linear.legend(loc="lower right")
    logarithmic.set(title="Logarithmic", xscale="log", yscale="log")
    ticks = (0.001, 0.01, 0.1, 1.0)
    for axis in (logarithmic.xaxis, logarithmic.yaxis):
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_minor_locator(NullLocator())
    logarithmic.set(xlim=(_LOWEST_RATE, 1), ylim=(_LOWEST_RATE, 1.05))


def _table(
    findings: Findings, groups: Sequence[str], columns: Sequence[str], caption: str
) -> Table:
    return Table(
        caption=caption,
        header=("model", *(name.removeprefix("membership ") for name in columns)),
        rows=tuple(
            (group, *(_cell(findings, f"{name}: {group}") for name in columns)) for group in groups
        ),
    )


def _cell(findings: Findings, name: str) -> str:
    if name not in findings.results["figures"]:
        return "-"
    return with_limits(findings.figure(name), 2)

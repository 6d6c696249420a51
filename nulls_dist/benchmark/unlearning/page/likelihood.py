"""How likely right answers are: preference over wrong ones, and truth ratios behind the KS test."""

from typing import Any, Final

import numpy as np
import pyarrow.compute as pc
from markupsafe import Markup

from nulls_dist.benchmark.drawing import GREY, draw_steps, mark_chance, new_figure, to_svg
from nulls_dist.benchmark.unlearning.figures import DELETIONS, MODELS, truth_ratios
from nulls_dist.benchmark.unlearning.page.findings import Findings
from nulls_dist.benchmark.unlearning.page.parts import Chart, Section
from nulls_dist.benchmark.unlearning.page.shapes import COLOURS, colour_of, draw_forest
from nulls_dist.benchmark.unlearning.tables import column
from nulls_dist.benchmark.unlearning.world import DELETED

_PREFERENCE: Final = "preference: deleted sources, unique facts, "
_SHOWN: Final = ("own sinks", "off", "nearest", "retrained, off")
_COMPARED: Final = (
    "own sinks",
    "off",
    "excised",
    "nearest",
    "retrained, off",
    "retrained, nearest",
)
_GUESS: Final = 0.5
"""Mean preference of a model that knows nothing."""


def build_likelihood(findings: Findings) -> Section | None:
    """Return the section, None where no deleted source was asked about a unique fact."""
    charts = [chart for chart in (_preferences(findings), _ratios(findings)) if chart is not None]
    if not charts:
        return None
    return Section(
        title="Likelihood of right answers",
        lead="A model that no longer writes an answer may still find it likelier than wrong ones. "
        "Preference is the share of wrong answers that are less likely than the right one, its "
        "mean an AUC; the truth ratio compares the right answer's likelihood with theirs.",
        charts=tuple(charts),
    )


def _preferences(findings: Findings) -> Chart | None:
    values = {
        name: column(
            findings.evidence.facts(MODELS[name], group=DELETED, kind="unique"), "preference"
        )
        for name in _SHOWN
    }
    if not any(map(len, values.values())):
        return None
    figure, (left, right) = new_figure(2.8, columns=2, width_ratios=(1.15, 1))
    for name, each in values.items():
        if len(each):
            draw_steps(left, each, color=colour_of(name), label=name)
    _draw_guess(left, findings)
    left.set(xlabel="preference", ylabel="share of questions at most", title="Distribution")
    left.legend(loc="upper left")
    rows = {name: findings.estimate(_PREFERENCE + name) for name in _COMPARED}
    draw_forest(right, rows, COLOURS)
    mark_chance(right, _GUESS, upright=True)
    bound = findings.bound(f"{_PREFERENCE}off")
    if bound is not None:
        right.axvline(bound, color="#111111", linewidth=1)
    right.set(xlabel="mean preference (AUC)", title="Mean")
    return Chart(
        svg=Markup(to_svg(figure)),
        caption="Preference for the right answer to questions about unique facts of deleted "
        "sources; nats per token, ties count half. Left: distribution over questions; a curve "
        "along the dotted line is that of guessing, one below it still knows. Right: means of all "
        "seeds (dot), of single seeds (rings), interval (line), guess (dotted) and target (black). "
        + findings.basis(f"{_PREFERENCE}off"),
    )


def _draw_guess(axes: Any, findings: Findings) -> None:
    """Draw the preference of a model that ranks the right answer anywhere among the wrong ones."""
    asked = findings.evidence.facts(MODELS["retrained, off"], group=DELETED, kind="unique")
    wrong = np.unique(pc.list_value_length(asked.column("wrong_nll")).to_numpy())
    places = [np.arange(number + 1) / number for number in wrong]
    weights = [np.full(number + 1, 1 / (number + 1)) for number in wrong]
    if places:
        dots = {"color": GREY, "linewidth": 0.9, "linestyle": (0, (1, 2))}
        draw_steps(
            axes, np.concatenate(places), weights=np.concatenate(weights), label="guess", **dots
        )


def _ratios(findings: Findings) -> Chart | None:
    samples = {
        way: [
            truth_ratios(findings.evidence.facts(asked, group=DELETED, kind="unique"))
            for asked in pair
        ]
        for way, pair in DELETIONS.items()
    }
    if not all(len(each) for pair in samples.values() for each in pair):
        return None
    figure, panels = new_figure(2.6, columns=len(samples), sharex=True, sharey=True)
    notes = []
    for axes, (way, (gone, retrained)) in zip(panels, samples.items(), strict=True):
        draw_steps(axes, np.log10(gone), color=colour_of(way), label=way)
        draw_steps(axes, np.log10(retrained), color=colour_of("retrained, off"), label="retrained")
        axes.set(xlabel="log10 of truth ratio", title=way)
        axes.legend(loc="lower right")
        test = findings.figure(f"forget quality: deleted sources, unique facts, {way}")
        if test["value"] is not None:
            notes.append(
                f"{way}: D = {test['details']['D']:.3f}, p = {test['value']:.3g}, "
                f"n = {test['n']} against {test['details']['n_retrained']:.0f}"
            )
    panels[0].set(ylabel="share of facts at most")
    return Chart(
        svg=Markup(to_svg(figure)),
        caption="Truth ratios (TOFU's, geometric: mean likelihood of wrong answers over that of "
        "the right one, per token) of unique facts of deleted sources, one per fact, deleted "
        "and in the retrained model in the same state. The two-sided Kolmogorov-Smirnov test "
        "behind forget quality compares the two curves; D is their largest distance. p falls with "
        f"n at equal D; facts of one source are not independent, which the test ignores. "
        f"{'; '.join(notes) or 'The test was not available'}.",
    )

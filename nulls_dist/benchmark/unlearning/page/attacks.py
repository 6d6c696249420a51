"""Attacks: what comes back of deleted facts when someone tries to get them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from nulls_dist.attacks.catalogue import ATTACKS
from nulls_dist.benchmark.drawing import mark_chance, new_figure, to_svg
from nulls_dist.benchmark.unlearning.attack_results import telling_entries
from nulls_dist.benchmark.unlearning.page.findings import Estimate, Findings, estimate_of
from nulls_dist.benchmark.unlearning.page.parts import (
    MISSING,
    Chart,
    Section,
    Table,
    count_seeds,
    with_limits,
)
from nulls_dist.benchmark.unlearning.page.shapes import (
    MARKERS,
    colour_of,
    draw_forest,
    draw_rows,
)
from nulls_dist.eval.metrics.compression import COMPRESSION_RATIO

NOT_APPLICABLE: Final = "not applicable"
_STATES: Final = {
    "suppressed": "own sinks",
    "excised": "excised",
    "retrained": "retrained, off",
    **{name: name for name in ("dense", "dense retrained", "dense, ascent", "dense, NPO")},
}
"""Model under attack -> model in a state, whose colour it has."""
_LABELS: Final = {"suppressed": "suppressed (weights as before)"}
_MODEL_HEIGHT: Final = 0.09
"""Of a value in a row of several, inches."""
_SHARES: Final = (0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1)
"""Ticks of shares that an attack gets back."""
_READING: Final = (
    "Marker: mean of all seeds; rings: single seeds; line: 95% interval, whole sources drawn. "
    "An attack succeeds as far as it gets more than from the retrained model, dense models against "
    "the dense retrained one."
)

Entry = Mapping[str, Any]


def build_attacks(findings: Findings) -> Section | None:
    """Return the section, None where no attack of the catalogue was made."""
    attacks = findings.attacks
    if attacks is None or not attacks["headlines"]:
        return None
    seeds = count_seeds(attacks)
    charts = (_headline_chart(attacks["headlines"], seeds), _setting_chart(attacks, seeds))
    reasons = _reasons(attacks["headlines"])
    return Section(
        title="Attacks",
        lead="Someone has the weights and the router's hash and tries to get deleted facts back. "
        "Suppressed weights are those from before the deletion, so they show what an attack "
        "finds where all is still there. Only unique facts are asked.",
        charts=tuple(chart for chart in charts if chart is not None),
        tables=(_table(attacks["headlines"]), *reasons, *_details(attacks)),
    )


def _models_of(entries: Sequence[Entry]) -> list[str]:
    found = {entry["model"] for entry in entries}
    return [model for model in _STATES if model in found]


def _attacks_of(entries: Sequence[Entry]) -> list[str]:
    found = {entry["attack"] for entry in entries}
    return [attack.name for attack in ATTACKS if attack.name in found]


def _measure_of(headlines: Sequence[Entry], attack: str) -> str:
    names = (each["name"] for each in headlines if each["attack"] == attack and each["name"])
    return next(names, "no figure")


def _is_ratio(entry: Entry) -> bool:
    return bool(entry["name"] == COMPRESSION_RATIO.name)


def _estimate(entry: Entry) -> Estimate:
    return Estimate(value=None) if entry["value"] is None else estimate_of(entry)


def _headline_chart(headlines: Sequence[Entry], seeds: str) -> Chart | None:
    ratios = {entry["model"]: _estimate(entry) for entry in headlines if _is_ratio(entry)}
    apart = {entry["attack"] for entry in headlines if _is_ratio(entry)}
    shares = [entry for entry in headlines if entry["attack"] not in apart]
    rows = {
        f"{attack}\n{_measure_of(headlines, attack)}": {
            _STATES[entry["model"]]: _estimate(entry)
            for entry in shares
            if entry["attack"] == attack and (entry["value"] is not None or entry["not_applicable"])
        }
        for attack in _attacks_of(shares)
    }
    if not rows and not ratios:
        return None
    models = _models_of(headlines)
    height = 1.0 + max(1.0, len(rows) * max(0.4, len(models) * 1.2 * _MODEL_HEIGHT))
    widths = [width for width, there in ((2.1, rows), (1.0, ratios)) if there]
    figure, grid = new_figure(height, len(widths), width_ratios=widths, squeeze=False)
    if rows:
        draw_rows(grid[0][0], rows, missing=NOT_APPLICABLE)
        grid[0][0].set(xlabel="share got back (square-root axis)", title="By attack")
        _scale_by_roots(grid[0][0])
    if ratios:
        colours = {model: colour_of(_STATES[model]) for model in ratios}
        draw_forest(grid[0][-1], ratios, colours)
        mark_chance(grid[0][-1], 1.0, upright=True)
        grid[0][-1].set(xlabel="tokens of text per token of prompt", title="Searched prompts")
    _add_legend(figure, models)
    return Chart(
        svg=Markup(to_svg(figure)),
        caption="Each attack in the setting in which it gets most from a model, which favours the "
        "attacker and may be another one for the next model. Left: shares of facts, answers or "
        "tokens, by the measure below the attack's name. Right: adversarial compression ratio, "
        f"above 1 (dotted): the prompt is shorter than what it elicits. {_READING} {seeds}; n and "
        "sources in the table.",
    )


def _scale_by_roots(axes: Any) -> None:
    """Give small shares more room: there deleted facts differ from facts never seen."""

    def root(shares: Any) -> Any:
        return np.sign(shares) * np.sqrt(np.abs(shares))

    def square(roots: Any) -> Any:
        return np.sign(roots) * np.square(roots)

    axes.set_xscale("function", functions=(root, square))
    axes.set_xlim(-0.001, 1.05)
    axes.set_xticks(_SHARES, [f"{share:g}" for share in _SHARES])


def _add_legend(figure: Any, models: Sequence[str]) -> None:
    from matplotlib.lines import Line2D  # heavy, and needed for reports only

    handles = [
        Line2D([], [], linestyle="none", marker=MARKERS[state], color=colour_of(state))
        for state in map(_STATES.__getitem__, models)
    ]
    labels = [_LABELS.get(model, model) for model in models]
    figure.legend(
        handles, labels, ncols=-(-len(models) // 2), loc="outside upper left", columnspacing=1.2
    )


def _setting_chart(attacks: Mapping[str, Any], seeds: str) -> Chart | None:
    panels = {}
    for attack in _attacks_of(attacks["headlines"]):
        entries = telling_entries(attacks["measures"], attack)
        settings = dict.fromkeys(entry["setting"] for entry in entries)
        if len(settings) > 1:
            panels[attack] = {
                setting: {
                    _STATES[entry["model"]]: estimate_of(entry)
                    for entry in entries
                    if entry["setting"] == setting
                }
                for setting in settings
            }
    if not panels:
        return None
    models = _models_of(attacks["headlines"])
    names = list(panels)
    pairs = [names[start : start + 2] for start in range(0, len(names), 2)]
    lengths = [max(len(panels[name]) for name in pair) for pair in pairs]
    height = 0.5 + 0.55 * len(pairs) + sum(lengths) * len(models) * _MODEL_HEIGHT
    figure, grid = new_figure(height, 2, len(pairs), height_ratios=lengths, squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for axes, (name, rows) in zip(grid.flat, panels.items(), strict=False):
        draw_rows(axes, rows)
        axes.tick_params(axis="y", labelsize=8)
        axes.set(xlim=(-0.03, 1.03), title=name)
    for axes in grid[-1]:
        axes.set_xlabel("right answers")
    _add_legend(figure, models)
    return Chart(
        svg=Markup(to_svg(figure)),
        caption="The attacks that have several settings, in each of them: share of right answers "
        f"about deleted sources, phrasings that documents use. {_READING} Best: a fact counts if "
        f"any of the attack's settings gets it. {seeds}.",
    )


def _table(headlines: Sequence[Entry]) -> Table:
    models = _models_of(headlines)
    rows = []
    for attack in _attacks_of(headlines):
        of_model = {entry["model"]: entry for entry in headlines if entry["attack"] == attack}
        cells = [_cell(of_model.get(model)) for model in models]
        counts = {entry["n"] for entry in of_model.values() if entry["n"]}
        sources = {entry["num_sources"] for entry in of_model.values()}
        rows.append((attack, *cells, _span(counts), _span(sources)))
    return Table(
        caption="What each attack gets back at most of deleted facts, with 95% interval; the "
        "figure names the measures; sources: of one seed",
        header=("attack", *models, "n", "sources"),
        rows=tuple(rows),
    )


def _span(counts: set[int]) -> str:
    """Return a count, the least and the most where models differ."""
    if not counts:
        return MISSING
    least, most = min(counts), max(counts)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _cell(entry: Entry | None) -> str:
    if entry is None:
        return MISSING
    if entry["value"] is None and entry["not_applicable"]:
        return NOT_APPLICABLE
    return with_limits(entry, 2)


def _reasons(headlines: Sequence[Entry]) -> tuple[Table, ...]:
    """Return a table of what does not apply and why, none where everything applies."""
    models: dict[tuple[str, str], list[str]] = {}
    for entry in headlines:
        for reason in dict.fromkeys(entry["not_applicable"].values()):
            models.setdefault((entry["attack"], reason), []).append(entry["model"])
    pairs = [(f"{attack}: {', '.join(each)}", reason) for (attack, reason), each in models.items()]
    return reasons_table("Attacks that do not apply, and why", pairs)


def reasons_table(caption: str, pairs: Sequence[tuple[str, str]]) -> tuple[Table, ...]:
    """Return a table of what was not measured and why, none where there is no such thing."""
    return (Table(caption=caption, header=("", ""), rows=tuple(pairs)),) if pairs else ()


def _details(attacks: Mapping[str, Any]) -> list[Table]:
    """Return a folded table per attack: every setting and group of facts of its measure."""
    headlines, measures = attacks["headlines"], attacks["measures"]
    models = _models_of(headlines)
    tables = []
    for attack in _attacks_of(headlines):
        name = _measure_of(headlines, attack)
        rows: dict[tuple[str, str, str], dict[str, Entry]] = {}
        for entry in measures:
            if (entry["attack"], entry["name"]) == (attack, name):
                key = (entry["setting"], entry["group"], entry["variant"])
                rows.setdefault(key, {})[entry["model"]] = entry
        tables.append(
            Table(
                caption=f"{attack}, every setting: {name}",
                header=("setting", "of", "variant", *models, "n"),
                rows=tuple(
                    (
                        *key,
                        *(
                            with_limits(found[model], 2) if model in found else "-"
                            for model in models
                        ),
                        _span({entry["n"] for entry in found.values()}),
                    )
                    for key, found in rows.items()
                ),
                folded=True,
            )
        )
    return [table for table in tables if table.rows]

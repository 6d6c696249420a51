"""Relearning: is a deleted fact learnt back faster than by a model that never saw it?"""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import fill
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from nulls_dist.attacks.texts import Text
from nulls_dist.attacks.wiping import WipeForm
from nulls_dist.benchmark.drawing import GREY, mark_chance, new_figure, to_svg
from nulls_dist.benchmark.unlearning.lab import EXCISED
from nulls_dist.benchmark.unlearning.page.attacks import NOT_APPLICABLE, reasons_table
from nulls_dist.benchmark.unlearning.page.findings import Findings
from nulls_dist.benchmark.unlearning.page.parts import (
    MISSING,
    Chart,
    Section,
    Table,
    count_seeds,
    number,
)
from nulls_dist.benchmark.unlearning.page.shapes import MARKERS, colour_of
from nulls_dist.benchmark.unlearning.relearning_results import (
    TARGET_KIND,
    TARGET_SHARE,
    TARGETS,
    level_at,
)

_STYLES: Final[Mapping[str, Mapping[str, Any]]] = {
    EXCISED: {"color": colour_of(EXCISED), "marker": MARKERS[EXCISED]},
    str(WipeForm.ALL_ZERO): {"color": "#12385c", "marker": "v", "linestyle": "--"},
    str(WipeForm.DOWN_ZERO): {"color": "#8fbde0", "marker": "^", "linestyle": "--"},
    "retrained": {"color": colour_of("retrained, off"), "marker": MARKERS["retrained, off"]},
}
_LABELS: Final = {
    EXCISED: "excised: gate and up fresh, down zero",
    "retrained": "retrained without them",
}
_TEXTS: Final = {
    str(Text.DELETED): "documents of the deleted sources",
    str(Text.THIRD): "documents of a third of them, asked about the rest",
    str(Text.RELATED): "kept sources that share facts with deleted ones",
    str(Text.UNRELATED): "kept sources that share none",
}

_FLAT: Final = 0.25
"""Axes end here where no curve gets as high, so that small differences are seen."""
_ORDER: Final = tuple(_LABELS.get(model, model) for model in _STYLES)
"""Of the legend."""

Entry = Mapping[str, Any]


def build_relearning(findings: Findings) -> Section | None:
    """Return the section, None where no curve was taken."""
    attacks = findings.attacks
    if attacks is None or not attacks["relearning"]:
        return None
    entries = attacks["relearning"]
    of_deleted = [entry for entry in entries if entry["text"] == Text.DELETED]
    others = [entry for entry in entries if entry["text"] != Text.DELETED]
    charts = [_chart(findings, of_deleted), _chart(findings, others)]
    pairs = [
        (f"{_name(entry)}, seed {seed}", reason)
        for entry in entries
        for seed, reason in entry["not_applicable"].items()
    ]
    return Section(
        title="Relearning",
        lead="An attacker fine-tunes the model and asks again and again. What comes back faster "
        "than in a model that never saw the sources had not been forgotten. Own sinks: the sinks "
        "of each document's source are trained with the backbone; backbone: all sinks stay off.",
        charts=tuple(chart for chart in charts if chart is not None),
        tables=(
            _table(entries),
            *reasons_table("Relearning that does not apply, and why", pairs),
            _all_levels(entries),
        ),
    )


def _name(entry: Entry) -> str:
    return f"{entry['access']}, {entry['text']}, {entry['model']}"


def _chart(findings: Findings, entries: Sequence[Entry]) -> Chart | None:
    """Return a grid of panels, a row per text and a column per access."""
    if not entries:
        return None
    texts = list(dict.fromkeys(entry["text"] for entry in entries))
    accesses = list(dict.fromkeys(entry["access"] for entry in entries))
    is_flat = _is_flat(entries)
    figure, grid = new_figure(
        0.6 + (1.5 if is_flat else 2.2) * len(texts),
        len(accesses),
        len(texts),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    lines: dict[str, Any] = {}
    for text, panels in zip(texts, grid, strict=True):
        for access, axes in zip(accesses, panels, strict=True):
            mine = [each for each in entries if (each["text"], each["access"]) == (text, access)]
            _draw_panel(axes, mine)
            axes.set(title=f"{access}, {text}", ylim=(-0.01, _FLAT) if is_flat else (-0.03, 1.04))
            _draw_target(axes, findings, mine)
            handles, names = axes.get_legend_handles_labels()
            lines |= zip(names, handles, strict=True)
        panels[0].set_ylabel("right answers")
    for axes in grid[-1]:
        axes.set_xlabel("optimizer steps of the attacker")
    if lines:
        names = sorted(lines, key=_ORDER.index)
        handles = [lines[name] for name in names]
        figure.legend(handles, names, ncols=len(names), loc="outside upper left", columnspacing=1)
    caption = _caption(findings, entries, texts, is_flat=is_flat)
    return Chart(svg=Markup(to_svg(figure)), caption=caption)


def _is_flat(entries: Sequence[Entry]) -> bool:
    """Return whether no curve gets to `_FLAT`, and no level that is marked lies below."""
    if any(entry["text"] == Text.DELETED for entry in entries):
        return False
    values = [
        value
        for entry in entries
        for accuracy in ("accuracy_per_seed", "retrained_accuracy_per_seed")
        for seed in entry[accuracy].values()
        for value in seed.get(TARGET_KIND, [])
    ]
    levels = [level_at(entry["kinds"].get(TARGET_KIND), TARGET_SHARE) for entry in entries]
    return (
        max(values, default=1.0)
        < _FLAT
        <= min((level["accuracy"] for level in levels if level is not None), default=1.0)
    )


def _caption(
    findings: Findings, entries: Sequence[Entry], texts: Sequence[str], *, is_flat: bool
) -> str:
    assert findings.attacks is not None, "a chart is drawn of what was attacked"
    counts = sorted({entry["num_probes"].get(TARGET_KIND, 0) for entry in entries} - {0})
    asked = f"n = {' or '.join(f'{count:,}' for count in counts)} questions" if counts else "n = 0"
    trained_on = "; ".join(f"{text}: {_TEXTS[text]}" for text in texts)
    targets = (
        "Black stroke: target, as a share of the retrained model's steps; the excised model may "
        "not cross the dotted level left of it. "
        if Text.DELETED in texts
        else ""
    )
    levels = (
        f"The axes end at {_FLAT:g}: the share before the deletion and half of the gap lie above"
        if is_flat
        else "Dashed: before the deletion; dotted: half of the gap between that and the retrained "
        "model at step 0"
    )
    return (
        f"Relearning from text of the kind {trained_on}. Share of right answers about unique facts "
        "of deleted sources, in phrasings that documents use. Line: the questions of all seeds; "
        "band: from the least to the most of the seeds (there is no interval: answers are recorded "
        f"in sum). {levels}. {targets}{asked}, {count_seeds(findings.attacks)}."
    )


def _draw_panel(axes: Any, entries: Sequence[Entry]) -> None:
    taken = [entry for entry in entries if entry["steps"]]
    for entry in taken:
        _draw_curve(axes, entry, entry["model"], "accuracy")
    if taken:
        _draw_curve(axes, taken[0], "retrained", "retrained_accuracy")
        kind = taken[0]["kinds"].get(TARGET_KIND)
        if kind is not None:
            axes.axhline(kind["before"], color="#111111", linewidth=0.8, linestyle=(0, (6, 3)))
        level = level_at(kind, TARGET_SHARE)
        if level is not None:
            mark_chance(axes, level["accuracy"], upright=False)
        return
    reasons = [reason for entry in entries for reason in entry["not_applicable"].values()]
    said = fill(f"{NOT_APPLICABLE}: {next(iter(reasons), 'no such fact')}", 44)
    where = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    axes.text(0.5, 0.5, said, fontsize=8, fontstyle="italic", color=GREY, **where)


def _draw_curve(axes: Any, entry: Entry, model: str, accuracy: str) -> None:
    values = entry[accuracy].get(TARGET_KIND)
    if values is None:
        return
    style = _STYLES[model]
    label = _LABELS.get(model, model)
    axes.plot(entry["steps"], values, markersize=4, linewidth=1.4, label=label, **style)
    seeds = [each[TARGET_KIND] for each in entry[f"{accuracy}_per_seed"].values()]
    if len(seeds) > 1:
        ends = (np.min(seeds, axis=0), np.max(seeds, axis=0))
        axes.fill_between(entry["steps"], *ends, color=style["color"], alpha=0.15, linewidth=0)


def _draw_target(axes: Any, findings: Findings, entries: Sequence[Entry]) -> None:
    """Mark the step before which the excised model may not reach half of the gap."""
    for target in TARGETS:
        entry, bound = _attacked(entries, target.access), findings.bound(target.figure)
        level = None if entry is None else level_at(entry["kinds"].get(TARGET_KIND), TARGET_SHARE)
        if bound is None or level is None or level["retrained_steps"] is None:
            continue
        place, height = bound * level["retrained_steps"], level["accuracy"]
        axes.vlines(place, height - 0.07, height + 0.07, color="#111111", linewidth=1.6, zorder=5)
        axes.text(place, height + 0.09, f"{bound:g}", fontsize=8, ha="right", va="bottom")


def _attacked(entries: Sequence[Entry], access: str) -> Entry | None:
    """Return the curve of the excised model that a target is about."""
    wanted = {"access": access, "text": str(Text.DELETED), "model": EXCISED}.items()
    return next((entry for entry in entries if wanted <= entry.items()), None)


def _table(entries: Sequence[Entry]) -> Table:
    seeds = sorted({seed for entry in entries for seed in entry["per_seed"]}, key=int)
    rows = []
    for entry in entries:
        kind = entry["kinds"].get(TARGET_KIND)
        alone = [entry["per_seed"].get(seed, {}).get(TARGET_KIND) for seed in seeds]
        starts = ["-" if kind is None else number(kind[name]) for name in _STARTS]
        ratios = ["-" if each is None else _steps(each, TARGET_SHARE)[-1] for each in alone]
        rows.append((_name(entry), *starts, *_steps(kind, TARGET_SHARE), *ratios))
    return Table(
        caption="Steps to half of the gap and their ratio to those of the retrained model, unique "
        "facts, of the mean curve and of each seed: 1 is parity, less a leak; > and <: the budget "
        "of steps ended before; no ratio: neither got there, or the retrained model began there",
        header=(
            *("access, text, model", "before", "step 0", "retrained, step 0"),
            *("steps", "retrained's", "ratio"),
            *(f"seed {seed}" for seed in seeds),
        ),
        rows=tuple(rows),
    )


_STARTS: Final = ("before", "start", "retrained_start")


def _steps(kind: Mapping[str, Any] | None, share: float) -> tuple[str, str, str]:
    """Return steps, those of the retrained model, and their ratio as text."""
    if kind is None:
        return "-", "-", NOT_APPLICABLE
    level = level_at(kind, share)
    if level is None:
        return "-", "-", "no gap"
    counts = (level["steps"], level["retrained_steps"])
    steps, retrained = (
        f"> {level['budget']}" if each is None else f"{each:.1f}" for each in counts
    )
    ratio = "no ratio" if level["ratio"] is None else ratio_text(level["ratio"])
    return steps, retrained, ratio


def ratio_text(ratio: Mapping[str, Any] | None) -> str:
    """Return a ratio of steps as text, with the side on which it lies if it is a bound only."""
    if ratio is None or ratio["value"] is None:
        return MISSING
    return f"{'' if ratio['bound'] == '=' else ratio['bound']}{ratio['value']:.2f}"


def _all_levels(entries: Sequence[Entry]) -> Table:
    rows = [
        (
            f"{_name(entry)}: {name}",
            number(kind["area"]),
            number(kind["retrained_area"]),
            f"{level['share']:g}",
            number(level["accuracy"]),
            *_steps(kind, level["share"]),
        )
        for entry in entries
        for name, kind in entry["kinds"].items()
        for level in kind["levels"]
    ]
    return Table(
        caption="Relearning, every level and kind of fact; area: mean share of the gap that is "
        "back, over all steps",
        header=(
            *("access, text, model: facts", "area", "retrained's", "share of gap", "accuracy"),
            *("steps", "retrained's", "ratio"),
        ),
        rows=tuple(rows),
        folded=True,
    )


def relearning_targets(findings: Findings) -> Iterator[dict[str, Any]]:
    """Yield the rows of the page's table of targets that are about relearning."""
    if findings.attacks is None:
        return
    accesses = {target.figure: str(target.access) for target in TARGETS}
    for entry in findings.attacks["targets"]:
        curve = _attacked(findings.attacks["relearning"], accesses[entry["figure"]])
        probes = 0 if curve is None else curve["num_probes"].get(TARGET_KIND, 0)
        yield {
            "figure": entry["figure"],
            "target": entry["target"],
            "value": ratio_text(entry),
            "interval": "no interval",
            "met": entry["met"],
            "n": f"{probes:,}",
            "seeds": [
                {"met": each.get("met"), "value": ratio_text(each or None)}
                for each in (
                    entry["per_seed"].get(str(seed), {}) for seed in findings.results["seeds"]
                )
            ],
        }

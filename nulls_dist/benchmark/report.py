"""The demo's report: one HTML file that needs nothing else."""

import html
from collections.abc import Sequence
from typing import Final

from nulls_dist.benchmark.experiment import (
    RETRAINED,
    STRIPPED,
    TRAINED,
    ExperimentResult,
    ExperimentSize,
)
from nulls_dist.benchmark.plots import plot_facts, plot_losses
from nulls_dist.eval.fact_table import FactTable
from nulls_dist.eval.states import State

_STYLE: Final = """
body { font: 16px/1.55 system-ui, sans-serif; color: #1c1c1c; max-width: 52rem;
       margin: 2.5rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin-bottom: 1rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .4rem; }
table { border-collapse: collapse; margin: .8rem 0 1.4rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .8rem; border-bottom: 1px solid #e2e2e2; text-align: right; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
svg { max-width: 100%; height: auto; } .note { color: #555; } code { font-size: .92em; }
.headlines { background: #f3f7fa; border-left: 4px solid #1b6ca8; padding: .7rem 1.1rem; }
.headlines p { margin: .35rem 0; }
"""


def html_table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table; all texts are escaped."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f"<table><caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _facts(table: FactTable) -> str:
    states = list(table.scores)
    rows = [
        [
            kind,
            *(f"{table.scores[state][kind].accuracy:.2f}" for state in states),
            str(table.scores[states[0]][kind].num_probes),
        ]
        for kind in table.kinds
    ]
    return html_table(table.title, ["kind of fact", *map(str, states), "questions"], rows)


def render_report(
    result: ExperimentResult,
    size: ExperimentSize,
    *,
    headlines: Sequence[str],
    export: str,
    deletion_page: str,
) -> str:
    """Return the whole page.

    Args:
        result: what was found.
        size: how much was done.
        headlines: what to say first, a sentence each.
        export: what was found when the released model was loaded, plain text.
        deletion_page: relative address of the deletion's own report.
    """
    deleted, kept = result.deleted, result.kept
    facts_of_deleted = plot_facts(
        [
            ("trained, own sinks", deleted[TRAINED], State.ON),
            ("deleted, own sinks forced on", deleted[STRIPPED], State.ON),
            ("trained without them, sinks off", deleted[RETRAINED], State.OFF),
        ]
    )
    facts_of_kept = plot_facts(
        [
            ("before deletion", kept[TRAINED], State.ON),
            ("after deletion", kept[STRIPPED], State.ON),
            ("trained without the deleted sources", kept[RETRAINED], State.ON),
        ]
    )
    losses = plot_losses(
        {
            "all sources": result.metrics[TRAINED],
            "without the deleted sources": result.metrics[RETRAINED],
        }
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>nulls-dist demo</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>
<body>
<h1>Deleting sources from a trained language model</h1>
<div class="headlines">{"".join(f"<p>{html.escape(line)}</p>" for line in headlines)}</div>
<p>A model was pretrained on {size.articles} articles of a generated encyclopedia for
{size.steps} steps by two processes, each holding one sink expert. Then sources were deleted from
its checkpoint, and a second model was trained on what was left, for comparison.
<b>Unique</b> facts are stated by one article only; others by 3, 10 or 30, or they can be inferred
from a rule that other articles teach.</p>
<h2>What is left of the deleted sources</h2>
{facts_of_deleted}
<h2>What the kept sources lost</h2>
{facts_of_kept}
<h2>Training</h2>
<p class="note">Loss on a fixed sample of the training text with a source's own sinks (on), the
backbone alone (off) and an unrelated source's sinks (placebo).</p>
{losses}
{_removed(result, size, deletion_page)}
<h2>Every state of every model</h2>
<p class="note">Share of right answers. <b>on</b>: the source's own sinks; <b>off</b>: the backbone
alone; <b>nearest</b>: the sinks of the most similar surviving source; <b>placebo</b>: those of an
unrelated one. Tombstones are ignored here: "on" routes deleted sources to their own, excised sinks,
as someone who holds the weights could.</p>
{
        "".join(
            _facts(tables[model])
            for tables in (deleted, kept)
            for model in (TRAINED, STRIPPED, RETRAINED)
        )
    }
<h2>Release</h2>
<p>{html.escape(export)}</p>
</body></html>
"""


def _removed(result: ExperimentResult, size: ExperimentSize, page: str) -> str:
    deletion, figures = result.deletion, result.figures
    cost = deletion["collateral"]
    worst = [[entry["title"], f"{entry['share']:.1%}"] for entry in cost["worst"]]
    files = [[name] for name in deletion["rewritten"]]
    return f"""
<h2>What was removed, and what it cost</h2>
<p>{html.escape(deletion["statement"])} The deletion has <a href="{html.escape(page)}">a report of
its own</a>, for whoever asked for it, and an entry in a ledger.</p>
<p>Forecast before deletion: the average kept source loses {cost["mean"]:.1%} of its sinks, the
worst {cost["max"]:.1%} (budget of this demo: {size.max_collateral:.0%}). Found afterwards: kept
sources lost {100 * figures["collateral found"]:.1f} percentage points of their unique facts.
{deletion["num_values_verified"]:,} overwritten values were read back and verified.</p>
{html_table("Survivors that lost most", ["source", "share of its sinks"], worst)}
{html_table(f"Files rewritten; {deletion['num_linked']} others are hard links", ["file"], files)}
"""
